// What may be told of a path to whoever asks: its state, and what it carried.
// Knows: counts.  Never: how a path comes by them.
#pragma once

#include <cstdint>

namespace hawser {

enum class PathState : uint8_t { kOpen, kSuspect };

// Free-running counts of one path, both directions.
struct PathCounts {
  uint64_t packets_sent = 0, bytes_sent = 0;  // Attempts, with headers.
  uint64_t packets_delivered = 0, bytes_delivered = 0;
  uint64_t packets_lost = 0, packets_spurious = 0;
  uint64_t packets_resent = 0;  // Those sent here whose cargo was a resend.
  uint64_t packets_received = 0, packets_duplicate = 0;
  uint64_t ecn_marked = 0;  // Of those sent, as the peer reports.
  uint64_t probes_sent = 0, times_suspect = 0;
};

}  // namespace hawser
