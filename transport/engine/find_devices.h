// What this host's interfaces make under a configuration: one device, or
// several.
// Knows: interfaces, the choices that join them.  Never: who uses a device.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/datapath/interfaces.h"
#include "transport/engine/config.h"

namespace hawser {

struct DeviceOffer {
  std::string name;                   // "hawser", or "hawser-eth0".
  std::vector<Interface> interfaces;  // As Endpoint::Create takes them.
};

// Never empty. NotFound: no interface is left of those that are there.
// `remarks` (may be null) gets a line for each interface that found no place,
// and one that says why a faster datapath was not taken.
absl::StatusOr<std::vector<DeviceOffer>> FindDevices(
    const Config& config, std::vector<std::string>* remarks = nullptr);

}  // namespace hawser
