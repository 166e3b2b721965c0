// Oblivious: random spraying, blind to what becomes of it.
// Knows: how many paths there are.  Never: how a path fares.
//
// Source: packet spraying (Dixit et al., "On the Impact of Packet Spraying in
// Data Center Networks", INFOCOM'13), in the form of the Ultra Ethernet
// reference model: every path once in each round, in an order that is the
// counter XOR a number drawn anew for each round.
#pragma once

#include <cstdint>

#include "transport/base/random.h"
#include "transport/spray/path_scheduler.h"

namespace hawser {

// The order in which rounds over all paths go; others build on it.
class RandomRounds {
 public:
  explicit RandomRounds(uint64_t seed) : random_(seed) {}
  // The next path below `paths` (1 or more), whatever its state.
  uint32_t Next(uint32_t paths);

 private:
  Random random_;
  uint32_t at_ = 0;
  uint32_t mask_ = 0;
  uint32_t span_ = 0;  // The power of two that holds all paths.
};

class Oblivious final : public PathScheduler {
 public:
  explicit Oblivious(uint64_t seed) : rounds_(seed) {}
  PathId Pick(const PathView& view, Time now) override;
  void OnFeedback(PathId, PathFeedback, uint32_t, Duration) override {}

 private:
  RandomRounds rounds_;
};

}  // namespace hawser
