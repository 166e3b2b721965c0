// Policies by name, for hosts on a Fabric.
// Knows: the names of schedulers and congestion control.  Never: what they do.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "transport/congestion/congestion_control.h"
#include "transport/spray/path_scheduler.h"

namespace hawser::sim {

// What congestion control is told of the network before the first packet.
struct PathFacts {
  uint32_t packet_bytes = 4150;  // Full, on the wire.
  Duration base_rtt;             // With nothing in the queues.
  uint32_t bdp_bytes = 0;        // The port's rate times base_rtt.
  bool trimming = false;
  double ack_packets = 1;  // An ack comes for so many packets of a port.
};

// "round_robin", "oblivious", ...
std::span<const std::string_view> SchedulerNames();
std::span<const std::string_view> CongestionNames();

// For `paths` paths. nullptr: no such name.
std::unique_ptr<PathScheduler> MakeScheduler(std::string_view name,
                                             uint16_t paths, uint64_t seed);
// For all paths of a peer together.
std::unique_ptr<CongestionControl> MakeCongestion(std::string_view name,
                                                  const PathFacts& facts);

}  // namespace hawser::sim
