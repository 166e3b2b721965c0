// Which planes this host has, and by which datapath.
// Knows: the configuration, what the host offers.  Never: engines, peers.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/datapath/interfaces.h"
#include "transport/engine/config.h"

namespace hawser {

struct Planes {
  std::vector<Interface> interfaces;  // Not empty.
  std::string datapath;               // "udp", "verbs" or "dpdk".
  std::string why;                    // It, and not another: for humans.
};

// As HAWSER_DATAPATH asks. "auto" is verbs where a NIC does the work, and else
// udp: what a software device makes of a packet costs more than the kernel's
// own sockets do. "dpdk" is never taken unasked: it takes ports away from the
// kernel. The Status says what is missing.
absl::StatusOr<Planes> FindPlanes(const Config& config);

}  // namespace hawser
