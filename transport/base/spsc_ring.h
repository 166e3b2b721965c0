// SpscRing<T>: one thread pushes, one thread pops, nobody waits.
// Knows: two indexes on two cache lines.  Never: locks, growth.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

namespace hawser {

// Each side keeps the other's index cached beside its own, so an uncontended
// push or pop touches one line that it already owns. (The cached-index ring:
// J. Giacomoni et al., "FastForward for Efficient Pipeline Parallelism",
// PPoPP'08, in the form with indexes.)
template <class T, uint32_t kCapacity>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 64);
  static_assert(kCapacity > 0 && (kCapacity & (kCapacity - 1)) == 0);

 public:
  // False: full. Producer thread only.
  bool Push(const T& value) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - cached_head_ == kCapacity) {
      cached_head_ = head_.load(std::memory_order_acquire);
      if (tail - cached_head_ == kCapacity) return false;
    }
    slots_[tail & (kCapacity - 1)] = value;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  // False: empty. Consumer thread only.
  bool Pop(T* value) {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    if (head == cached_tail_) {
      cached_tail_ = tail_.load(std::memory_order_acquire);
      if (head == cached_tail_) return false;
    }
    *value = slots_[head & (kCapacity - 1)];
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  alignas(64) std::atomic<uint32_t> head_{0};
  uint32_t cached_tail_ = 0;  // The consumer's.
  alignas(64) std::atomic<uint32_t> tail_{0};
  uint32_t cached_head_ = 0;  // The producer's.
  alignas(64) T slots_[kCapacity];
};

}  // namespace hawser
