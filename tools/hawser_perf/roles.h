// The two roles of this program.
// Knows: the order in which a test comes about.  Never: what happens in it.
#pragma once

#include "tools/hawser_perf/options.h"

namespace hawser::perf {

// Serves one client after another; with --once, one. Returns the exit status.
int RunServer(const Options& options);
// One test. Returns the exit status.
int RunClient(const Options& options);

}  // namespace hawser::perf
