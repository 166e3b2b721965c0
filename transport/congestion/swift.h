// Swift: a window that holds the path's delay at a target.
// Knows: one path's delay and losses.  Never: marks, packet numbers.
//
// Source: Kumar et al., "Swift: Delay is Simple and Effective for Congestion
// Control in the Datacenter" (SIGCOMM'20), algorithm 1 and section 3. Ours:
// the window doubles each round trip until the first sign of congestion (Swift
// starts from a known base target), a sender that leaves half of its window
// unused neither grows it nor loses the last packet of it to delay, and the
// base delay is learned: swift.cc says how.
#pragma once

#include <cstdint>

#include "transport/congestion/congestion_control.h"

namespace hawser {

class Swift final : public CongestionControl {
 public:
  struct Parameters {
    uint32_t packet_bytes = 1408;  // One packet, as it fills a window.
    uint32_t initial_window_bytes = 64 * 1024;
    uint32_t max_window_bytes = 4 * 1024 * 1024;
    Duration target_delay = Duration::Millis(1);  // Over the least RTT seen.
    // The least RTT there can be, where that is known, as Swift would have it;
    // then nothing has to be learned by ramping and draining. 0: it is not.
    Duration base_rtt;
    // Flow-based scaling: the target grows by up to `scaling_delay` as the
    // window falls from `scaling_max_packets` to `scaling_min_packets`
    // (section 3.2: alpha / sqrt(cwnd) + beta, clipped).
    Duration scaling_delay = Duration::Millis(1);
    double scaling_min_packets = 0.1;
    double scaling_max_packets = 100;
    double additive_packets = 1.0;  // ai: per round trip.
    double beta = 0.8;              // Multiplicative decrease constant.
    double max_decrease = 0.5;      // max_mdf: the most one decrease takes.
    double min_window_packets = 0.01;
    int timeouts_before_reset = 5;  // RETX_RESET_THRESHOLD.
  };
  explicit Swift(const Parameters& parameters);

  Allowance initial() const override;
  Allowance OnAck(const AckEvent& ack) override;
  Allowance OnLoss(const LossEvent& loss) override;

 private:
  Duration Target() const;
  void LearnMinRtt(Duration rtt, Time now);
  void Drain(Time now);
  void BeginDrain(double packets, Time now);
  void Grow(const AckEvent& ack);
  bool Unused(const AckEvent& ack) const;
  void Decrease(double factor, Time now);
  bool MayDecrease(Time now) const;
  Allowance Say() const;

  Parameters parameters_;
  double window_packets_;
  bool ramping_ = true;  // No congestion seen yet.
  Duration min_rtt_ = Duration::Max();
  // The least of the samples taken since the window last exceeded a packet,
  // and when that was: how the minimum can rise again.
  Duration lone_min_rtt_ = Duration::Max();
  Time lone_since_;
  int lone_samples_ = 0;
  // Draining: the window is held at `drain_packets_` to see the base again,
  // then ramps back to what it was.
  bool draining_ = false;
  double drain_packets_ = 1;
  double ramp_to_packets_ = 0;
  int64_t drain_turn_ = 0;
  Time drain_until_;
  Time near_min_at_;  // A sample came near the minimum: no need to drain.
  Duration rtt_;      // The latest; the shortest time between two decreases.
  Time last_decrease_;
  bool decreased_ = false;
  int timeouts_ = 0;  // In a row.
};

}  // namespace hawser
