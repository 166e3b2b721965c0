// How fast, in one window (path/window.h), which is that of a path or of all
// paths of a peer in one plane: event in, allowance out.
// Knows: its window's delay, marks, losses.  Never: packet numbers, timers,
// other windows.
#pragma once

#include <cstdint>

#include "transport/base/time.h"

namespace hawser {

struct AckEvent {
  Time now;
  Duration rtt;  // Of the newest packet acked; host waits taken out. > 0.
  uint32_t acked_bytes = 0;
  uint32_t in_flight_bytes = 0;     // Before this ack.
  uint16_t ecn_marked_packets = 0;  // Among those newly reported.
};

struct LossEvent {
  Time now;
  uint32_t lost_bytes = 0;
  bool by_timeout = false;  // By silence; else a gap showed it.
};

struct Allowance {
  uint32_t window_bytes = 0;  // The most that may be in flight.
  Rate pacing = Rate::Unlimited();
};

// Learns, and says how much and how fast. Counts no bytes, sets no timer, knows
// no path: all it may know is in its argument. One thread.
class CongestionControl {
 public:
  virtual ~CongestionControl() = default;
  virtual Allowance initial() const = 0;
  virtual Allowance OnAck(const AckEvent& ack) = 0;
  virtual Allowance OnLoss(const LossEvent& loss) = 0;
};

}  // namespace hawser
