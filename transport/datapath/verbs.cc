#include "transport/datapath/verbs.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "transport/datapath/module_file.h"
#include "transport/datapath/verbs/module.h"

namespace hawser {

absl::StatusOr<const VerbsLibrary*> VerbsLibrary::Load() {
  static const absl::StatusOr<const void*> table =
      LoadTable("libhawser-verbs.so", kVerbsModuleName, kVerbsModuleVersion);
  if (!table.ok()) return table.status();
  static const VerbsLibrary library(static_cast<const VerbsModule*>(*table));
  return &library;
}

absl::StatusOr<std::vector<Interface>> VerbsLibrary::FindPorts(
    std::string_view selection, AddressFamily family, int gid_index) const {
  std::string unusable;
  std::vector<Interface> ports =
      module_->find_ports(family, gid_index, &unusable);
  std::string left_out;
  std::erase_if(ports, [&](const Interface& port) {
    const bool out = !selection.empty() &&
                     !SelectsPort(selection, port.rdma_device, port.rdma_port);
    if (out) absl::StrAppend(&left_out, " ", port.name);
    return out;
  });
  if (!ports.empty()) return ports;
  if (!left_out.empty()) {
    return absl::NotFoundError(
        absl::StrCat("HAWSER_IB_HCA=", std::string(selection),
                     " takes none of the RDMA ports here:", left_out));
  }
  return absl::NotFoundError(unusable.empty() ? "there is no RDMA device"
                                              : unusable);
}

absl::StatusOr<std::unique_ptr<Datapath>> VerbsLibrary::Open(
    const VerbsOptions& options, std::string* choice) const {
  std::string error;
  auto plane =
      std::unique_ptr<Datapath>(module_->open(options, &error, choice));
  if (plane == nullptr) return absl::UnavailableError(error);
  return plane;
}

bool SelectsPort(std::string_view selection, std::string_view device,
                 uint8_t port) {
  const bool excludes = selection.starts_with('^');
  if (excludes) selection.remove_prefix(1);
  const bool exact = selection.starts_with('=');
  if (exact) selection.remove_prefix(1);
  bool listed = false;
  for (const absl::string_view part : absl::StrSplit(
           absl::string_view(selection.data(), selection.size()), ',')) {
    std::string_view name(part.data(), part.size());
    // A rail or plane number may follow the port; neither is ours to judge.
    const size_t colon = name.find(':');
    int number = port;
    if (colon != std::string_view::npos) {
      const std::string_view rest = name.substr(colon + 1);
      const std::string_view digits = rest.substr(0, rest.find(':'));
      if (!absl::SimpleAtoi({digits.data(), digits.size()}, &number)) continue;
      name = name.substr(0, colon);
    }
    if (name.empty() || number != port) continue;
    listed |= exact ? device == name : device.starts_with(name);
  }
  return listed != excludes;
}

}  // namespace hawser
