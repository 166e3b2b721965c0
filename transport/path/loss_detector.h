// LossDetector: from acks and silence, who arrived and who died.
// Knows: a SentLog, a reorder threshold.  Never: what to do about it.
//
// A path is FIFO by construction, so a gap behind the newest arrival is a loss
// (RFC 9002 section 6.1.1, packet threshold 3). But trust is checked: a loss
// that proves spurious raises the threshold (as RFC 8985, RACK, widens its
// reordering window), and it sinks back when the path keeps its order.
#pragma once

#include <cstdint>
#include <vector>

#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/path/rtt.h"
#include "transport/path/sent_log.h"
#include "transport/wire/header.h"

namespace hawser {

enum class Fate : uint8_t { kDelivered, kLost };
struct Settled {
  wire::Cargo cargo;
  PathId path;
  Fate fate;
};
using SettledList = std::vector<Settled>;  // The engine's; reserved once.

// What one ack, or one silence, came to.
struct AckSummary {
  bool valid = true;      // False: speaks of numbers never sent. Ignored.
  bool progress = false;  // Something was newly acked.
  uint32_t acked_bytes = 0;
  uint32_t acked_packets = 0;
  uint32_t lost_bytes = 0;
  uint32_t lost_packets = 0;         // Of these...
  uint32_t lost_probes = 0;          // ...carried nothing.
  uint32_t spurious_packets = 0;     // Acked after they were called lost.
  uint32_t largest_acked_bytes = 0;  // One packet; lost before or not.
  uint32_t largest_lost_bytes = 0;
  // Newly reported as marked, perhaps acked before; Path fills it in.
  uint32_t marked_packets = 0;
  bool silent = false;  // It was silence that told.
  Time newest_sent_at;  // Of the newest packet newly acked; if progress.
  bool newest_is_largest = false;  // It is the one that `held` speaks of.
};

// Decides the fate of every packet in a log. Resends nothing itself.
class LossDetector {
 public:
  static constexpr uint32_t kMinReorder = 3;  // RFC 9002, kPacketThreshold.
  static constexpr uint32_t kMaxReorder = 128;

  // A. What is.
  uint32_t reorder_packets() const { return reorder_packets_; }
  // B. What happened. `ack.largest` is the whole number. A packet is lost when
  // reorder_packets() younger ones have been passed, or when one sent later by
  // more than `reorder_time` has arrived before it.
  AckSummary OnAck(const wire::Ack& ack, SentLog& log, PathId path,
                   Duration reorder_time, SettledList& out);
  // What was sent before `sent_before` is lost: later packets of the peer have
  // arrived on other paths. Whatever comes after all is no sign of reordering.
  AckSummary OnOvertaken(Time sent_before, SentLog& log, PathId path,
                         SettledList& out);
  // The path fell silent: all that is open is lost.
  AckSummary OnSilence(SentLog& log, PathId path, SettledList& out);

 private:
  void SettleDelivered(const wire::Ack& ack, SentLog& log, PathId path,
                       AckSummary& summary, SettledList& out);
  void SettleLost(SentLog& log, PathId path, Duration reorder_time,
                  AckSummary& summary, SettledList& out);

  uint16_t reorder_packets_ = kMinReorder;  // At most kMaxReorder.
  uint16_t in_order_packets_ = 0;           // Since the threshold last moved.
  bool any_acked_ = false;
  PacketNumber largest_acked_;
  Time largest_acked_sent_at_;
  PacketNumber silenced_;  // Those before it may be late without reordering.
};

}  // namespace hawser
