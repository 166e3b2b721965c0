// AckTracker: the receiving half of a path; what came, and what to say of it.
// Knows: numbers and arrival times.  Never: what was in the packets.
#pragma once

#include <cstdint>
#include <optional>

#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/path/number_window.h"
#include "transport/wire/header.h"

namespace hawser {

enum class Arrival : uint8_t { kNew, kDuplicate, kTooOld };

// How long an ack may wait that the sender asked for, and how long, if that is
// longer than its delay, one that nobody asked for.
struct AckWait {
  Duration asked, unasked;
};

class AckTracker {
 public:
  // An ack is due after `every` packets; at once if a gap showed or a duplicate
  // came (its ack may have been lost); AckWait::asked after a packet whose
  // sender asked; and else `delay` after the first that waits, or
  // AckWait::unasked. RFC 9000 section 13.2 has the same reasons.
  AckTracker(PathId path, uint32_t every, Duration delay);

  // A. What is.
  Time deadline() const;  // When an ack is due; Never if none waits.
  PacketNumber expected() const { return {any_ ? largest_ + 1 : 0}; }
  bool IsNew(PacketNumber number) const;  // OnPacket would call it so.
  // B. What happened. `header.number` is whole. `arrived_at` <= now.
  Arrival OnPacket(const wire::PacketHeader& header, bool ecn_marked,
                   Time arrived_at, AckWait wait = {});
  // C. What next. What waits, due or not: an ack that goes along is free.
  std::optional<wire::Ack> TakeAck(Time now);

 private:
  Arrival Note(uint64_t number, Time arrived_at, bool* at_once);

  PathId path_;
  uint16_t ecn_marked_ = 0;
  bool any_ = false;
  uint32_t every_;
  uint32_t waiting_ = 0;  // Packets that no ack has spoken of.
  uint64_t largest_ = 0;
  Time largest_arrived_at_;
  uint64_t oldest_wanted_ = 0;  // The sender remembers nothing before it.
  Duration delay_;
  Time due_ = Time::Never();
  NumberWindow seen_;  // Up to largest_.
};

}  // namespace hawser
