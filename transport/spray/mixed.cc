#include "transport/spray/mixed.h"

#include <algorithm>

namespace hawser {

PathId Mixed::Pick(const PathView& view, Time) {
  const uint32_t paths = view.count();
  if (penalties_.size() < paths) penalties_.resize(paths, 0);
  while (!clean_.empty()) {
    const uint16_t path = clean_.Pop();
    if (view.CanSend(path)) return {path};
  }
  // As many rounds as it takes to work off the largest penalty.
  for (uint32_t tries = 0; tries < (kMaxPenalty + 1u) * 2 * paths; ++tries) {
    const uint32_t path = rounds_.Next(paths);
    if (!view.CanSend(path)) continue;
    if (penalties_[path] == 0) return {static_cast<uint16_t>(path)};
    --penalties_[path];
  }
  return view.First();
}

void Mixed::OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                       Duration) {
  if (penalties_.size() <= path.value) penalties_.resize(path.value + 1u, 0);
  const auto add = [&](uint32_t penalty) {
    penalties_[path.value] = static_cast<uint8_t>(
        std::min<uint32_t>(penalties_[path.value] + penalty, kMaxPenalty));
  };
  switch (feedback) {
    case PathFeedback::kGood:
      for (uint32_t i = 0; recycles_ && i < packets; ++i) {
        if (clean_.size() < kMaxClean) clean_.Push(path.value);
      }
      return;
    case PathFeedback::kMarked:
      return add(packets * kMarkedPenalty);
    case PathFeedback::kLost:
      return add(packets * kLostPenalty);
    case PathFeedback::kSilent:
      return add(kSilentPenalty);
  }
}

}  // namespace hawser
