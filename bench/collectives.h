// Each collective, written down as steps that one rank takes.
// Knows: ranks, elements, who sends which to whom.  Never: comms, requests,
// time.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/options.h"

namespace hawser::bench {

// What the reduction does with one slice, in this order: take the slice from
// the incoming slot (or from the input), add the input to it, write it to the
// output, to the outgoing slot, or both.
struct Step {
  bool receive = false;
  bool reduce = false;
  bool write = false;
  bool send = false;
  size_t input = 0;   // Byte offset, where the input is read.
  size_t output = 0;  // Byte offset, where the output is written.
  size_t bytes = 0;   // May be 0: an empty message still travels.
};

inline constexpr size_t kNoLink = static_cast<size_t>(-1);

// Steps in order, over at most one incoming and one outgoing link. A link
// belongs to at most one program for each direction.
struct Program {
  int channel = 0;
  size_t send_distance = kNoLink;  // Indexes into Plan::distances.
  size_t recv_distance = kNoLink;
  std::vector<Step> steps;
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

// The distances (rank + d) over which an operation sends.
std::vector<int> DistancesOf(Operation operation, int ranks);

struct Placement {
  int rank = 0;
  int ranks = 0;
  int channels = 0;
  size_t element_bytes = 0;
  size_t slice_bytes = 0;
};

std::vector<Program> MakePrograms(Operation operation, const Extent& extent,
                                  const Placement& placement);

}  // namespace hawser::bench
