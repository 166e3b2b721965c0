#include "transport/engine/planes.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/datapath/dpdk.h"
#include "transport/datapath/verbs.h"

namespace hawser {
namespace {

AddressFamily FamilyOf(const Config& config) {
  return config.family == "AF_INET"    ? AddressFamily::kIpv4
         : config.family == "AF_INET6" ? AddressFamily::kIpv6
                                       : AddressFamily::kAny;
}

absl::StatusOr<std::vector<Interface>> FindVerbsPlanes(const Config& config) {
  auto library = VerbsLibrary::Load();
  if (!library.ok()) return library.status();
  auto ports = (*library)->FindPorts(config.verbs_ports, FamilyOf(config),
                                     config.gid_index);
  if (!ports.ok() || config.datapath == "verbs") return ports;
  std::erase_if(*ports, [](const Interface& port) { return port.software; });
  if (ports->empty()) {
    return absl::NotFoundError(
        "there are only RDMA devices of software, which are slower "
        "(HAWSER_DATAPATH=verbs takes them)");
  }
  return ports;
}

absl::StatusOr<std::vector<Interface>> FindDpdkPlanes(const Config& config) {
  auto ports = ParseDpdkPorts(config.dpdk_ports);
  if (!ports.ok()) return ports.status();
  auto library = DpdkLibrary::Load(config.dpdk_eal);
  if (!library.ok()) return library.status();
  std::vector<Interface> found;
  for (const DpdkPort& port : *ports) {
    auto interface = (*library)->Describe(port);
    if (!interface.ok()) return interface.status();
    found.push_back(*std::move(interface));
  }
  return found;
}

}  // namespace

absl::StatusOr<Planes> FindPlanes(const Config& config) {
  Planes planes;
  if (config.datapath == "dpdk") {
    auto ports = FindDpdkPlanes(config);
    if (!ports.ok()) {
      return absl::Status(
          ports.status().code(),
          absl::StrCat("HAWSER_DATAPATH=dpdk: ", ports.status().message()));
    }
    planes.interfaces = *std::move(ports);
    planes.datapath = "dpdk";
  } else if (config.datapath != "udp") {
    auto ports = FindVerbsPlanes(config);
    if (ports.ok()) {
      planes.interfaces = *std::move(ports);
      planes.datapath = "verbs";
    } else if (config.datapath == "verbs") {
      return absl::Status(
          ports.status().code(),
          absl::StrCat("HAWSER_DATAPATH=verbs: ", ports.status().message()));
    } else {
      planes.why =
          absl::StrCat("verbs is not used: ", ports.status().message());
    }
  }
  // Handshakes are TCP connections, whatever carries the packets.
  auto interfaces = FindInterfaces(config.interfaces, FamilyOf(config));
  if (!interfaces.ok()) return interfaces.status();
  if (planes.datapath.empty()) {
    planes.datapath = "udp";
    planes.interfaces = *std::move(interfaces);
  } else {
    for (Interface& port : planes.interfaces) {
      port.address = interfaces->front().address;
    }
  }
  return planes;
}

}  // namespace hawser
