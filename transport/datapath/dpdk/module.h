// What libhawser-dpdk.so gives to the rest: a table of functions.
// Knows: plain types of ours.  Never: DPDK, abseil: each side may have its own
// copy of that.
#pragma once

#include <cstdint>
#include <string>

#include "transport/datapath/datapath.h"
#include "transport/datapath/dpdk.h"

namespace hawser {

struct DpdkModule {
  // Both sides are built from one tree, or do not speak to each other.
  uint32_t version;
  // Each: false or nullptr, and a sentence in `error`.
  bool (*start)(const std::string& eal_arguments, std::string* error);
  bool (*describe)(const DpdkPort& port, Interface* found, std::string* error);
  Datapath* (*open)(const DpdkOptions& options, std::string* error);
};

// Grows with every change of this file, of dpdk.h or of datapath.h.
inline constexpr uint32_t kDpdkModuleVersion = 4;
// The one name that the shared object shows: a DpdkModule.
inline constexpr char kDpdkModuleName[] = "hawser_dpdk_module";

}  // namespace hawser
