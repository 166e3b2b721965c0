// Adaptive: the path on which the next packet is expected to arrive first.
// Knows: each path's queue, pace and manners.  Never: cargo, flows.
//
// The estimate for a path is its smoothed network RTT stretched by how full
// its window is, srtt * (1 + in_flight / window), which is join-the-shortest-
// queue measured in time (Winston 1977); of very many paths, a share is looked
// at, and the next time another ("power of d choices", Mitzenmacher 2001).
// Once its oldest unanswered packet is older than an answer takes, the excess
// is added: a path that falls silent looks worse at once, before any timeout.
// Recent losses and marks stretch the estimate further and fade with good
// feedback and with time. A path without a sample is tried early but not
// preferred: it is judged by the mean of the others. Equal estimates take
// turns, and one pick in many is blind, so that no opinion lasts for ever.
#pragma once

#include <cstdint>
#include <vector>

#include "transport/base/random.h"
#include "transport/spray/path_scheduler.h"

namespace hawser {

class Adaptive final : public PathScheduler {
 public:
  Adaptive(uint16_t paths, uint64_t seed);
  PathId Pick(const PathView& view, Time now) override;
  void OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                  Duration rtt) override;

 private:
  void Fade(Time now);

  Random random_;
  uint32_t turn_ = 0;  // Whose turn it is among equals, and to be looked at.
  Time fade_at_;       // When all penalties next halve.
  // Of the paths with a sample, at the latest pick. Never 0, or load would not
  // count where no path has one.
  Duration mean_ = Duration::Nanos(1);
  std::vector<double> penalties_;  // Per path, >= 0; 1.0 doubles the estimate.
};

}  // namespace hawser
