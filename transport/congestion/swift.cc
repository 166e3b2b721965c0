// Why Swift: delay is the one congestion signal that software sees on every
// fabric, and a delay target shared by all keeps queues short without help from
// switches. (Kumar et al., SIGCOMM'20, algorithm 1: grow by `ai` packets a
// round trip below the target; above it shrink in proportion to the excess, at
// most once a round trip and never by more than max_mdf.) Windows are doubles:
// in whole bytes an increase of ai / window would round to nothing.
//
// The minimum round trip. Swift is told its base delay; we learn it, as the
// least sample, and so have LEDBAT's two problems (RFC 6817 section 4.5).
//
// One: who meets a standing queue first takes it for the base, adds its own
// target, and starves the others. So a path drains when its ramp ends, and
// whenever it has seen nothing near its minimum for a while: it holds its
// window small for two round trips, looks, and ramps back up, as BBR does after
// its startup and LEDBAT++ in its slowdowns. The later moments come from the
// clock that all paths of an engine share: they drain together, and their
// common queue with them.
//
// Two: a route may become longer. A minimum over recent time would follow it,
// but would also follow a queue that others keep standing. A longer route shows
// itself otherwise: delay stays above the target even with less than a packet
// in flight, which can hold up no queue. Only what is seen in that state, and
// for long, replaces the minimum.
#include "transport/congestion/swift.h"

#include <algorithm>
#include <cmath>

