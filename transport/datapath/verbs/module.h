// What libhawser-verbs.so gives to the rest: a table of functions.
// Knows: plain types of ours.  Never: libibverbs, abseil: each side may have
// its own copy of that.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/datapath/datapath.h"
#include "transport/datapath/verbs.h"

namespace hawser {

struct VerbsModule {
  // Both sides are built from one tree, or do not speak to each other.
  uint32_t version;
  // All ports that can be used; `unusable` is told why others cannot.
  std::vector<Interface> (*find_ports)(AddressFamily family, int gid_index,
                                       std::string* unusable);
  // nullptr, and a sentence in `error`. `choice`: as VerbsLibrary::Open.
  Datapath* (*open)(const VerbsOptions& options, std::string* error,
                    std::string* choice);
};

// Grows with every change of this file, of verbs.h or of datapath.h.
inline constexpr uint32_t kVerbsModuleVersion = 5;
// The one name that the shared object shows: a VerbsModule.
inline constexpr char kVerbsModuleName[] = "hawser_verbs_module";

}  // namespace hawser
