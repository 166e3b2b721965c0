// Congestion control by name, for hosts on a Fabric.
// Knows: the names, and what each is told.  Never: what they do.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "transport/congestion/congestion_control.h"

namespace hawser::sim {

// What congestion control is told of the network before the first packet.
struct PathFacts {
  uint32_t packet_bytes = 4150;  // Full, on the wire.
  Duration base_rtt;             // With nothing in the queues.
  uint32_t bdp_bytes = 0;        // The port's rate times base_rtt.
  bool trimming = false;
  double ack_packets = 1;  // An ack comes for so many packets of a port.
};

std::span<const std::string_view> CongestionNames();

// For all paths of a peer together. nullptr: no such name.
std::unique_ptr<CongestionControl> MakeCongestion(std::string_view name,
                                                  const PathFacts& facts);

}  // namespace hawser::sim
