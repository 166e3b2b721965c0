#include "transport/spray/reps.h"

#include <algorithm>

namespace hawser {

PathId Reps::Pick(const PathView& view, Time now) {
  now_ = now;
  // The oldest slot that is valid, or when frozen any, in the order in which
  // they would be overwritten.
  for (uint32_t i = 0; i < kSlots; ++i) {
    const uint32_t slot = (head_ + i) % kSlots;
    if ((valid_ >> slot & 1) == 0) continue;
    valid_ &= ~(1u << slot);
    if (view.CanSend(ring_[slot])) return {ring_[slot]};
  }
  if (frozen(now) && stored_ > 0) {
    for (uint32_t i = 0; i < stored_; ++i) {
      head_ = (head_ + 1) % stored_;
      if (view.CanSend(ring_[head_])) return {ring_[head_]};
    }
  }
  return Explore(view);
}

void Reps::OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                      Duration) {
  switch (feedback) {
    case PathFeedback::kGood:
      for (uint32_t i = 0; i < std::min(packets, kSlots); ++i) {
        ring_[head_] = path.value;
        valid_ |= 1u << head_;
        head_ = (head_ + 1) % kSlots;
        stored_ = std::min(stored_ + 1, kSlots);
      }
      return;
    case PathFeedback::kMarked:
    case PathFeedback::kLost:
      return;  // It is not kept, and so not used again.
    case PathFeedback::kSilent:
      if (!frozen(now_)) frozen_until_ = now_ + kFreeze;
      return;
  }
}

PathId Reps::Explore(const PathView& view) {
  const uint32_t paths = view.count();
  for (int tries = 0; tries < 16; ++tries) {
    const auto path = static_cast<uint16_t>(random_.Below(paths));
    if (view.CanSend(path)) return {path};
  }
  return view.First();
}

}  // namespace hawser
