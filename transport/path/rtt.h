// RttEstimator: a round trip, smoothed, and how much it varies.
// Knows: samples.  Never: packets.
// Source: RFC 6298 section 2 (smoothing 1/8, variance 1/4).
#pragma once

#include <algorithm>

#include "transport/base/time.h"

namespace hawser {

class RttEstimator {
 public:
  bool has_sample() const { return latest_ > Duration(); }
  Duration latest() const { return latest_; }
  Duration smoothed() const { return smoothed_; }
  Duration variance() const { return variance_; }

  void OnSample(Duration rtt) {
    rtt = std::max(rtt, Duration::Nanos(1));
    const bool first = !has_sample();
    latest_ = rtt;
    if (first) {
      smoothed_ = rtt;
      variance_ = rtt / 2;
      return;
    }
    const Duration error = rtt > smoothed_ ? rtt - smoothed_ : smoothed_ - rtt;
    variance_ = (3 * variance_ + error) / 4;
    smoothed_ = (7 * smoothed_ + rtt) / 8;
  }

 private:
  Duration latest_, smoothed_, variance_;  // 0 before the first sample.
};

}  // namespace hawser
