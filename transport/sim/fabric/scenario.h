// Scenario: a network, its faults, what is sent over it, and by what hosts.
// Knows: a JSON text and what may stand in it.  Never: how it turns out.
//
// docs/scenarios.md says what every key means, so that another simulator can
// repeat it. Every quantity has a unit, in the text as in the result.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/sim/fabric/fabric.h"
#include "transport/sim/fabric/topology.h"
#include "transport/sim/fabric/workload.h"

namespace hawser::sim {

// Bytes, or bandwidth-delay products of a port.
struct QueueDepth {
  double bdps = 0;
  uint32_t bytes = 0;  // If bdps is 0.
};

struct LinkFault {
  std::string kind;  // up down core_up core_down
  int at = -1;       // Which leaf or agg; -1: each.
  int uplink = 0;    // -1: each.
  int plane = 0;     // -1: each.
  double share = 0.25;
  Duration from, until = Duration::Max();
};

struct WorkloadPart {
  std::string kind;
  uint64_t bytes = 0;
  uint64_t seed = 1;         // permutation
  int senders = 0;           // incast
  int groups = 1;            // rings, all_to_all
  int window = 1;            // all_to_all
  int by = 0;                // shift; 0: half of the hosts.
  int first = 0, hosts = 0;  // Of the hosts, these; 0: all.
  bool background = false;
  double share = 1;  // permutation: of its senders, at random.
  bool victim = false;
};

struct Scenario {
  std::string name;
  TopologyOptions topology;
  QueueDepth limit{5, 0}, kmin{0.2, 0}, kmax{0.8, 0};
  bool trimming = false, marks_last_hop = true;
  double loss = 0;
  std::vector<LinkFault> links;
  std::vector<WorkloadPart> workload;
  Duration limit_time = Duration::Millis(100);  // It is given up after this.
  // Hosts: "paths", the project's own; "reference", those of the model that
  // ours are compared with.
  std::string hosts = "paths";
  std::string scheduler = "weave", congestion = "nscc";
  int paths = 160;
  int ack_every_packets = 8;
  Duration ack_delay = Duration::Micros(4);
  bool admission = true;
};

// InvalidArgument: "file:line: what is wrong; what was expected". `set` are
// further settings, "topology.hosts=128", which overrule the text.
absl::StatusOr<Scenario> ParseScenario(std::string_view text,
                                       std::string_view file,
                                       std::span<const std::string> set = {});

struct NamedScenario {
  std::string name, about;
  std::string text;  // JSON.
};
std::span<const NamedScenario> NamedScenarios();

}  // namespace hawser::sim
