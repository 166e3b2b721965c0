// Ends this process with one clear line on stderr.
// Knows: who this process is in the run.  Never: why anything failed.
//
// The program has no state worth saving when a rank fails, and a plugin that
// has just failed may hang when it is asked to tidy up. So failing is leaving.
#pragma once

#include <cstdarg>

#include "nccl-plugin/net_abi.h"

namespace hawser::bench {

inline constexpr int kExitWrong = 1;  // Wrong elements, or an error.
inline constexpr int kExitUsage = 2;  // The command line is not understood.

// Lines begin with "rank <rank>" from now on.
void SetFailRank(int rank);

[[noreturn]] void Fail(const char* format, ...)
    __attribute__((format(printf, 1, 2)));
[[noreturn]] void FailUsage(const char* format, ...)
    __attribute__((format(printf, 1, 2)));

// "ncclRemoteError (6)", for a line that a user of NCCL reads.
const char* ResultName(nccl::Result result);

}  // namespace hawser::bench
