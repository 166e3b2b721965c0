// RoundRobin: each sendable path in turn; the honest baseline.
// Knows: whose turn it is.  Never: how a path fares.
#pragma once

#include "transport/spray/path_scheduler.h"

namespace hawser {

class RoundRobin final : public PathScheduler {
 public:
  PathId Pick(const PathView& view, Time now) override;
  void OnFeedback(PathId, PathFeedback, uint32_t, Duration) override {}

 private:
  uint32_t next_ = 0;
};

}  // namespace hawser
