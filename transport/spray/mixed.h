// Mixed: paths that came back clean first; else round all, past the penalised.
// Knows: each path's penalty, and which came back.  Never: times, bytes.
//
// Source: the `mixed` strategy of the Ultra Ethernet reference model (uet-htsim
// 40ccb05, uec_mp.cpp): a list of entropies acked without a mark, and while it
// is empty a penalty for each - a mark 1, a loss that was reported 4, silence
// 15, no more than 15 - of which passing over a path takes one off.
#pragma once

#include <cstdint>
#include <vector>

#include "transport/base/fifo.h"
#include "transport/spray/oblivious.h"
#include "transport/spray/path_scheduler.h"

namespace hawser {

class Mixed final : public PathScheduler {
 public:
  static constexpr uint8_t kMarkedPenalty = 1, kLostPenalty = 4;
  static constexpr uint8_t kSilentPenalty = 15, kMaxPenalty = 15;
  // `recycles` false: penalties alone, which is the model's `bitmap`.
  Mixed(uint64_t seed, bool recycles) : rounds_(seed), recycles_(recycles) {}
  PathId Pick(const PathView& view, Time now) override;
  void OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                  Duration rtt) override;

 private:
  // More cannot be in flight on all paths of a peer, by far.
  static constexpr size_t kMaxClean = 1024;
  RandomRounds rounds_;
  bool recycles_;
  Fifo<uint16_t> clean_;  // Oldest first.
  std::vector<uint8_t> penalties_;
};

}  // namespace hawser
