// Pacer: when the next packet may leave.
// Knows: a rate and a burst.  Never: why that rate.
// A token bucket (RFC 9002, section 7.7: senders limit bursts), kept as the
// time at which the bucket would be full again.
#pragma once

#include <algorithm>
#include <cstdint>

#include "transport/base/time.h"

namespace hawser {

class Pacer {
 public:
  explicit Pacer(uint32_t burst_bytes) : burst_bytes_(burst_bytes) {}

  // When the next packet may leave: now or earlier, if at once.
  Time next() const { return next_; }
  bool CanSend(Time now) const { return rate_.unlimited() || next_ <= now; }
  void SetRate(Rate rate) { rate_ = rate; }
  // What may leave back to back after a pause.
  void SetBurst(uint32_t burst_bytes) { burst_bytes_ = burst_bytes; }

  void OnSent(uint32_t bytes, Time now) {
    if (rate_.unlimited()) return;
    // Time not used is saved up, but for no more than one burst.
    next_ = std::max(next_, now - rate_.TimeToSend(burst_bytes_)) +
            rate_.TimeToSend(bytes);
  }

 private:
  uint32_t burst_bytes_;
  Rate rate_;
  Time next_;
};

}  // namespace hawser
