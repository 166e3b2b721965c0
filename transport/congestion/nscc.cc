// Why marks decide about direction and delay about size: a mark says that some
// queue on the way is long now, while delay is what all queues add up to. With
// packets sprayed, one long queue is a matter for the scheduler; only delay
// that stays high on the mean is a matter for the window.
#include "transport/congestion/nscc.h"

#include <algorithm>

namespace hawser {
namespace {

// The reference network's bandwidth-delay product and round trip.
constexpr double kReferenceBdpBytes = 150'000;
constexpr Duration kReferenceRtt = Duration::Micros(12);

// All in packets per round trip of the reference network.
constexpr double kProportional = 4;      // alpha
constexpr double kFairIncrease = 5;      // fi
constexpr double kFloorIncrease = 0.15;  // eta
constexpr double kFastIncrease = 0.25;   // Of what is acked.
constexpr double kGamma = 0.8;
constexpr double kMaxDecrease = 0.5;
constexpr double kDelayWeight = 0.0125;
// A sample above the target without a mark is not trusted, and stands for this
// share of the base RTT.
constexpr double kUntrustedShare = 0.25;
constexpr Duration kNoDelay = Duration::Micros(1);
constexpr uint32_t kFulfilPackets = 8;
constexpr int64_t kQuickTargets = 4;  // More delay than so many targets.
constexpr double kQuickGate = 8;  // And less than one in so many got through.

}  // namespace

Nscc::Nscc(const Parameters& p)
    : parameters_(p),
      base_rtt_(p.base_rtt),
      target_(Duration::Nanos(static_cast<int64_t>(
          p.target_share * static_cast<double>(p.base_rtt.nanos())))),
      a_(p.bdp_bytes / kReferenceBdpBytes),
      b_(p.scales_by_target ? target_ / kReferenceRtt : 1),
      max_window_(p.window_bdps * p.bdp_bytes),
      window_(max_window_),
      marks_(p.network_marks) {}

Allowance Nscc::OnAck(const AckEvent& ack) {
  if (!started_) {
    started_ = true;
    quick_at_ = ack.now + base_rtt_ + target_;
    earned_since_ = floored_at_ = ack.now;
  }
  base_rtt_ = std::min(base_rtt_, ack.rtt);
  const Duration delay = ack.rtt - base_rtt_;
  marks_ |= ack.ecn_marked_packets > 0;
  const bool marked =
      ack.ecn_marked_packets > 0 || (!marks_ && delay >= target_);
  LearnDelay(delay, marked);
  quick_bytes_ += ack.acked_bytes;
  earned_over_bytes_ += ack.acked_bytes;
  if (ignored_bytes_ > 0) {
    ignored_bytes_ -= std::min<uint64_t>(ignored_bytes_, ack.acked_bytes);
    if (marked) return Say();
  }
  if (QuickAdapt(false, delay, ack.now)) {
    ignored_bytes_ = ack.in_flight_bytes;
    return Say();
  }
  if (marked && delay >= target_) {
    Decrease(ack.rtt, ack.now);
  } else if (!marked && delay >= target_) {
    earned_ += kFairIncrease * parameters_.packet_bytes * a_ * ack.acked_bytes;
  } else if (!marked) {
    GrowInProportion(ack.acked_bytes, delay);
  }
  if (marked || delay >= kNoDelay) {
    fast_bytes_ = 0;
    fast_ = false;
  }
  if (earned_over_bytes_ >= kFulfilPackets * parameters_.packet_bytes ||
      ack.now - earned_since_ >= base_rtt_) {
    Fulfil(ack.now);
  }
  window_ = std::clamp<double>(window_, parameters_.packet_bytes, max_window_);
  return Say();
}

Allowance Nscc::OnLoss(const LossEvent& loss) {
  if (!parameters_.losses_are_congestion &&
      mean_delay_nanos_ < static_cast<double>(target_.nanos()) / 2) {
    return Say();
  }
  lost_since_ = true;
  window_ -= loss.lost_bytes;
  if (QuickAdapt(true, target_, loss.now)) ignored_bytes_ = 0;
  window_ = std::clamp<double>(window_, parameters_.packet_bytes, max_window_);
  return Say();
}

void Nscc::LearnDelay(Duration delay, bool marked) {
  const double sample =
      !marked && delay > target_
          ? kUntrustedShare * static_cast<double>(base_rtt_.nanos())
          : static_cast<double>(delay.nanos());
  mean_delay_nanos_ +=
      (marks_ ? kDelayWeight : 1) * (sample - mean_delay_nanos_);
}

bool Nscc::QuickAdapt(bool lost, Duration delay, Time now) {
  if (!started_ || now < quick_at_) return false;
  const bool bad = lost || lost_since_ || delay > kQuickTargets * target_;
  const auto achieved = static_cast<double>(quick_bytes_);
  const bool adapts = bad && achieved < max_window_ / kQuickGate;
  if (adapts) {
    window_ = std::max<double>(achieved, parameters_.packet_bytes);
    earned_ = 0;
  }
  quick_at_ = now + base_rtt_ + target_;
  quick_bytes_ = 0;
  lost_since_ = false;
  return adapts;
}

void Nscc::GrowInProportion(uint32_t acked_bytes, Duration delay) {
  if (delay < kNoDelay) {
    fast_bytes_ += acked_bytes;
    fast_ |= static_cast<double>(fast_bytes_) > window_;
    if (fast_) {
      window_ += kFastIncrease * a_ * acked_bytes;
      return;
    }
  }
  earned_ += kProportional * parameters_.packet_bytes * a_ * b_ * acked_bytes *
             ((target_ - delay) / target_);
}

void Nscc::Decrease(Duration rtt, Time now) {
  if (now - decreased_at_ < (marks_ ? base_rtt_ : rtt)) return;
  const auto target = static_cast<double>(target_.nanos());
  if (mean_delay_nanos_ <= target) return;
  window_ *=
      std::max(1 - kGamma * (mean_delay_nanos_ - target) / mean_delay_nanos_,
               1 - kMaxDecrease);
  decreased_at_ = now;
}

void Nscc::Fulfil(Time now) {
  window_ += earned_ / window_;
  if (now - floored_at_ >= base_rtt_) {
    window_ += kFloorIncrease * parameters_.packet_bytes * a_;
    floored_at_ = now;
  }
  earned_ = 0;
  earned_over_bytes_ = 0;
  earned_since_ = now;
}

Allowance Nscc::Say() const {
  return {static_cast<uint32_t>(window_), Rate::Unlimited()};
}

}  // namespace hawser
