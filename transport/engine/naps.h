// Naps: how long a thread sleeps while others do its work.
// Knows: how late it woke up.  Never: what the work is, and who does it.
//
// Whoever wakes up beside those who work takes their time. So a nap is ten
// times as long as its end is late, on average of some: where a wake-up takes
// long, on a slow machine or a full one, there are fewer of them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "transport/base/time.h"

namespace hawser {

class Naps {
 public:
  static constexpr Duration kLeast = Duration::Micros(500);
  // Less than two thirds of the usual HAWSER_RTO_MIN_US, after which peers ask
  // whether we are still there.
  static constexpr Duration kMost = Duration::Millis(3);

  // Any thread.
  Duration span() const {
    return Duration::Nanos(span_.load(std::memory_order_relaxed));
  }

  // The thread that naps: it was to wake up so much earlier.
  void OnLate(Duration by) {
    // Once very late, because it was stopped perhaps, is no habit.
    by = std::min(by, kMost / kLatenessesPerNap);
    lateness_ += (by - lateness_) / kWeight;
    span_.store(std::max(lateness_ * kLatenessesPerNap, kLeast).nanos(),
                std::memory_order_relaxed);
  }

 private:
  static constexpr int kLatenessesPerNap = 10;
  static constexpr int kWeight = 8;  // Of the average, in samples.

  Duration lateness_;                          // On average.
  std::atomic<int64_t> span_{kLeast.nanos()};  // Nanoseconds.
};

}  // namespace hawser
