#include "transport/datapath/dpdk.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "transport/datapath/dpdk/module.h"
#include "transport/datapath/module_file.h"
#include "transport/net/frame.h"

namespace hawser {
namespace {

std::string_view View(absl::string_view text) {
  return {text.data(), text.size()};
}

absl::Status Expected(absl::string_view what, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", what, ", not \"", found, "\""));
}

absl::Status ParseWord(absl::string_view word, absl::string_view value,
                       DpdkPort* port) {
  uint32_t number = 0;
  if (word == "via") {
    port->gateway = ParseIp(View(value));
    if (!port->gateway || !port->address.Contains(*port->gateway)) {
      return Expected("via ADDRESS, on the port's own link", value);
    }
  } else if (word == "vlan") {
    if (!absl::SimpleAtoi(value, &number) || number < 1 || number > kMaxVlan) {
      return Expected("vlan 1..4094", value);
    }
    port->vlan = static_cast<uint16_t>(number);
  } else if (word == "mtu") {
    if (!absl::SimpleAtoi(value, &number) || number < 576 || number > 65535) {
      return Expected("mtu 576..65535", value);
    }
    port->mtu = number;
  } else if (word == "neighbour") {
    const std::pair<absl::string_view, absl::string_view> both =
        absl::StrSplit(value, absl::MaxSplits('=', 1));
    const auto ip = ParseIp(View(both.first));
    const auto mac = ParseMac(View(both.second));
    if (!ip || !mac || ip->length != port->address.address.length) {
      return Expected("neighbour ADDRESS=MAC", value);
    }
    port->neighbours.emplace_back(*ip, *mac);
  } else {
    return Expected("via, vlan, mtu or neighbour", word);
  }
  return absl::OkStatus();
}

absl::StatusOr<DpdkPort> ParsePort(absl::string_view text) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(text, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
  DpdkPort port;
  port.name = std::string(words.front());
  const absl::string_view address = words.size() > 1 ? words[1] : "";
  const auto prefix = ParsePrefix(View(address));
  if (!prefix || !prefix->address.is_unicast()) {
    return Expected("NAME ADDRESS/PREFIX", text);
  }
  port.address = *prefix;
  for (size_t i = 2; i < words.size(); i += 2) {
    const absl::Status parsed =
        ParseWord(words[i], i + 1 < words.size() ? words[i + 1] : "", &port);
    if (!parsed.ok()) return parsed;
  }
  return port;
}

}  // namespace

absl::StatusOr<std::vector<DpdkPort>> ParseDpdkPorts(std::string_view text) {
  std::vector<DpdkPort> ports;
  for (const absl::string_view part :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ';',
                      absl::SkipWhitespace())) {
    auto port = ParsePort(part);
    if (!port.ok()) {
      return absl::Status(
          port.status().code(),
          absl::StrCat("HAWSER_DPDK_PORTS: ", port.status().message()));
    }
    for (const DpdkPort& before : ports) {
      if (before.name == port->name) {
        return Expected("each port once in HAWSER_DPDK_PORTS", port->name);
      }
    }
    ports.push_back(*std::move(port));
  }
  if (ports.empty()) {
    return absl::InvalidArgumentError(
        "HAWSER_DPDK_PORTS names no port; expected NAME ADDRESS/PREFIX, such "
        "as \"0000:3b:00.0 192.0.2.1/24\"");
  }
  return ports;
}

absl::StatusOr<const DpdkLibrary*> DpdkLibrary::Load(
    const std::string& eal_arguments) {
  static const absl::StatusOr<const void*> table =
      LoadTable("libhawser-dpdk.so", kDpdkModuleName, kDpdkModuleVersion);
  if (!table.ok()) {
    return absl::Status(
        table.status().code(),
        absl::StrCat(table.status().message(),
                     "; to mend it: apt-get install libdpdk-dev, and build "
                     "Hawser again"));
  }
  static const DpdkLibrary library(static_cast<const DpdkModule*>(*table));
  std::string error;
  if (!library.module_->start(eal_arguments, &error)) {
    return absl::UnavailableError(error);
  }
  return &library;
}

absl::StatusOr<Interface> DpdkLibrary::Describe(const DpdkPort& port) const {
  Interface found;
  std::string error;
  if (!module_->describe(port, &found, &error)) {
    return absl::NotFoundError(error);
  }
  return found;
}

absl::StatusOr<std::unique_ptr<Datapath>> DpdkLibrary::Open(
    const DpdkOptions& options) const {
  std::string error;
  auto plane = std::unique_ptr<Datapath>(module_->open(options, &error));
  if (plane == nullptr) return absl::UnavailableError(error);
  return plane;
}

}  // namespace hawser
