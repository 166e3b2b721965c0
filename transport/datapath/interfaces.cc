// Why by hand, from getifaddrs and sysfs: what is asked (addresses, MTU, link
// speed, the PCI device) is a few small files and system calls, and the
// selection must read exactly like NCCL_SOCKET_IFNAME, which operators have
// already set. (NCCL, src/misc/socket.cc: findInterfaces, and
// src/misc/utils.cc: matchIfList.)

#include "transport/datapath/interfaces.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace hawser {
namespace {

constexpr uint32_t kUsualMtu = 1500;  // Where the system does not say.

// Asks the system about an interface. False: it does not say.
bool Ask(const std::string& name, unsigned long what, ifreq* request) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  // A host may have been built without IPv4.
  const int any = fd >= 0 ? fd : socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0) return false;
  std::strncpy(request->ifr_name, name.c_str(), IFNAMSIZ - 1);
  const bool known = ioctl(any, what, request) == 0;
  close(any);
  return known;
}

uint32_t MtuOf(const std::string& name) {
  ifreq request = {};
  return Ask(name, SIOCGIFMTU, &request) && request.ifr_mtu > 0
             ? static_cast<uint32_t>(request.ifr_mtu)
             : kUsualMtu;
}

// By its driver: sysfs shows the interfaces of the namespace that mounted it.
bool IsBridge(const std::string& name) {
  ethtool_drvinfo driver = {};
  driver.cmd = ETHTOOL_GDRVINFO;
  ifreq request = {};
  request.ifr_data = reinterpret_cast<char*>(&driver);
  return Ask(name, SIOCETHTOOL, &request) &&
         std::strcmp(driver.driver, "bridge") == 0;
}

// 0 where the driver says -1 or refuses to be read, as virtual devices do.
int SpeedOf(const std::string& name) {
  const std::string path = absl::StrCat("/sys/class/net/", name, "/speed");
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[32];
  const ssize_t length = read(fd, text, sizeof text);
  close(fd);
  int speed = 0;
  if (length <= 0 ||
      !absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(length)),
                        &speed)) {
    return 0;
  }
  return std::max(speed, 0);
}

// "0000:3b:00.1"
bool IsPciFunction(absl::string_view name) {
  if (name.size() < 12) return false;  // The domain may have more digits.
  const absl::string_view end = name.substr(name.size() - 8);  // ":3b:00.1"
  return end[0] == ':' && end[3] == ':' && end[6] == '.';
}

// The path is cut behind its last PCI function: a virtio device hangs one
// level below the function whose place in the topology is wanted.
std::string PciPathOf(const std::string& name) {
  const std::string link = absl::StrCat("/sys/class/net/", name, "/device");
  char resolved[PATH_MAX];
  if (realpath(link.c_str(), resolved) == nullptr) return "";
  std::vector<absl::string_view> parts = absl::StrSplit(resolved, '/');
  while (!parts.empty() && !IsPciFunction(parts.back())) parts.pop_back();
  return absl::StrJoin(parts, "/");
}

// The address of one list entry, if it is one that is wanted.
std::optional<sockaddr_storage> WantedAddress(const ifaddrs& entry,
                                              AddressFamily family) {
  if (entry.ifa_addr == nullptr) return std::nullopt;
  sockaddr_storage address = {};
  if (entry.ifa_addr->sa_family == AF_INET && family != AddressFamily::kIpv6) {
    std::memcpy(&address, entry.ifa_addr, sizeof(sockaddr_in));
    return address;
  }
  if (entry.ifa_addr->sa_family == AF_INET6 && family != AddressFamily::kIpv4) {
    sockaddr_in6 in6;
    std::memcpy(&in6, entry.ifa_addr, sizeof in6);
    if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr)) return std::nullopt;
    std::memcpy(&address, &in6, sizeof in6);
    return address;
  }
  return std::nullopt;
}

const char* NameOf(AddressFamily family) {
  switch (family) {
    case AddressFamily::kIpv4:
      return "an IPv4 address";
    case AddressFamily::kIpv6:
      return "an IPv6 address";
    case AddressFamily::kAny:
      break;
  }
  return "an address";
}

