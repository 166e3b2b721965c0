// Weave: keeps to the paths that came back clean, and leaves the slower ones.
// Knows: what came back, how late it was, each path's penalty.
// Never: bytes, cargo.
//
// For fabrics with many alike routes and a packet or so in flight on each path.
// Where every packet that was acked without a mark lets the next one take the
// same path (recycling: Bonato et al., "REPS", EuroSys'26), senders settle on
// paths that do not meet. Ours is what to do with the choice that is left:
//
//   of the oldest few clean paths, the one that was fastest goes first;
//   where none is clean, two paths are looked at that bear no penalty, and the
//   one that was faster last time is taken (the power of two choices,
//   Mitzenmacher 2001; a path never seen counts as the mean);
//   a path that loses something is clean no more.
//
// Penalties are those of the Ultra Ethernet reference model (mixed.h). Delay
// never takes a path out: a sender that leaves what is merely slower than its
// mean keeps everybody on the move, and measured far worse (docs/results).
#pragma once

#include <cstdint>
#include <vector>

#include "transport/base/fifo.h"
#include "transport/spray/oblivious.h"
#include "transport/spray/path_scheduler.h"

namespace hawser {

class Weave final : public PathScheduler {
 public:
  // Of so many clean paths, the oldest, the fastest is taken.
  static constexpr size_t kLook = 4;
  explicit Weave(uint64_t seed) : rounds_(seed) {}
  PathId Pick(const PathView& view, Time now) override;
  PathId Likely() const override;
  void OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                  Duration rtt) override;

 private:
  struct Clean {
    uint16_t path;
    Duration rtt;
  };
  struct Known {
    Duration rtt;  // The latest; 0: never seen.
    uint8_t penalty = 0;
  };
  uint64_t FastestClean() const;  // Its place; there are some.
  PathId TakeClean(const PathView& view);
  PathId Explore(const PathView& view);
  Duration Expected(uint32_t path) const;
  void Forget(uint16_t path);

  RandomRounds rounds_;
  Fifo<Clean> clean_;  // Oldest first.
  std::vector<Known> known_;
  Duration mean_rtt_;
};

}  // namespace hawser
