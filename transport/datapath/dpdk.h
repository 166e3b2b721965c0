// Planes over DPDK: the way to its libraries and ports, loaded when asked.
// Knows: a shared object of ours, how ports are written down.  Never: DPDK
// itself, which only that object needs.
//
// libhawser-dpdk.so is looked for as module_file.h says. Where it or DPDK is
// missing, Load says so and everything else works as before.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/datapath/datapath.h"
#include "transport/datapath/interfaces.h"
#include "transport/net/address.h"

namespace hawser {

struct DpdkModule;

// A port of DPDK's, and who we are on its link.
struct DpdkPort {
  std::string name;  // As DPDK calls it: "0000:3b:00.0", "net_memif0".
  IpPrefix address;  // Nobody else's, not even this host's kernel's.
  std::optional<IpAddress> gateway;
  uint16_t vlan = 0;  // 1..4094; 0: frames have no tag.
  uint32_t mtu = 0;   // Bytes of an IP packet; 0: what is usual for the port.
  // Those that are not asked for their Ethernet address.
  std::vector<std::pair<IpAddress, MacAddress>> neighbours;
};

// Ports as HAWSER_DPDK_PORTS has them, one after another with ";" between:
//   NAME ADDRESS/PREFIX [via GATEWAY] [vlan ID] [mtu BYTES]
//        [neighbour ADDRESS=MAC]...
// InvalidArgument names the word, and what was expected.
absl::StatusOr<std::vector<DpdkPort>> ParseDpdkPorts(std::string_view text);

struct DpdkOptions {
  DpdkPort port;
  uint16_t entropies = 16;           // 1..8192
  uint32_t max_packet_bytes = 4096;  // Never more, whatever the MTU. >= 256.
  uint8_t traffic_class = 0;         // Its ECN bits are ours.
  // Of the port, one for each engine: the first plane of a port in a process
  // decides, others must want the same, and there may be as many at a time.
  // 1..16.
  uint16_t queues = 1;
};

class DpdkLibrary {
 public:
  // Starts DPDK's environment (EAL) with these arguments, blanks between them;
  // once per process, for good: the same arguments later find it started,
  // others are refused (FailedPrecondition). NotFound: the library is not here.
  // Unavailable: EAL refused, with the cause and, where it is known, a command
  // that mends it.
  static absl::StatusOr<const DpdkLibrary*> Load(
      const std::string& eal_arguments);

  // What a port is, as an interface. `address` stays empty. NotFound, naming
  // what there is, if there is none of this name.
  absl::StatusOr<Interface> Describe(const DpdkPort& port) const;

  // A plane. The Status says which step failed.
  absl::StatusOr<std::unique_ptr<Datapath>> Open(
      const DpdkOptions& options) const;

 private:
  explicit DpdkLibrary(const DpdkModule* module) : module_(module) {}
  const DpdkModule* module_;
};

}  // namespace hawser
