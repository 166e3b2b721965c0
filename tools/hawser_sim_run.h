// hawser_sim run, list and show: scenarios of large networks.
// Knows: files, flags, tables for humans and machines.  Never: the network.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hawser::tools {

struct RunFlags {
  std::string scheduler, congestion, hosts;  // Empty: as the scenario says.
  int paths = 0;
  uint64_t seed = 1;
  int repeat = 1;  // Seeds, from `seed` on.
  std::vector<std::string> set;
  bool json = false, csv = false;
};

// Each returns the exit status: 0, 1 if a run did not finish, 2 if it was
// called wrongly, which is said on stderr.
int RunScenario(std::string_view scenario, const RunFlags& flags);
int ListScenarios();
int ShowScenario(std::string_view scenario);

}  // namespace hawser::tools
