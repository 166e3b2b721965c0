#include "transport/engine/find_devices.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/engine/planes.h"
#include "transport/wire/handshake.h"

namespace hawser {

absl::StatusOr<std::vector<DeviceOffer>> FindDevices(
    const Config& config, std::vector<std::string>* remarks) {
  auto found = FindPlanes(config);
  if (!found.ok()) return found.status();
  if (remarks != nullptr && !found->why.empty()) {
    remarks->push_back(found->why);
  }
  std::vector<DeviceOffer> offers;
  for (Interface& interface : found->interfaces) {
    if (offers.empty() || config.aggregate == 0) {
      offers.push_back({config.aggregate != 0
                            ? "hawser"
                            : absl::StrCat("hawser-", interface.name),
                        {}});
    }
    std::vector<Interface>& planes = offers.back().interfaces;
    if (planes.size() < wire::kMaxPlanes) {
      planes.push_back(std::move(interface));
    } else if (remarks != nullptr) {
      remarks->push_back(absl::StrCat("interface ", interface.name,
                                      " is left out: a device has at most ",
                                      wire::kMaxPlanes, " planes"));
    }
  }
  return offers;
}

}  // namespace hawser
