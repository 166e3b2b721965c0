// Starts all ranks on this host and sees every one of them to its end.
// Knows: processes and signals.  Never: what a rank does.
#pragma once

#include "bench/options.h"

namespace hawser::bench {

// Starts this program again, once per rank, with the same command line.
// Returns the exit status: 0 when every rank ended well. When one does not,
// or a signal asks for the end, the others are ended too; none is left behind,
// not even when the launcher itself is killed.
int RunLauncher(const Options& options, int argc, char** argv);

}  // namespace hawser::bench
