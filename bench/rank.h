// One rank's life: it meets the others, loads the plugin, runs every size.
// Knows: the order of everything.  Never: the details of anything.
#pragma once

#include "bench/options.h"

namespace hawser::bench {

// Returns the exit status: 0, or kExitWrong where elements were wrong on any
// rank.
int RunRank(const Options& options);

}  // namespace hawser::bench
