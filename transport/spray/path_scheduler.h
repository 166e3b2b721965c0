// Which way next? Sees every path of one peer, moves none.
// Knows: the paths, read-only.  Never: cargo, flows.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/path/path.h"

namespace hawser {

// kLost: a gap, or whoever dropped it, told of it. kSilent: nothing is heard of
// the path any more.
enum class PathFeedback : uint8_t { kGood, kMarked, kLost, kSilent };

// The paths of one peer with a bitmap of those that can send, so that a pick
// costs a few instructions per candidate. Bit p of word p / 64: paths[p] can
// take a full packet now.
struct PathView {
  std::span<const Path> paths;
  std::span<const uint64_t> sendable;
  // How many paths there are, where `paths` is empty because all are alike to
  // who asks: it counts and numbers packets otherwise.
  uint32_t path_count = 0;

  uint32_t count() const {
    return paths.empty() ? path_count : static_cast<uint32_t>(paths.size());
  }
  bool CanSend(uint32_t path) const {
    return path / 64 < sendable.size() &&
           (sendable[path / 64] >> (path % 64) & 1) != 0;
  }
  // The first that can send, or kNoPath.
  PathId First() const {
    for (size_t w = 0; w < sendable.size(); ++w) {
      if (sendable[w] == 0) continue;
      return {static_cast<uint16_t>(
          w * 64 + static_cast<size_t>(std::countr_zero(sendable[w])))};
    }
    return kNoPath;
  }
};

// Keeps its own opinion of each path, from feedback alone. One thread.
class PathScheduler {
 public:
  virtual ~PathScheduler() = default;
  // One of the sendable paths, or kNoPath if there is none.
  virtual PathId Pick(const PathView& view, Time now) = 0;
  // What Pick is likely to say next, for whoever wants that path at hand;
  // kNoPath: anything.
  virtual PathId Likely() const { return kNoPath; }
  // `packets` of them on `path` met this fate. `rtt` is the latest round trip
  // of the path, host waits taken out; 0 where there is none.
  virtual void OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                          Duration rtt) = 0;
};

// Tells a scheduler what `path` has just learned of its packets.
void Tell(PathScheduler& scheduler, const Path& path,
          const AckSummary& summary);

}  // namespace hawser
