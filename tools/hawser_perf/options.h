// The command line of hawser_perf, checked.
// Knows: names, ranges and defaults.  Never: what a test does with them.
#pragma once

#include <string>

#include "tools/hawser_perf/plan.h"

namespace hawser::perf {

inline constexpr int kExitFailed = 1;  // An error, or bytes that are wrong.
inline constexpr int kExitUsage = 2;   // The command line is not understood.

struct Options {
  bool server = false;
  int port = 18515;
  bool quiet = false;
  bool verbose = false;

  // Of a server.
  std::string bind;  // Empty: every address of this host.
  bool once = false;

  // Of a client.
  std::string host;
  Plan plan;
  std::string json_file;
};

// Ends the process, with status 2 and one line, if the line is not understood;
// with status 0 after --help.
Options ParseOptions(int argc, char** argv);

}  // namespace hawser::perf
