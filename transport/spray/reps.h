// Reps: recycles the paths that came back clean, explores with the rest.
// Knows: the latest clean paths.  Never: times beyond its freeze, bytes.
//
// Source: Bonato et al., "REPS: Recycled Entropy Packet Spraying for Adaptive
// Load Balancing and Failure Mitigation" (EuroSys'26, arXiv 2407.21625),
// algorithms 1 and 2: a ring of the 8 entropies last acked without a mark, each
// used once; a random entropy where none is left. A failure freezes it: for a
// while only what the ring holds is used, over and over.
#pragma once

#include <array>
#include <cstdint>

#include "transport/base/random.h"
#include "transport/spray/path_scheduler.h"

namespace hawser {

class Reps final : public PathScheduler {
 public:
  static constexpr uint32_t kSlots = 8;
  // How long a failure keeps it from exploring (their figure 6).
  static constexpr Duration kFreeze = Duration::Micros(100);
  explicit Reps(uint64_t seed) : random_(seed) {}
  PathId Pick(const PathView& view, Time now) override;
  void OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                  Duration rtt) override;
  bool frozen(Time now) const { return now < frozen_until_; }

 private:
  PathId Explore(const PathView& view);

  Random random_;
  std::array<uint16_t, kSlots> ring_ = {};
  uint32_t valid_ = 0;   // Bit s: slot s was not used since it came back.
  uint32_t head_ = 0;    // The next slot to be written.
  uint32_t stored_ = 0;  // Slots that were ever written, up to all.
  Time now_;             // Of the latest pick.
  Time frozen_until_;
};

}  // namespace hawser
