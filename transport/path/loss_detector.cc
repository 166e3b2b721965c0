// Why gaps: on a FIFO path whatever was overtaken is gone, so the next ack
// tells of a loss a round trip after it happened, without a timer. Three
// packets of grace (RFC 9002 section 6.1.1) forgive a NIC with several queues.
// A second rule looks at sending times, as RACK does (RFC 8985): it finds the
// losses that too few packets follow, once a tail probe has been answered.
//
// Both rules can only become true from the oldest packet on: a later number has
// a smaller gap and a later sending time. So the search for losses stops at the
// first packet that is spared. The search for deliveries masks each word of the
// ack with what is known already. An ack that brings no news costs its words
// and nothing else, however wide the window.
#include "transport/path/loss_detector.h"

#include <algorithm>
#include <bit>

namespace hawser {
namespace {

// So many packets must arrive in order for the threshold to sink by one: a
// route change is forgotten within a second of traffic, while a fabric that
// keeps reordering raises it again long before.
constexpr uint32_t kTrustPackets = 1024;

void SettleAsLost(PacketNumber n, SentLog& log, PathId path,
                  AckSummary& summary, SettledList& out) {
  const SentPacket& packet = log[n];
  summary.lost_bytes += packet.wire_bytes;
  ++summary.lost_packets;
  if (packet.cargo.kind == wire::CargoKind::kProbe) ++summary.lost_probes;
  summary.largest_lost_bytes =
      std::max(summary.largest_lost_bytes, packet.wire_bytes);
  out.push_back({packet.cargo, path, Fate::kLost});
  log.Settle(n, SentPacket::State::kLost);
}

}  // namespace

AckSummary LossDetector::OnAck(const wire::Ack& ack, SentLog& log, PathId path,
                               Duration reorder_time, SettledList& out) {
  AckSummary summary;
  if (ack.largest >= log.end()) {
    summary.valid = false;
    return summary;
  }
  SettleDelivered(ack, log, path, summary, out);
  SettleLost(log, path, reorder_time, summary, out);
  return summary;
}

AckSummary LossDetector::OnOvertaken(Time sent_before, SentLog& log,
                                     PathId path, SettledList& out) {
  AckSummary summary;
  while (log.open_packets() > 0 && log.oldest_open_sent_at() < sent_before) {
    SettleAsLost(log.oldest_open(), log, path, summary, out);
  }
  if (summary.lost_packets > 0) {
    silenced_ = std::max(silenced_, log.oldest_open());
  }
  return summary;
}

AckSummary LossDetector::OnSilence(SentLog& log, PathId path,
                                   SettledList& out) {
  AckSummary summary;
  summary.silent = true;
  while (log.open_packets() > 0) {
    SettleAsLost(log.oldest_open(), log, path, summary, out);
  }
  silenced_ = log.end();
  return summary;
}

void LossDetector::SettleDelivered(const wire::Ack& ack, SentLog& log,
                                   PathId path, AckSummary& summary,
                                   SettledList& out) {
  bool reordered = false;
  const uint32_t words = std::min<uint32_t>(ack.words, wire::kAckWords);
  // From the oldest to the newest, so that cargo leaves in the order it came.
  for (uint32_t w = words; w-- > 0;) {
    const uint64_t back = uint64_t{64} * w;
    if (ack.largest.value < log.begin().value + back) continue;
    const PacketNumber newest{ack.largest.value - back};
    uint64_t news = ack.arrived[w] & log.Undelivered(newest);
    while (news != 0) {
      const int bit = 63 - std::countl_zero(news);
      news ^= uint64_t{1} << bit;
      const PacketNumber n{newest.value - static_cast<uint64_t>(bit)};
      const SentPacket& packet = log[n];
      if (packet.state == SentPacket::State::kLost) {
        ++summary.spurious_packets;
        reordered |= n >= silenced_;
      } else {
        summary.acked_bytes += packet.wire_bytes;
        ++summary.acked_packets;
        out.push_back({packet.cargo, path, Fate::kDelivered});
      }
      summary.progress = true;
      summary.largest_acked_bytes =
          std::max(summary.largest_acked_bytes, packet.wire_bytes);
      summary.newest_sent_at = packet.sent_at;
      summary.newest_is_largest = n == ack.largest;
      if (!any_acked_ || n > largest_acked_) {
        any_acked_ = true;
        largest_acked_ = n;
        largest_acked_sent_at_ = packet.sent_at;
      }
      log.Settle(n, SentPacket::State::kDelivered);
    }
  }
  if (reordered) {
    // Once for an ack: one late burst is one piece of evidence.
    reorder_packets_ = static_cast<uint16_t>(
        std::min<uint32_t>(reorder_packets_ * 2u, kMaxReorder));
    in_order_packets_ = 0;
  } else if (reorder_packets_ > kMinReorder) {
    in_order_packets_ =
        static_cast<uint16_t>(in_order_packets_ + summary.acked_packets);
    if (in_order_packets_ >= kTrustPackets) {
      --reorder_packets_;
      in_order_packets_ = 0;
    }
  }
}

void LossDetector::SettleLost(SentLog& log, PathId path, Duration reorder_time,
                              AckSummary& summary, SettledList& out) {
  if (!any_acked_) return;
  while (log.oldest_open() < largest_acked_) {
    const uint64_t gap = largest_acked_.value - log.oldest_open().value;
    const Duration head_start =
        largest_acked_sent_at_ - log.oldest_open_sent_at();
    if (gap < reorder_packets_ && head_start <= reorder_time) break;
    SettleAsLost(log.oldest_open(), log, path, summary, out);
  }
}

}  // namespace hawser
