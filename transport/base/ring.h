// Ring<T>: fixed capacity, one thread, addressed by an ever-growing index.
// Knows: slots and two indexes.  Never: threads, growth.
#pragma once

#include <cstdint>
#include <vector>

#include "transport/base/check.h"

namespace hawser {

// A queue whose elements keep their index for life: the n-th element ever
// pushed is `ring[n]` until it is popped.
template <class T>
class Ring {
 public:
  // `capacity` must be a power of two; memory is taken here and never again.
  explicit Ring(uint32_t capacity) : slots_(capacity) {
    HAWSER_CHECK(capacity > 0 && (capacity & (capacity - 1)) == 0);
  }

  uint64_t begin() const { return begin_; }  // Index of the oldest element.
  uint64_t end() const { return end_; }      // Index the next Push will get.
  uint64_t size() const { return end_ - begin_; }
  uint64_t capacity() const { return slots_.size(); }
  bool empty() const { return begin_ == end_; }
  bool full() const { return size() == capacity(); }
  bool contains(uint64_t index) const { return index - begin_ < end_ - begin_; }
  T& operator[](uint64_t index) {
    HAWSER_CHECK(contains(index));
    return slots_[index & (slots_.size() - 1)];
  }
  const T& operator[](uint64_t index) const {
    HAWSER_CHECK(contains(index));
    return slots_[index & (slots_.size() - 1)];
  }
  T& front() { return (*this)[begin_]; }
  const T& front() const { return (*this)[begin_]; }
  T& back() { return (*this)[end_ - 1]; }
  const T& back() const { return (*this)[end_ - 1]; }

  uint64_t Push(T value) {
    HAWSER_CHECK(!full());
    slots_[end_ & (slots_.size() - 1)] = std::move(value);
    return end_++;
  }
  T Pop() {
    HAWSER_CHECK(!empty());
    return std::move(slots_[begin_++ & (slots_.size() - 1)]);
  }

 private:
  std::vector<T> slots_;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
};

}  // namespace hawser
