// Inbox: who has mail, from any thread to one; nobody waits.
// Knows: a linked list of who rang.  Never: what the mail says.
// Source: R. K. Treiber, "Systems Programming: Coping with Parallelism"
// (IBM RJ 5118, 1986). Only the whole list is ever taken, so ABA cannot occur.
#pragma once

#include <atomic>

namespace hawser {

// Found in an Inbox at most once at a time. It must outlive its stay: whoever
// destroys an entry has emptied the inbox first.
struct InboxEntry {
  std::atomic<bool> waiting{false};
  InboxEntry* next = nullptr;
};

class Inbox {
 public:
  // Any thread, after the mail itself was written. True if the entry was not
  // waiting already: the caller then makes sure that the reader is awake.
  bool Ring(InboxEntry* entry) {
    if (entry->waiting.exchange(true, std::memory_order_acq_rel)) return false;
    InboxEntry* head = head_.load(std::memory_order_relaxed);
    do {
      entry->next = head;
    } while (!head_.compare_exchange_weak(
        head, entry, std::memory_order_seq_cst, std::memory_order_relaxed));
    return true;
  }

  bool empty() const {
    return head_.load(std::memory_order_seq_cst) == nullptr;
  }

  // The reader takes the whole list. For each entry: read `next`, call
  // `Answered`, and only then read its mail, so that mail that comes later
  // rings again.
  InboxEntry* TakeAll() {
    return head_.exchange(nullptr, std::memory_order_acq_rel);
  }
  static void Answered(InboxEntry* entry) {
    entry->waiting.exchange(false, std::memory_order_acq_rel);
  }

 private:
  std::atomic<InboxEntry*> head_{nullptr};
};

}  // namespace hawser
