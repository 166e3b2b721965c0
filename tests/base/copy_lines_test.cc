#include "transport/base/copy_lines.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "transport/base/random.h"

#if defined(__SANITIZE_THREAD__)
#define HAWSER_TEST_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAWSER_TEST_UNDER_TSAN 1
#endif
#endif

namespace hawser {
namespace {

TEST(CopyLines, CopyLines__copies_what_memcpy_would) {
  Random random(1);
  constexpr size_t kMaxLength = 1'024, kMargin = 64;
  std::vector<std::byte> from(kMaxLength + 2 * kMargin);
  for (std::byte& b : from) b = static_cast<std::byte>(random.Next());
  std::vector<std::byte> to(from.size()), expected(from.size());
  for (size_t length = 0; length <= kMaxLength; ++length) {
    for (size_t i = 0; i < 16; ++i) {
      // Every misalignment of one side with some of the other.
      const size_t in = i, out = (i * 7 + length) % 16;
      std::fill(to.begin(), to.end(), std::byte{0xee});
      std::fill(expected.begin(), expected.end(), std::byte{0xee});
      CopyLines(to.data() + out, from.data() + in, length);
      std::memcpy(expected.data() + out, from.data() + in, length);
      ASSERT_EQ(to, expected) << length << ' ' << in << ' ' << out;
    }
  }
}

TEST(CopyLines, CopyLines__touches_nothing_beyond) {
  // Blocks of exactly their size, so that a sanitizer sees a read or a write
  // beyond.
  for (size_t length = 0; length <= 600; ++length) {
    const auto from = std::make_unique<std::byte[]>(length);
    const auto to = std::make_unique<std::byte[]>(length);
    CopyLines(to.get(), from.get(), length);
  }
}

constexpr size_t kWordsPerLine = kLineBytes / 8;

struct Sightings {
  uint64_t lines = 0;     // Looked at.
  uint64_t halves = 0;    // Of those, seen in the middle of a copy.
  uint64_t early = 0;     // Of those, with a last word newer than another.
  uint64_t disorder = 0;  // Of those, with any word newer than one before it.
};

// Copies ever greater numbers over the same lines while another thread reads
// each line backwards: what it reads later lies earlier, and must be as new.
Sightings Race(size_t length, size_t misaligned) {
  constexpr size_t kMaxWords = 64 * kWordsPerLine;
  struct alignas(kLineBytes) Lines {
    uint64_t words[kMaxWords] = {};
  };
  const auto from = std::make_unique<Lines>(), to = std::make_unique<Lines>();
  std::atomic<bool> started{false}, done{false};
  std::atomic<uint64_t> halves{0};
  Sightings seen;
  std::thread reader([&] {
    started = true;
    while (!done.load(std::memory_order_relaxed)) {
      for (size_t end = length / 8; end > 0;) {
        const size_t begin = (end - 1) / kWordsPerLine * kWordsPerLine;
        const uint64_t flag =
            __atomic_load_n(&to->words[end - 1], __ATOMIC_ACQUIRE);
        uint64_t last = flag;
        bool half = false, early = false, disorder = false;
        for (size_t i = end - 1; i-- > begin;) {
          const uint64_t word =
              __atomic_load_n(&to->words[i], __ATOMIC_ACQUIRE);
          half |= word != flag;
          early |= word < flag;
          disorder |= word < last;
          last = word;
        }
        ++seen.lines;
        seen.halves += half;
        seen.early += early;
        seen.disorder += disorder;
        end = begin;
      }
      halves.store(seen.halves, std::memory_order_relaxed);
    }
  });
  while (!started) std::this_thread::yield();
  // Until it was seen often enough, or the two threads share a core.
  constexpr uint64_t kMaxRounds = 300'000, kEnoughHalves = 20'000;
  auto* const source = reinterpret_cast<std::byte*>(from->words) + misaligned;
  for (uint64_t round = 1;
       round <= kMaxRounds &&
       halves.load(std::memory_order_relaxed) < kEnoughHalves;
       ++round) {
    for (size_t i = 0; i < length / 8; ++i) {
      std::memcpy(source + 8 * i, &round, 8);
    }
    CopyLines(reinterpret_cast<std::byte*>(to->words), source, length);
  }
  done = true;
  reader.join();
  return seen;
}

// Whole lines, and a last one that is cut; sources that are not aligned.
template <class Expect>
void RaceEverything(Expect expect) {
  for (const size_t length : {128, 1'024, 4'096, 4'096 + 104, 96, 64}) {
    for (const size_t misaligned : {0, 8, 13}) {
      const Sightings seen = Race(length, misaligned);
      SCOPED_TRACE(testing::Message()
                   << length << " bytes, misaligned by " << misaligned << ": "
                   << seen.halves << " of " << seen.lines
                   << " lines seen half");
      expect(seen);
    }
  }
}

TEST(CopyLines, CopyLines__the_end_of_a_line_appears_last) {
#ifdef HAWSER_TEST_UNDER_TSAN
  GTEST_SKIP() << "a race on purpose";
#endif
  RaceEverything([](const Sightings& seen) { EXPECT_EQ(seen.early, 0u); });
}

TEST(CopyLines, CopyLines__bytes_appear_in_ascending_order) {
#ifdef HAWSER_TEST_UNDER_TSAN
  GTEST_SKIP() << "a race on purpose";
#endif
  RaceEverything([](const Sightings& seen) { EXPECT_EQ(seen.disorder, 0u); });
}

}  // namespace
}  // namespace hawser
