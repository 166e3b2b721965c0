// Why a ring indexed by number: numbers are given in order and never reused, so
// the number is the address, and a packet is found, settled and forgotten
// without search. What is asked for each packet sent - the oldest still open -
// is kept and moved forward, never looked for: every number is passed once.
#include "transport/path/sent_log.h"

#include <utility>

namespace hawser {

uint64_t SentLog::Undelivered(PacketNumber newest) const {
  HAWSER_CHECK(contains(newest));
  const uint64_t remembered = newest.value - begin_ + 1;
  const uint64_t mask =
      remembered >= 64 ? ~uint64_t{0} : (uint64_t{1} << remembered) - 1;
  return mask & ~delivered_.Read(newest.value);
}

PacketNumber SentLog::Add(const wire::Cargo& cargo, uint32_t wire_bytes,
                          Time now) {
  HAWSER_CHECK(!full());
  if (end_ - begin_ > mask_) Grow();
  const uint64_t number = end_++;
  SentPacket& packet = slots()[number & mask_];
  packet.cargo = cargo;
  packet.wire_bytes = wire_bytes;
  packet.state = SentPacket::State::kOpen;
  packet.sent_at = now;
  delivered_.Clear(number);
  if (oldest_open_ == number) oldest_open_sent_at_ = now;
  in_flight_bytes_ += wire_bytes;
  ++open_packets_;
  return {number};
}

void SentLog::Settle(PacketNumber n, SentPacket::State fate) {
  SentPacket& packet = (*this)[n];
  HAWSER_CHECK(fate != SentPacket::State::kOpen);
  if (fate == SentPacket::State::kDelivered) delivered_.Set(n.value);
  if (packet.state != SentPacket::State::kOpen) {
    HAWSER_CHECK(packet.state == SentPacket::State::kLost &&
                 fate == SentPacket::State::kDelivered);
    packet.state = fate;
    return;
  }
  packet.state = fate;
  in_flight_bytes_ -= packet.wire_bytes;
  --open_packets_;
  if (n.value != oldest_open_) return;
  while (++oldest_open_ != end_) {
    const SentPacket& next = (*this)[{oldest_open_}];
    if (next.state != SentPacket::State::kOpen) continue;
    oldest_open_sent_at_ = next.sent_at;
    break;
  }
}

void SentLog::Trim(PacketNumber keep_from) {
  for (; begin_ != oldest_open_; ++begin_) {
    if (begin_ >= keep_from.value &&
        (*this)[{begin_}].state == SentPacket::State::kLost) {
      break;
    }
  }
}

void SentLog::Grow() {
  const uint32_t mask = 2 * mask_ + 1;
  auto larger = std::make_unique<SentPacket[]>(mask + 1);
  for (uint64_t n = begin_; n != end_; ++n) {
    larger[n & mask] = slots()[n & mask_];
  }
  more_ = std::move(larger);
  mask_ = mask;
}

}  // namespace hawser
