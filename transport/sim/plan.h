// Plan: a whole random experiment, drawn from one seed.
// Knows: hosts, links and their faults, what applications will do.  Never: how
// any of it turns out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/time.h"
#include "transport/sim/network.h"
#include "transport/sim/simulator.h"

namespace hawser::sim {

struct TransferPlan {
  uint32_t bytes = 0;
  uint32_t capacity_bytes = 0;  // Of the receive; less: it is truncated.
};

// What one application does with its half of a flow.
struct SidePlan {
  Duration start;                    // After its flow was made.
  uint32_t batch = 1;                // Requests in a row, at most...
  Duration pause_max;                // ...before a pause of up to this.
  Duration close = Duration::Max();  // In the middle, whatever is open.
  bool watched = true;               // See Request.
};

struct FlowPlan {
  int from = 0, to = 0;
  std::vector<TransferPlan> messages;
  SidePlan sender, receiver;
};

struct LinkPlan {
  LinkId id;
  LinkModel model;
  const char* fault = "";  // For humans.
  // It goes dark, and comes back, at these times in turn.
  std::vector<Time> turns;
};

struct PausePlan {
  int host = 0;
  Time from, until;
};

struct Plan {
  uint64_t seed = 0;
  Duration peer_timeout;
  std::vector<HostOptions> hosts;
  std::vector<LinkPlan> links;
  std::vector<PausePlan> pauses;
  // Each round's flows are made when the ones before are closed, at once: what
  // was meant for those may still be on its way.
  std::vector<std::vector<FlowPlan>> rounds;
  int killed_host = -1;       // -1: none.
  bool says_goodbye = false;  // Before it is killed.
  Time killed_at = Time::Never();
  Time dark_at = Time::Never();  // Every link, for ever.
};

Plan MakePlan(uint64_t seed);

// For humans: everything that is not as usual.
std::string ToString(const Plan& plan);

}  // namespace hawser::sim
