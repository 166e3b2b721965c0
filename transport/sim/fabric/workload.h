// Workload: which messages there are, and what each waits for.
// Knows: hosts by number, bytes, an order.  Never: how a message travels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "transport/sim/fabric/picos.h"

namespace hawser::sim {

struct MessagePlan {
  uint32_t from = 0, to = 0;
  uint64_t bytes = 0;
  Picos start = 0;                  // If it waits for nothing...
  uint32_t waits_for = 0;           // ...else when so many others are done.
  bool background = false;          // Somebody else's: one route, not reported.
  bool victim = false;              // Reported apart.
  std::vector<uint32_t> followers;  // Which wait for this one.
};

struct Workload {
  std::vector<MessagePlan> messages;

  uint32_t Add(uint32_t from, uint32_t to, uint64_t bytes, Picos start = 0);
  void Follow(uint32_t after,
              uint32_t message);  // `message` waits for `after`.
};

// One random cycle over all hosts (Sattolo 1986, with SplitMix64): host i sends
// to the i-th.
std::vector<uint32_t> RandomCycle(uint32_t hosts, uint64_t seed);

// Each host to its successor in a RandomCycle of `seed`.
void AddPermutation(Workload& workload, uint32_t hosts, uint64_t bytes,
                    uint64_t seed);
// Host i to host i + by, round: with half of the hosts, a tornado.
void AddShift(Workload& workload, uint32_t hosts, uint32_t by, uint64_t bytes);
// The last `senders` hosts to host 0.
void AddIncast(Workload& workload, uint32_t hosts, uint32_t senders,
               uint64_t bytes);
// In `groups` groups (host h is in group h mod groups), each to the next,
// next but one and so on; `window` at a time.
void AddAllToAll(Workload& workload, uint32_t hosts, uint32_t groups,
                 uint32_t window, uint64_t bytes);
// The 2 (n - 1) steps of a ring all-reduce over each group: a step waits for
// what the one before brought. (Patarasu and Yuan, 2009.)
void AddRings(Workload& workload, uint32_t hosts, uint32_t groups,
              uint64_t bytes);
// Exchanges with the partners at distance 1, 2, 4...: recursive doubling
// (Thakur, Rabenseifner and Gropp, 2005). With `halving`, `bytes` is the whole
// vector, and the distances are gone through twice: with half of it, a quarter
// and so on, and back.
void AddButterfly(Workload& workload, uint32_t hosts, uint64_t bytes,
                  bool halving);

// Who is done, and who may begin.
class Progress {
 public:
  explicit Progress(const Workload& workload);

  bool done() const { return open_ == 0; }  // Background apart.
  const Workload& workload() const { return workload_; }
  Picos started_at(uint32_t message) const { return marks_[message].started; }
  // When its sender knew that all had arrived; kNeverPicos before.
  Picos finished_at(uint32_t message) const { return marks_[message].finished; }

  void OnStarted(uint32_t message, Picos now) { marks_[message].started = now; }
  // Those that it was the last to hold up.
  std::span<const uint32_t> OnFinished(uint32_t message, Picos now);

 private:
  struct Mark {
    Picos started = kNeverPicos, finished = kNeverPicos;
    uint32_t waits_for = 0;
  };
  const Workload& workload_;
  std::vector<Mark> marks_;
  std::vector<uint32_t> released_;
  uint64_t open_ = 0;
};

}  // namespace hawser::sim
