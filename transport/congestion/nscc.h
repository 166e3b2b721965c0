// Nscc: a window moved by delay and marks together; four cases.
// Knows: the delay, marks and losses of what it is told of.  Never: paths.
//
// Source: network signaled congestion control, Ultra Ethernet Specification
// 1.0.3 section 3.6.13, with the constants of its reference model (uet-htsim
// 40ccb05); the algorithm was published as SMaRTT / FASTFLOW (Bonato et al.,
// arXiv 2404.01630).
//
//                 delay < target            delay >= target
//   not marked    grow in proportion        grow by the fair increase
//   marked        nothing: spray elsewhere  shrink by the mean delay's excess
//
// Its reference network is 100 Gb/s with a round trip of 12 us; a and b carry
// the constants over to others. The window is in bytes; it is meant for all
// paths of a peer together.
//
// Ours is what it does where nothing marks, which its source does not allow:
// late then counts as marked, the sample stands for the mean, and one decrease
// is enough for a round trip, queue and all. That is Swift's law of decrease.
#pragma once

#include <cstdint>

#include "transport/congestion/congestion_control.h"

namespace hawser {

class Nscc final : public CongestionControl {
 public:
  struct Parameters {
    uint32_t packet_bytes = 4150;  // One packet, on the wire.
    Duration base_rtt = Duration::Micros(14);
    uint32_t bdp_bytes = 175'000;  // The rate of the port times base_rtt.
    // Of the base RTT: 0.75 where switches trim, 1 elsewhere.
    double target_share = 0.75;
    double window_bdps = 1.5;  // The most, and the first.
    // A loss is congestion, as where switches tell of it by trimming. Else it
    // is only where delay is high as well: low delay and loss together are a
    // failure (REPS, arXiv 2407.21625, section 3.3), which no window mends.
    bool losses_are_congestion = true;
    // Whether it is known that switches mark. Else the first mark shows it.
    bool network_marks = true;
    // Whether increase grows with the target delay, as b has it. On a target of
    // a millisecond that would be nine bandwidth-delay products a round trip.
    bool scales_by_target = true;
  };
  explicit Nscc(const Parameters& parameters);

  Allowance initial() const override { return Say(); }
  Allowance OnAck(const AckEvent& ack) override;
  Allowance OnLoss(const LossEvent& loss) override;

 private:
  void LearnDelay(Duration delay, bool marked);
  bool QuickAdapt(bool lost, Duration delay, Time now);
  void GrowInProportion(uint32_t acked_bytes, Duration delay);
  void Decrease(Duration rtt, Time now);
  void Fulfil(Time now);
  Allowance Say() const;

  Parameters parameters_;
  Duration base_rtt_, target_;
  double a_, b_;  // How much larger this network is than the reference one.
  double max_window_, window_;
  double mean_delay_nanos_ = 0;
  double earned_ = 0;               // Increase not yet taken, times the window.
  uint64_t earned_over_bytes_ = 0;  // Acked since it was last taken.
  Time earned_since_, floored_at_;
  uint64_t fast_bytes_ = 0;  // Acked in a row with next to no delay.
  bool fast_ = false;
  Time decreased_at_;
  // QuickAdapt looks at what was acked from one of these moments to the next.
  Time quick_at_;
  uint64_t quick_bytes_ = 0;
  bool lost_since_ = false;
  uint64_t ignored_bytes_ = 0;  // Acks of what left before a QuickAdapt.
  bool started_ = false;
  bool marks_;  // The network does, as far as we know.
};

}  // namespace hawser
