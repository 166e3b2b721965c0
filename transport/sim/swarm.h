// Swarm: runs a whole random plan and judges it.
// Knows: what was promised to applications.  Never: how an engine keeps it.
#pragma once

#include <cstdint>
#include <string>

#include "transport/base/time.h"
#include "transport/sim/plan.h"

namespace hawser::sim {

struct SwarmResult {
  std::string problem;  // A sentence. Empty: every promise was kept.
  std::string state;    // Of every path, where there is a problem.
  uint64_t hash = 0;    // Of every arrival and every outcome.
  Duration virtual_time;
  uint64_t packets = 0, turns = 0, messages = 0, bytes = 0;

  bool ok() const { return problem.empty(); }
};

// The same plan gives the same result, whatever else runs. What is checked:
// every request ends once, with the outcome that is due, in time; all bytes
// are equal; no buffer is touched when it should not be; windows are kept; and
// when all is over the network falls silent.
SwarmResult RunPlan(const Plan& plan);

}  // namespace hawser::sim
