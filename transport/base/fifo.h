// Fifo<T>: first in, first out, in one piece of memory that grows.
// Knows: places from the front.  Never: threads.
// Like std::deque, but nothing is taken while it is empty, and what is at the
// front is one step away: with many thousands of them that is what counts.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "transport/base/check.h"

namespace hawser {

// A ring that doubles when it is full.
template <class T>
class Fifo {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  bool empty() const { return begin_ == end_; }
  uint64_t size() const { return end_ - begin_; }
  // The one so many places behind the front; place < size().
  T& operator[](uint64_t place) { return slots_[(begin_ + place) & mask_]; }
  const T& operator[](uint64_t place) const {
    return slots_[(begin_ + place) & mask_];
  }
  T& front() { return (*this)[0]; }
  const T& front() const { return (*this)[0]; }
  T& back() { return (*this)[size() - 1]; }
  const T& back() const { return (*this)[size() - 1]; }

  void Push(const T& value) {
    if (size() == capacity_) Grow();
    slots_[end_++ & mask_] = value;
  }
  T Pop() {
    HAWSER_CHECK(!empty());
    return slots_[begin_++ & mask_];
  }
  // Takes out the one at `place`; those before it move up.
  T Take(uint64_t place) {
    const T taken = (*this)[place];
    for (; place > 0; --place) (*this)[place] = (*this)[place - 1];
    Pop();
    return taken;
  }

 private:
  static constexpr uint64_t kFirstCapacity = 4;
  void Grow() {
    const uint64_t capacity = capacity_ > 0 ? 2 * capacity_ : kFirstCapacity;
    auto larger = std::make_unique<T[]>(capacity);
    for (uint64_t i = begin_; i != end_; ++i) {
      larger[i & (capacity - 1)] = slots_[i & mask_];
    }
    slots_ = std::move(larger);
    capacity_ = capacity;
    mask_ = capacity - 1;
  }

  std::unique_ptr<T[]> slots_;
  uint64_t begin_ = 0, end_ = 0;
  uint64_t capacity_ = 0;  // A power of two, or 0.
  uint64_t mask_ = 0;      // capacity_ - 1, where there is any.
};

}  // namespace hawser
