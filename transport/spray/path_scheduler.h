// Which way next? Sees every path of one peer, moves none.
// Knows: the paths, read-only.  Never: cargo, flows.
#pragma once

#include <cstdint>
#include <span>

#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/path/path.h"

namespace hawser {

enum class PathFeedback : uint8_t { kGood, kMarked, kLost };

// The paths of one peer with a bitmap of those that can send, so that a pick
// costs a few instructions per candidate. Bit p of word p / 64: paths[p] can
// take a full packet now.
struct PathView {
  std::span<const Path> paths;
  std::span<const uint64_t> sendable;
};

// Keeps its own opinion of each path, from feedback alone. One thread.
class PathScheduler {
 public:
  virtual ~PathScheduler() = default;
  // One of the sendable paths, or kNoPath if there is none.
  virtual PathId Pick(const PathView& view, Time now) = 0;
  // `packets` of them on `path` met this fate.
  virtual void OnFeedback(PathId path, PathFeedback feedback,
                          uint32_t packets) = 0;
};

}  // namespace hawser
