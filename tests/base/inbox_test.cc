#include "transport/base/inbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace hawser {
namespace {

TEST(Inbox, Ring__once_until_answered) {
  Inbox inbox;
  InboxEntry entry;
  EXPECT_TRUE(inbox.empty());
  EXPECT_EQ(inbox.TakeAll(), nullptr);
  EXPECT_TRUE(inbox.Ring(&entry));
  EXPECT_FALSE(inbox.Ring(&entry));
  EXPECT_FALSE(inbox.empty());
  EXPECT_EQ(inbox.TakeAll(), &entry);
  EXPECT_EQ(entry.next, nullptr);
  EXPECT_TRUE(inbox.empty());
  // Taken, but its mail is not read yet: nothing to ring about.
  EXPECT_FALSE(inbox.Ring(&entry));
  EXPECT_TRUE(inbox.empty());
  Inbox::Answered(&entry);
  EXPECT_TRUE(inbox.Ring(&entry));
  EXPECT_EQ(inbox.TakeAll(), &entry);
}

TEST(Inbox, TakeAll__everybody_once) {
  Inbox inbox;
  InboxEntry entries[5];
  for (InboxEntry& entry : entries) EXPECT_TRUE(inbox.Ring(&entry));
  size_t taken = 0;
  for (InboxEntry* entry = inbox.TakeAll(); entry != nullptr;) {
    InboxEntry* const next = entry->next;
    EXPECT_TRUE(entry->waiting);
    Inbox::Answered(entry);
    ++taken;
    entry = next;
  }
  EXPECT_EQ(taken, std::size(entries));
  for (InboxEntry& entry : entries) EXPECT_FALSE(entry.waiting);
}

// The entry first, so that a pointer to it is a pointer to its box.
struct Mailbox {
  InboxEntry entry;
  std::atomic<uint64_t> letters{0};  // Ever written.
  uint64_t seen = 0;                 // The reader's.
};

// The protocol of the header, as a reader must follow it. Returns how many
// letters were new.
uint64_t ReadAll(Inbox& inbox, std::vector<std::unique_ptr<Mailbox>>& boxes) {
  uint64_t read = 0;
  for (InboxEntry* entry = inbox.TakeAll(); entry != nullptr;) {
    InboxEntry* const next = entry->next;
    Inbox::Answered(entry);
    for (const auto& box : boxes) {
      if (&box->entry != entry) continue;
      // Relaxed: the letters must be visible because of the inbox alone.
      const uint64_t letters = box->letters.load(std::memory_order_relaxed);
      read += letters - box->seen;
      box->seen = letters;
    }
    entry = next;
  }
  return read;
}

void ExpectNothingForgotten(int boxes_count, int threads_per_box,
                            uint64_t letters_per_thread) {
  Inbox inbox;
  std::vector<std::unique_ptr<Mailbox>> boxes;
  for (int i = 0; i < boxes_count; ++i) {
    boxes.push_back(std::make_unique<Mailbox>());
  }
  std::atomic<uint64_t> rings{0};
  std::vector<std::thread> writers;
  for (const auto& box : boxes) {
    for (int i = 0; i < threads_per_box; ++i) {
      writers.emplace_back(
          [&inbox, &rings, letters_per_thread, mine = box.get()] {
            for (uint64_t letter = 0; letter < letters_per_thread; ++letter) {
              mine->letters.fetch_add(1, std::memory_order_relaxed);
              if (inbox.Ring(&mine->entry)) {
                rings.fetch_add(1, std::memory_order_relaxed);
              }
              if (letter % 64 == 0) std::this_thread::yield();
            }
          });
    }
  }
  // If a ring were lost, the sum would never be reached and the test would
  // never end; the harness stops it then.
  const uint64_t total = static_cast<uint64_t>(boxes_count) *
                         static_cast<uint64_t>(threads_per_box) *
                         letters_per_thread;
  uint64_t read = 0;
  while (read < total) {
    if (inbox.empty()) std::this_thread::yield();
    read += ReadAll(inbox, boxes);
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(read, total);
  EXPECT_EQ(ReadAll(inbox, boxes), 0u);
  EXPECT_TRUE(inbox.empty());
  EXPECT_GE(rings.load(), static_cast<uint64_t>(boxes_count));
  EXPECT_LE(rings.load(), total);
}

TEST(Inbox, Ring__several_threads) { ExpectNothingForgotten(4, 1, 50'000); }

TEST(Inbox, Ring__several_threads_share_an_entry) {
  ExpectNothingForgotten(2, 3, 30'000);
}

}  // namespace
}  // namespace hawser
