// Shared objects of ours that stand beside this one, loaded when asked.
// Knows: where to look, versions.  Never: what is in them.
//
// A datapath that needs a library which not every host has is such a file. It
// shows one name, a table of plain functions, whose first word is a version.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace hawser {

// The table `name` of `file`, which is looked for beside the file that this
// code is in (the plugin, libhawser.so, or a program), and where the dynamic
// linker looks. It then stays loaded. NotFound: it, or something that it needs,
// is not here. FailedPrecondition: it is of another version.
absl::StatusOr<const void*> LoadTable(const char* file, const char* name,
                                      uint32_t version);

}  // namespace hawser
