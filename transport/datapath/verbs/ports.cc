#include "transport/datapath/verbs/ports.h"

#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>

#include "transport/datapath/verbs/device.h"

namespace hawser {
namespace {

// ibv_port_attr::active_speed has a bit per generation of lanes, and
// active_width one per number of lanes (InfiniBand Architecture Specification,
// volume 1, 14.2.5.6 PortInfo). In Mb/s of a lane, data rates as NCCL and
// vendors give them.
constexpr int kLaneMbps[] = {2'500,  5'000,  10'000, 10'000,
                             14'000, 25'000, 50'000, 100'000};
constexpr int kLanes[] = {1, 4, 8, 12, 2};

template <size_t kCount>
int Nth(const int (&table)[kCount], unsigned bits) {
  for (size_t i = kCount; i-- > 0;) {
    if ((bits >> i & 1) != 0) return table[i];
  }
  return 0;
}

std::string FirstLine(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) == nullptr ? "" : resolved;
}

bool IsLinkLocal(const ibv_gid& gid) {  // RFC 4291, section 2.5.6.
  return gid.raw[0] == 0xfe && (gid.raw[1] & 0xc0) == 0x80;
}

// How well an entry of the table suits; 0: not at all.
int Rank(const ibv_gid_entry& entry, bool ethernet, AddressFamily family) {
  if (!ethernet) return entry.gid_type == IBV_GID_TYPE_IB ? 1 : 0;
  if (entry.gid_type != IBV_GID_TYPE_ROCE_V2) return 0;
  if (IsIpv4(entry.gid)) return family == AddressFamily::kIpv6 ? 0 : 3;
  if (family == AddressFamily::kIpv4) return 0;
  return IsLinkLocal(entry.gid) ? 1 : 2;
}

// All of the device's that there are, by one call: a table may have a thousand
// places, most of them empty.
std::vector<ibv_gid_entry> AllGids(ibv_context* context, size_t places) {
  std::vector<ibv_gid_entry> entries(places);
  const ssize_t count =
      ibv_query_gid_table(context, entries.data(), entries.size(), 0);
  entries.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return entries;
}

std::optional<ibv_gid_entry> ChooseGid(
    const std::vector<ibv_gid_entry>& entries, uint8_t port,
    const ibv_port_attr& attributes, AddressFamily family, int gid_index) {
  const bool ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
  std::optional<ibv_gid_entry> best;
  int best_rank = 0;
  for (const ibv_gid_entry& entry : entries) {
    if (entry.port_num != port ||
        (gid_index >= 0 &&
         entry.gid_index != static_cast<uint32_t>(gid_index))) {
      continue;
    }
    const int rank = gid_index >= 0 ? 1 : Rank(entry, ethernet, family);
    if (rank > best_rank) {
      best = entry;
      best_rank = rank;
    }
  }
  return best;
}

void AddPort(ibv_context* context, uint8_t number, uint8_t count,
             AddressFamily family, int gid_index, std::vector<Interface>* ports,
             std::string* unusable) {
  Interface port;
  port.rdma_device = ibv_get_device_name(context->device);
  port.rdma_port = number;
  port.name = port.rdma_device + ":" + std::to_string(number);
  const auto leave_out = [&](const std::string& why) {
    *unusable += (unusable->empty() ? "" : "; ") + port.name + " " + why;
  };
  ibv_port_attr attributes = {};
  if (ibv_query_port(context, number, &attributes) != 0) {
    return leave_out("cannot be queried");
  }
  if (attributes.state != IBV_PORT_ACTIVE) {
    return leave_out(std::string("is ") + ibv_port_state_str(attributes.state));
  }
  const auto gids =
      AllGids(context, static_cast<size_t>(attributes.gid_tbl_len) * count);
  const auto gid = ChooseGid(gids, number, attributes, family, gid_index);
  if (!gid) {
    return leave_out(gid_index >= 0 ? "has no GID " + std::to_string(gid_index)
                                    : "has no RoCE v2 GID of the family");
  }
  port.gid_index = static_cast<uint8_t>(gid->gid_index);
  port.mtu = BytesOfMtu(attributes.active_mtu);
  port.speed_mbps = Nth(kLaneMbps, attributes.active_speed) *
                    Nth(kLanes, attributes.active_width);
  const std::string sysfs = context->device->ibdev_path;
  // A software device has no device below it, but names its interface.
  port.pci_path = RealPath(sysfs + "/device");
  port.software =
      port.pci_path.empty() && !FirstLine(sysfs + "/parent").empty();
  ports->push_back(port);
}

}  // namespace

uint32_t BytesOfMtu(int mtu) {
  return mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096 ? 128u << mtu : 0;
}

std::vector<Interface> FindVerbsPorts(AddressFamily family, int gid_index,
                                      std::string* unusable) {
  std::vector<Interface> ports;
  int count = 0;
  ibv_device** const devices = ibv_get_device_list(&count);
  if (devices == nullptr) {
    *unusable =
        std::string("this kernel has no RDMA (") + std::strerror(errno) + ")";
    return ports;
  }
  for (int i = 0; i < count; ++i) {
    ibv_context* const context = ibv_open_device(devices[i]);
    if (context == nullptr) {
      *unusable += (unusable->empty() ? "" : "; ") +
                   std::string(ibv_get_device_name(devices[i])) +
                   ": cannot be opened (" + std::strerror(errno) + ")";
      continue;
    }
    ibv_device_attr attributes = {};
    ibv_query_device(context, &attributes);
    for (int p = 1; p <= attributes.phys_port_cnt; ++p) {
      AddPort(context, static_cast<uint8_t>(p), attributes.phys_port_cnt,
              family, gid_index, &ports, unusable);
    }
    ibv_close_device(context);
  }
  ibv_free_device_list(devices);
  return ports;
}

}  // namespace hawser
