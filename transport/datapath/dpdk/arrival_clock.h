// ArrivalClock: how long ago it was that a port wrote down the time.
// Knows: two clocks that were read together, now and then.  Never: who reads
// them, how fast the other one ticks.
//
// The port's clock is followed by its latest reading and its pace between that
// and the one before: good enough to tell microseconds, and it forgives a clock
// that drifts. One that is set is believed anew from the next reading on.
#pragma once

#include <cstdint>

#include "transport/base/time.h"

namespace hawser {

class ArrivalClock {
 public:
  // Readings closer together than this say nothing of the pace.
  static constexpr Duration kLeastSpan = Duration::Millis(10);
  // What is further off was not written by this clock.
  static constexpr Duration kMostWait = Duration::Seconds(1);

  // A. What is. How long before `now` the port's clock showed `ticks`; 0 where
  // that cannot be told.
  Duration Waited(uint64_t ticks, Time now) const;
  // B. What happened. It showed `ticks` at `now`.
  void OnReading(uint64_t ticks, Time now);

 private:
  // Two readings do not fit if their paces differ by more than this share.
  static constexpr double kMostDrift = 0.001;

  bool read_ = false;
  uint64_t ticks_ = 0;         // At the latest reading...
  Time at_;                    // ...which was then.
  double nanos_per_tick_ = 0;  // 0: not known yet.
};

}  // namespace hawser
