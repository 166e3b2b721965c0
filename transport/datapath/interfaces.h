// Which network interfaces this host offers, and which of them are wanted.
// Knows: the system's list, NCCL's selection syntax.  Never: engines, packets.
//
// verbs.h has the same for RDMA devices, dpdk.h for ports of DPDK.
//
// Threads: any may call any function here, at any time.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace hawser {

struct Interface {
  std::string name;               // "eth0"
  sockaddr_storage address = {};  // IPv4 or IPv6, port 0.
  uint32_t mtu = 0;               // Bytes of an IP packet.
  int speed_mbps = 0;             // As sysfs says; 0: unknown.
  std::string pci_path;           // "/sys/devices/...", ending with the PCI
                                  // function; empty: not a PCI device.
  bool loopback = false;
  bool bridge = false;          // Of containers or guests, mostly.
  bool point_to_point = false;  // A tunnel, a VPN.
  // Set where the plane is a port of an RDMA device: `name` is then
  // "mlx5_0:1", `mtu` is the device's, `address` is where handshakes go.
  std::string rdma_device;  // "mlx5_0"
  uint8_t rdma_port = 0;    // From 1.
  uint8_t gid_index = 0;    // Of the address it is used under.
  // The same, where it is a port of DPDK: "0000:3b:00.0", "net_memif0".
  std::string dpdk_port;
  bool software = false;  // No NIC: this host's CPU makes the packets.
};

enum class AddressFamily : uint8_t { kAny, kIpv4, kIpv6 };

// Every interface that is up, has a carrier, and has an address of the family
// (kAny: IPv4 is preferred where there are both; IPv6 link-local never), one
// entry each, in the system's order.
//
// `selection` has the syntax of NCCL_SOCKET_IFNAME: a comma-separated list of
// name prefixes; "=" before the list asks for exact names; "^" excludes what
// follows ("^=" exactly). Empty: all but loopback, "docker*", bridges and
// point-to-point links; if that leaves nothing, the bridges and links as well;
// if there are none, loopback. NotFound, naming what there is, if nothing is
// left.
absl::StatusOr<std::vector<Interface>> FindInterfaces(
    std::string_view selection, AddressFamily family);

// True if `name` is chosen by a non-empty `selection`.
bool Selects(std::string_view selection, std::string_view name);

// "192.0.2.1:4791", "[2001:db8::1]:4791"; the port is left out if it is 0.
std::string ToString(const sockaddr_storage& address);
// "eth0 (192.0.2.1), eth1 (192.0.2.65)".
std::string ToString(const std::vector<Interface>& interfaces);

}  // namespace hawser
