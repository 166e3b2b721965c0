// TwoChoices: of two paths drawn at random, the one with the shorter RTT.
// Knows: each path's smoothed round trip.  Never: marks, cargo.
//
// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load
// Balancing" (IEEE TPDS 12(10), 2001); by the RTT of a path, as in UCCL (Zhou
// et al., "UCCL-Tran: An Extensible Software Transport Layer for GPU
// Networking", OSDI'26).
#pragma once

#include <cstdint>

#include "transport/base/random.h"
#include "transport/spray/path_scheduler.h"

namespace hawser {

class TwoChoices final : public PathScheduler {
 public:
  explicit TwoChoices(uint64_t seed) : random_(seed) {}
  PathId Pick(const PathView& view, Time now) override;
  void OnFeedback(PathId, PathFeedback, uint32_t, Duration) override {}

 private:
  PathId Draw(const PathView& view);

  Random random_;
};

}  // namespace hawser
