// RttEstimator: min, smoothed, variance, and the timeout that follows.
// Knows: samples.  Never: packets.
// Source: RFC 6298 section 2 (smoothing 1/8, variance 1/4, timeout
// srtt + 4 * rttvar); RFC 9002 section 5 for the minimum.
#pragma once

#include <algorithm>

#include "transport/base/time.h"

namespace hawser {

class RttEstimator {
 public:
  bool has_sample() const { return has_sample_; }
  Duration latest() const { return latest_; }
  Duration min() const { return min_; }
  Duration smoothed() const { return smoothed_; }
  Duration variance() const { return variance_; }

  void OnSample(Duration rtt) {
    rtt = std::max(rtt, Duration::Nanos(1));
    latest_ = rtt;
    if (!has_sample_) {
      has_sample_ = true;
      min_ = smoothed_ = rtt;
      variance_ = rtt / 2;
      return;
    }
    min_ = std::min(min_, rtt);
    const Duration error = rtt > smoothed_ ? rtt - smoothed_ : smoothed_ - rtt;
    variance_ = (3 * variance_ + error) / 4;
    smoothed_ = (7 * smoothed_ + rtt) / 8;
  }

 private:
  bool has_sample_ = false;
  Duration latest_, min_, smoothed_, variance_;
};

}  // namespace hawser
