#include "bench/fail.h"

#include <unistd.h>

#include <cstdio>
#include <string>

namespace hawser::bench {
namespace {

int fail_rank = -1;  // None: the launcher, or a process still reading options.

// One write per line, so that lines of several ranks do not mix.
[[noreturn]] void Leave(int status, const char* tail, const char* format,
                        va_list arguments) {
  char text[1024];
  std::vsnprintf(text, sizeof(text), format, arguments);
  std::string line = "all_reduce_perf: ";
  if (fail_rank >= 0) line += "rank " + std::to_string(fail_rank) + ": ";
  line += text;
  line += tail;
  line += '\n';
  std::fflush(stdout);
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) {
    // Nobody is left to tell.
  }
  _exit(status);
}

}  // namespace

void SetFailRank(int rank) { fail_rank = rank; }

void Fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Leave(kExitWrong, "", format, arguments);
}

void FailUsage(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Leave(kExitUsage, " (--help shows the options)", format, arguments);
}

const char* ResultName(nccl::Result result) {
  switch (result) {
    case nccl::Result::kSuccess:
      return "ncclSuccess (0)";
    case nccl::Result::kUnhandledCudaError:
      return "ncclUnhandledCudaError (1)";
    case nccl::Result::kSystemError:
      return "ncclSystemError (2)";
    case nccl::Result::kInternalError:
      return "ncclInternalError (3)";
    case nccl::Result::kInvalidArgument:
      return "ncclInvalidArgument (4)";
    case nccl::Result::kInvalidUsage:
      return "ncclInvalidUsage (5)";
    case nccl::Result::kRemoteError:
      return "ncclRemoteError (6)";
    case nccl::Result::kInProgress:
      return "ncclInProgress (7), which a net plugin may not return";
  }
  return "a result that NCCL does not know";
}

}  // namespace hawser::bench
