#include "transport/datapath/dpdk/arrival_clock.h"

#include <cmath>

namespace hawser {

Duration ArrivalClock::Waited(uint64_t ticks, Time now) const {
  if (nanos_per_tick_ == 0) return Duration();
  // Either may be the later one: packets come between readings.
  const auto since = static_cast<int64_t>(ticks - ticks_);
  const double nanos = static_cast<double>((now - at_).nanos()) -
                       static_cast<double>(since) * nanos_per_tick_;
  if (nanos < 0 || nanos > static_cast<double>(kMostWait.nanos())) {
    return Duration();
  }
  return Duration::Nanos(static_cast<int64_t>(nanos));
}

void ArrivalClock::OnReading(uint64_t ticks, Time now) {
  const Duration span = now - at_;
  if (read_ && span < kLeastSpan) return;
  const auto since = static_cast<int64_t>(ticks - ticks_);
  if (read_ && since > 0) {
    const double pace =
        static_cast<double>(span.nanos()) / static_cast<double>(since);
    const bool fits = nanos_per_tick_ == 0 ||
                      std::abs(pace / nanos_per_tick_ - 1) <= kMostDrift;
    nanos_per_tick_ = fits ? pace : 0;
  } else {
    nanos_per_tick_ = 0;
  }
  read_ = true;
  ticks_ = ticks;
  at_ = now;
}

}  // namespace hawser
