// Experiment: one scenario, run once with one seed, and what came of it.
// Knows: scenarios, fabrics, both kinds of hosts.  Never: files, clocks.
#pragma once

#include <cstdint>
#include <memory>

#include "transport/sim/fabric/fabric.h"
#include "transport/sim/fabric/path_edge.h"
#include "transport/sim/fabric/reference_edge.h"
#include "transport/sim/fabric/scenario.h"

namespace hawser::sim {

struct ExperimentResult {
  uint64_t seed = 0;
  bool finished = false;  // All messages, within the scenario's limit.
  uint64_t messages = 0, unfinished = 0;
  // When messages were done, from the start of the run, in microseconds: the
  // last, the 99th of a hundred, the mean. Background messages apart.
  double tail_us = 0, p99_us = 0, mean_us = 0;
  double victim_tail_us = 0;  // Of those that are victims; 0: there are none.
  // What no transport can beat on a network without faults (docs/scenarios.md),
  // and with the faults that are there from the start.
  double ideal_us = 0, bound_us = 0;
  uint64_t data_packets = 0, resent_packets = 0, spurious_packets = 0;
  double resent_share = 0;  // Of the bytes of data packets.
  double marked_share = 0;  // Marks, for each data packet.
  double ack_share = 0;     // Bytes of acks, of those of data packets.
  uint64_t dropped = 0, trimmed = 0, suspects = 0, probes = 0;
  // The longest time from when a link that had died swallowed a packet until
  // its bytes arrived.
  double recovery_us = 0;
  double queue_mean_packets = 0, queue_peak_packets = 0;
  uint64_t hops = 0, events = 0;
};

class Experiment {
 public:
  Experiment(const Scenario& scenario, uint64_t seed);

  // A. What is.
  bool over() const { return over_; }
  double done_share() const;  // Of the messages.
  uint64_t hops() const { return fabric_->counts().hops; }
  ExperimentResult result() const;

  // C. Lets so much more virtual time pass, or the rest.
  void RunFor(Duration time);

 private:
  Scenario scenario_;
  uint64_t seed_;
  Workload workload_;
  Topology topology_;
  PathFacts facts_;
  std::unique_ptr<Fabric> fabric_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<PathEdge> paths_;           // One of these...
  std::unique_ptr<ReferenceEdge> reference_;  // ...two.
  bool over_ = false;
};

// The longest chain of messages, each as if it were alone, or the busiest port
// of a host, whichever takes longer; times the share of the uplinks that the
// network lacks, `with_faults` or without.
double IdealMicros(const Scenario& scenario, const Topology& topology,
                   const Workload& workload, bool with_faults);

}  // namespace hawser::sim