namespace hawser {
namespace {

// How long, and for how many samples, the window must stay at a packet or less
// before the minimum is forgotten. 10 s outlasts any incast that drains at all
// (BBR's MinRTTFilterLen is the same); 8 samples, so that a pause is no proof.
constexpr Duration kLoneSpan = Duration::Seconds(10);
constexpr int kLoneSamples = 8;

// How often a path that never comes near its minimum drains. A drain to one
// packet costs two round trips and the ramp, about ten in all: some 4 ms of 2 s
// where the target is 1 ms. With a long round trip it drains to a half only,
// for the price of two, and with a very long one it leaves turns out. Where it
// is the queue that made it long, the next drain will see further.
constexpr Duration kDrainEvery = Duration::Seconds(2);
constexpr Duration kLongRtt = Duration::Millis(4);
constexpr Duration kVeryLongRtt = Duration::Millis(16);

// A sample so near to the minimum, as a share of the target delay, shows that
// the queue empties by itself.
constexpr int64_t kNearShare = 4;

// Below this share of its window in use, a sender shows nothing about the
// path by getting its acks (RFC 9002 section 7.8, underutilization).
constexpr double kUsedShare = 0.5;

}  // namespace

Swift::Swift(const Parameters& parameters)
    : parameters_(parameters),
      window_packets_(static_cast<double>(parameters.initial_window_bytes) /
                      parameters.packet_bytes) {
  window_packets_ = std::max(window_packets_, parameters_.min_window_packets);
  if (parameters_.base_rtt > Duration()) {
    min_rtt_ = parameters_.base_rtt;
    ramping_ = false;
  }
}

Allowance Swift::initial() const { return Say(); }

Allowance Swift::OnAck(const AckEvent& ack) {
  timeouts_ = 0;
  rtt_ = std::max(ack.rtt, Duration::Nanos(1));
  LearnMinRtt(rtt_, ack.now);
  Drain(ack.now);
  const Duration target = Target();
  if (rtt_ < target) {
    if (!draining_) Grow(ack);
  } else {
    if (ramping_) BeginDrain(1, ack.now);  // Whatever it met, it has overshot.
    ramping_ = false;
    const double excess = (rtt_ - target) / rtt_;
    double factor =
        std::max(1 - parameters_.beta * excess, 1 - parameters_.max_decrease);
    if (Unused(ack)) {
      factor = std::max(factor, std::min(1 / window_packets_, 1.0));
    }
    if (MayDecrease(ack.now)) Decrease(factor, ack.now);
  }
  return Say();
}

Allowance Swift::OnLoss(const LossEvent& loss) {
  ramping_ = false;
  if (loss.by_timeout && ++timeouts_ >= parameters_.timeouts_before_reset) {
    window_packets_ = parameters_.min_window_packets;
    ramp_to_packets_ = 0;
    decreased_ = true;
    last_decrease_ = loss.now;
  } else if (MayDecrease(loss.now)) {
    Decrease(1 - parameters_.max_decrease, loss.now);
  }
  return Say();
}

// Section 3.2: many flows make small windows, whose queue varies more; a
// larger target for a smaller window keeps them from starving each other.
Duration Swift::Target() const {
  const double at_min = 1 / std::sqrt(parameters_.scaling_min_packets);
  const double at_max = 1 / std::sqrt(parameters_.scaling_max_packets);
  const double share = (1 / std::sqrt(window_packets_) - at_max) /
                       std::max(at_min - at_max, 1e-9);
  const auto scaling = static_cast<int64_t>(
      std::clamp(share, 0.0, 1.0) *
      static_cast<double>(parameters_.scaling_delay.nanos()));
  return min_rtt_ + parameters_.target_delay + Duration::Nanos(scaling);
}

void Swift::LearnMinRtt(Duration rtt, Time now) {
  min_rtt_ = std::min(min_rtt_, rtt);
  if (rtt <= min_rtt_ + parameters_.target_delay / kNearShare) {
    near_min_at_ = now;
  }
  if (parameters_.base_rtt > Duration()) return;  // There is none to learn.
  if (window_packets_ > 1) {
    lone_samples_ = 0;
    return;
  }
  if (lone_samples_ == 0) {
    lone_since_ = now;
    lone_min_rtt_ = rtt;
  }
  ++lone_samples_;
  lone_min_rtt_ = std::min(lone_min_rtt_, rtt);
  if (lone_samples_ >= kLoneSamples && now - lone_since_ >= kLoneSpan) {
    min_rtt_ = lone_min_rtt_;
    lone_samples_ = 0;
    ramping_ = true;  // A new route, of which nothing is known yet.
  }
}

void Swift::Drain(Time now) {
  if (draining_) {
    if (now < drain_until_) return;
    draining_ = false;
    ramp_to_packets_ = window_packets_;
    window_packets_ = std::min(window_packets_, drain_packets_);
    return;
  }
  if (parameters_.base_rtt > Duration()) return;
  const int64_t turn = now.nanos() / kDrainEvery.nanos();
  if (turn == drain_turn_) return;
  drain_turn_ = turn;
  if (turn % (1 + rtt_.nanos() / kVeryLongRtt.nanos()) != 0) return;
  if (now - near_min_at_ <= kDrainEvery / 2 || window_packets_ <= 1) return;
  BeginDrain(rtt_ > kLongRtt ? window_packets_ / 2 : 1, now);
}

void Swift::BeginDrain(double packets, Time now) {
  draining_ = true;
  drain_packets_ = std::max(packets, 1.0);
  drain_until_ = now + 2 * rtt_;  // One for the queue, one for the look.
}

void Swift::Grow(const AckEvent& ack) {
  if (Unused(ack)) return;
  const double acked =
      static_cast<double>(ack.acked_bytes) / parameters_.packet_bytes;
  if (ramping_) {
    window_packets_ += acked;  // A window's worth of acks doubles it.
  } else if (window_packets_ < ramp_to_packets_) {
    window_packets_ = std::min(window_packets_ + acked, ramp_to_packets_);
  } else {
    window_packets_ +=
        parameters_.additive_packets * acked / std::max(window_packets_, 1.0);
  }
  window_packets_ = std::min(window_packets_,
                             static_cast<double>(parameters_.max_window_bytes) /
                                 parameters_.packet_bytes);
}

// Such a window does not grow. It shrinks, for it may yet be used, but not
// below a packet: a path that carries a few small packets into the queue of
// others would lose all of it, and could not win it back.
bool Swift::Unused(const AckEvent& ack) const {
  const double window_bytes = window_packets_ * parameters_.packet_bytes;
  return ack.in_flight_bytes < kUsedShare * window_bytes;
}

void Swift::Decrease(double factor, Time now) {
  window_packets_ =
      std::max(window_packets_ * factor, parameters_.min_window_packets);
  ramp_to_packets_ *= factor;
  decreased_ = true;
  last_decrease_ = now;
}

// What was sent before a decrease still brings bad news for a round trip.
bool Swift::MayDecrease(Time now) const {
  return !decreased_ || now - last_decrease_ >= rtt_;
}

Allowance Swift::Say() const {
  Allowance allowance;
  const double packets =
      draining_ ? std::min(drain_packets_, window_packets_) : window_packets_;
  allowance.window_bytes =
      std::max(1u, static_cast<uint32_t>(packets * parameters_.packet_bytes));
  // A window of a packet or more clocks itself by its acks; less than one can
  // only be had by waiting between packets (section 3.4).
  if (window_packets_ < 1 && rtt_ > Duration()) {
    allowance.pacing = Rate::Of(allowance.window_bytes, rtt_);
  }
  return allowance;
}

}  // namespace hawser
