// A window that never moves: for tests, and for fabrics that need none.
// Knows: its window.  Never: the network.
#pragma once

#include "transport/congestion/congestion_control.h"

namespace hawser {

class FixedWindow final : public CongestionControl {
 public:
  explicit FixedWindow(uint32_t window_bytes) : allowance_{window_bytes, {}} {}
  Allowance initial() const override { return allowance_; }
  Allowance OnAck(const AckEvent&) override { return allowance_; }
  Allowance OnLoss(const LossEvent&) override { return allowance_; }

 private:
  Allowance allowance_;
};

}  // namespace hawser
