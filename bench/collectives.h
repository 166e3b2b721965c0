// Each collective, written down as steps that one rank takes.
// Knows: ranks, elements, who sends which to whom.  Never: comms, requests,
// time.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/options.h"

namespace hawser::bench {

inline constexpr size_t kSlots = 8;  // NCCL_STEPS: of each comm.

// What the reduction does with one slice, in this order: take the slice from
// the incoming slot (or from the input), add the input to it, write it to the
// output, to the outgoing slot, or both. `accumulate` adds what the output
// holds so far instead of the input; `relay` sends that instead of it.
//
// `in_place`: with registered buffers it does without slots. What it only
// copies is received into the output, and sent from where it is written or
// lies, or else from the input: nobody changes those bytes before the next
// iteration.
struct Step {
  bool receive = false;
  bool reduce = false;
  bool accumulate = false;
  bool relay = false;
  bool write = false;
  bool send = false;
  bool in_place = false;
  size_t recv_hop = 0;  // Where from, if it receives.
  size_t send_hop = 0;  // Where to, if it sends.
  size_t input = 0;     // Byte offset, where the input is read.
  size_t output = 0;    // Byte offset, where the output is written.
  size_t bytes = 0;     // May be 0: an empty message still travels.

  bool received_in_place() const { return in_place && receive && !reduce; }
  bool sent_in_place() const { return in_place && send; }
  // What is sent in place lies in the output; else in the input.
  bool sends_output() const { return write || relay; }
};

// Steps in order. A hop's channel belongs to at most one program for each
// direction.
struct Program {
  int channel = 0;
  std::vector<Step> steps;
};

// Where one rank sends to and receives from, on one comm each per channel. All
// ranks have the same hops in the same order, and what one of them sends into
// a hop comes out of the other's hop of that index.
struct Hop {
  int to = 0;
  int from = 0;
  int channels = 0;
  size_t slot_bytes = 0;  // No message is larger.
};

// Sizes of one run, from the size that the user asked for.
struct Extent {
  size_t elements = 0;  // As nccl-tests prints it: of one rank's share where
                        // the operation has shares.
  size_t input_elements = 0;
  size_t output_elements = 0;
  size_t bytes = 0;  // What the size column says, and what algbw counts.
};

Extent ExtentOf(Operation operation, size_t bytes, size_t element_bytes,
                int ranks);

// busbw / algbw, as nccl-tests defines it: what the slowest wire carries.
double BusFactor(Operation operation, int ranks);

// What is taken for one size: never kAuto.
Algorithm AlgorithmFor(const Options& options, size_t bytes);

// An algorithm, and up to how many bytes it is taken.
struct Choice {
  Algorithm algorithm = Algorithm::kRing;
  size_t bytes_max = 0;
};
// Those that a run takes, in the order of its sizes; one at least.
std::vector<Choice> ChoicesIn(const Options& options);

// The hops that rank options.rank needs for all sizes of a run, and which of
// them is the first of an algorithm's own; the ring's only one is hop 0.
std::vector<Hop> HopsOf(const Options& options);
size_t FirstHopOf(const Options& options, Algorithm algorithm);

struct Placement {
  int rank = 0;
  int ranks = 0;
  int channels = 0;
  size_t element_bytes = 0;
  size_t slice_bytes = 0;
  size_t first_hop = 0;  // Of the algorithm.
};

std::vector<Program> MakePrograms(Operation operation, Algorithm algorithm,
                                  const Extent& extent,
                                  const Placement& placement);

}  // namespace hawser::bench
