// Carries out programs over comms the way NCCL's proxy drives a plugin:
// receives posted ahead, sends in order, the oldest request tested, a yield
// when nothing moved. A test is asked for only where its answer is waited for:
// in most plugins one that fails costs a look at the network.
// Knows: steps, slots, requests.  Never: which collective the steps add up to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/collectives.h"
#include "bench/comms.h"
#include "bench/reduce.h"

namespace hawser::bench {

class Driver {
 public:
  // `in_place`: steps that can do without slots do so. The buffers of each Run
  // are then those that `comms` has registered.
  Driver(Comms* comms, NetLibrary* net, Bootstrap* bootstrap, AddFunction add,
         int timeout_s, bool in_place);

  // Runs all programs `iterations` times on the same buffers. An iteration
  // begins when the one before it has left this rank's reduction, as with
  // kernels on a stream; its receives are posted earlier. Returns when every
  // request is done. `what` names the run in an error.
  void Run(const std::vector<Program>& programs, int iterations,
           std::byte* input, std::byte* output, const std::string& what);

 private:
  // What one comm brings: in every iteration, a message for each of `steps`.
  struct Incoming {
    RecvComm* comm = nullptr;
    std::vector<const Step*> steps;
    uint64_t begin = 0;  // Of comm->posted, before the first iteration.
    uint64_t end = 0;    // And when all iterations have theirs.
  };

  // What one comm takes away. Both count as comm->done does: behind the last
  // message from the output, and behind the last one of earlier iterations.
  struct Outgoing {
    SendComm* comm = nullptr;
    uint64_t from_output = 0;
    uint64_t earlier = 0;
  };

  // One program under way, and the comms that its steps name.
  struct Progress {
    const Program* program = nullptr;
    size_t next = 0;
    uint64_t iteration = 0;
    std::vector<Incoming> incoming;
    std::vector<Outgoing> outgoing;
  };

  Progress StartOf(const Program& program, int iterations);
  bool TakeTurn(Progress* progress, bool was_idle);
  void Begin(Progress* progress) const;  // The next iteration.
  bool OutputIsFree(const Progress& progress) const;
  bool PostReceives(const Progress& progress, const Incoming& incoming);
  bool TakeStep(Progress* progress);
  bool HasArrived(RecvComm* comm);
  bool PostSends(SendComm* comm);
  bool TestSends(SendComm* comm);
  void Execute(const Step& step, const std::byte* incoming,
               std::byte* outgoing) const;
  Place SourceOf(const Step& step, const SendComm& comm) const;
  bool TestOldest(const Comm& comm, void* request, const char* what,
                  size_t expected_max, size_t* size);
  void OnIdle(const std::string& what);
  [[noreturn]] void FailStuck(const std::string& what) const;

  Comms* comms_;
  NetLibrary* net_;
  Bootstrap* bootstrap_;
  AddFunction add_;
  int timeout_s_;
  bool in_place_;

  std::vector<Progress> running_;
  std::byte* input_ = nullptr;
  std::byte* output_ = nullptr;
  uint64_t idle_turns_ = 0;
  int64_t idle_since_ns_ = 0;
};

}  // namespace hawser::bench
