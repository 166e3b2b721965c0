#include "transport/congestion/dctcp.h"

#include <algorithm>

namespace hawser {
namespace {

constexpr double kGain = 1.0 / 16;  // g, RFC 8257 section 3.3.

}  // namespace

Dctcp::Dctcp(const Parameters& parameters)
    : parameters_(parameters),
      window_bytes_(parameters.max_window_bytes),
      alpha_(parameters.first_alpha) {}

Allowance Dctcp::OnAck(const AckEvent& ack) {
  rtt_ = ack.rtt;
  const double packets = std::max(
      1.0, static_cast<double>(ack.acked_bytes) / parameters_.packet_bytes);
  acked_packets_ += static_cast<uint64_t>(packets);
  marked_packets_ += ack.ecn_marked_packets;
  if (ack.now >= round_ends_) {
    const double marked =
        std::min(1.0, static_cast<double>(marked_packets_) /
                          static_cast<double>(acked_packets_));
    alpha_ = (1 - kGain) * alpha_ + kGain * marked;
    if (marked_packets_ > 0) Shrink(alpha_ / 2);
    acked_packets_ = marked_packets_ = 0;
    round_ends_ = ack.now + ack.rtt;
  }
  // A packet for each window that arrives, unmarked.
  if (ack.ecn_marked_packets == 0) {
    window_bytes_ = std::min<double>(
        parameters_.max_window_bytes,
        window_bytes_ + parameters_.packet_bytes *
                            static_cast<double>(ack.acked_bytes) /
                            window_bytes_);
  }
  return Say();
}

Allowance Dctcp::OnLoss(const LossEvent& loss) {
  if (loss.by_timeout) {
    window_bytes_ = parameters_.packet_bytes;
  } else if (loss.now >= halved_until_) {
    Shrink(0.5);
    halved_until_ = loss.now + rtt_;
  }
  return Say();
}

void Dctcp::Shrink(double share) {
  window_bytes_ =
      std::max<double>(parameters_.packet_bytes, window_bytes_ * (1 - share));
}

Allowance Dctcp::Say() const {
  return {static_cast<uint32_t>(window_bytes_), Rate::Unlimited()};
}

}  // namespace hawser