// Every interface that could be used, wanted or not.
absl::StatusOr<std::vector<Interface>> ListInterfaces(AddressFamily family) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) {
    return absl::ErrnoToStatus(errno, "cannot list the network interfaces");
  }
  std::vector<Interface> found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    constexpr unsigned kUsable = IFF_UP | IFF_RUNNING;
    if ((entry->ifa_flags & kUsable) != kUsable) continue;
    const auto address = WantedAddress(*entry, family);
    if (!address) continue;
    // A second address may carry a label, "eth0:1"; the device is eth0.
    const std::string name(absl::string_view(entry->ifa_name)
                               .substr(0, std::strcspn(entry->ifa_name, ":")));
    const auto known =
        std::find_if(found.begin(), found.end(),
                     [&](const Interface& one) { return one.name == name; });
    if (known == found.end()) {
      Interface one;
      one.name = name;
      one.address = *address;
      one.mtu = MtuOf(name);
      one.speed_mbps = SpeedOf(name);
      one.pci_path = PciPathOf(name);
      one.loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
      one.bridge = IsBridge(name);
      one.point_to_point = (entry->ifa_flags & IFF_POINTOPOINT) != 0;
      found.push_back(std::move(one));
    } else if (known->address.ss_family == AF_INET6 &&
               address->ss_family == AF_INET) {
      known->address = *address;
    }
  }
  freeifaddrs(list);
  // The list has all IPv4 addresses first; what is meant is the order of the
  // interfaces.
  std::stable_sort(
      found.begin(), found.end(), [](const Interface& a, const Interface& b) {
        return if_nametoindex(a.name.c_str()) < if_nametoindex(b.name.c_str());
      });
  return found;
}

}  // namespace

bool Selects(std::string_view selection, std::string_view name) {
  absl::string_view rest(selection.data(), selection.size());
  const absl::string_view wanted(name.data(), name.size());
  const bool excludes = absl::ConsumePrefix(&rest, "^");
  const bool exactly = absl::ConsumePrefix(&rest, "=");
  bool matches = false;
  for (absl::string_view part : absl::StrSplit(rest, ',')) {
    part = absl::StripAsciiWhitespace(part);
    if (part.empty()) continue;
    matches |= exactly ? wanted == part : absl::StartsWith(wanted, part);
  }
  return matches != excludes;
}

absl::StatusOr<std::vector<Interface>> FindInterfaces(
    std::string_view selection, AddressFamily family) {
  const auto listed = ListInterfaces(family);
  if (!listed.ok()) return listed.status();
  const auto keep = [&](auto&& wanted) {
    std::vector<Interface> kept;
    std::copy_if(listed->begin(), listed->end(), std::back_inserter(kept),
                 wanted);
    return kept;
  };
  std::vector<Interface> chosen;
  if (selection.empty()) {
    const auto leads_out = [](const Interface& one) {
      return !one.loopback && !absl::StartsWith(one.name, "docker");
    };
    chosen = keep([&](const Interface& one) {
      return leads_out(one) && !one.bridge && !one.point_to_point;
    });
    // A host may have its address on a bridge.
    if (chosen.empty()) chosen = keep(leads_out);
    if (chosen.empty()) {
      chosen = keep([](const Interface& one) { return one.loopback; });
    }
  } else {
    chosen = keep(
        [&](const Interface& one) { return Selects(selection, one.name); });
  }
  if (!chosen.empty()) return chosen;
  const std::string there_are = ToString(*listed);
  return absl::NotFoundError(absl::StrCat(
      "no interface that is up and has ", NameOf(family),
      selection.empty() ? "" : " is chosen by ", std::string(selection),
      "; there are: ", there_are.empty() ? "none" : there_are));
}

std::string ToString(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &address, sizeof in);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    if (in.sin_port == 0) return text;
    return absl::StrCat(text, ":", ntohs(in.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 in6;
    std::memcpy(&in6, &address, sizeof in6);
    inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
    const std::string host = in6.sin6_scope_id == 0
                                 ? text
                                 : absl::StrCat(text, "%", in6.sin6_scope_id);
    if (in6.sin6_port == 0) return host;
    return absl::StrCat("[", host, "]:", ntohs(in6.sin6_port));
  }
  return absl::StrCat("(address family ", address.ss_family, ")");
}

std::string ToString(const std::vector<Interface>& interfaces) {
  return absl::StrJoin(
      interfaces, ", ", [](std::string* out, const Interface& one) {
        absl::StrAppend(out, one.name, " (", ToString(one.address), ")");
      });
}

}  // namespace hawser
