// Dctcp: a window that shrinks by the share of packets that were marked.
// Knows: marks and losses.  Never: delay, packet numbers, timers.
//
// Source: Alizadeh et al., "Data Center TCP (DCTCP)" (SIGCOMM'10), section 3.3,
// and RFC 8257. Ours: it starts at its most, as the others here do, instead of
// with a slow start.
#pragma once

#include <cstdint>

#include "transport/congestion/congestion_control.h"

namespace hawser {

class Dctcp final : public CongestionControl {
 public:
  struct Parameters {
    uint32_t packet_bytes = 4150;         // One packet, on the wire.
    uint32_t max_window_bytes = 262'500;  // And the first.
    // Of the marked share. With 1 the first mark halves the window.
    double first_alpha = 1;
  };
  explicit Dctcp(const Parameters& parameters);

  Allowance initial() const override { return Say(); }
  Allowance OnAck(const AckEvent& ack) override;
  Allowance OnLoss(const LossEvent& loss) override;

 private:
  void Shrink(double share);
  Allowance Say() const;

  Parameters parameters_;
  double window_bytes_;
  double alpha_;  // The marked share, on the mean over rounds.
  // Of the round that runs, of about a round trip.
  Time round_ends_;
  uint64_t acked_packets_ = 0, marked_packets_ = 0;
  Duration rtt_;
  Time halved_until_;  // One loss is answered a round trip.
};

}  // namespace hawser
