#include "transport/spray/weave.h"

#include <algorithm>

#include "transport/spray/mixed.h"

namespace hawser {
namespace {

// More are not in flight to one peer but over very long links, and those that
// were clean so long ago say nothing any more.
constexpr size_t kMaxClean = 1024;
constexpr int64_t kMeanShare = 16;  // What one sample adds to the mean.

}  // namespace

PathId Weave::Pick(const PathView& view, Time) {
  if (known_.size() < view.count()) known_.resize(view.count());
  const PathId clean = TakeClean(view);
  return clean != kNoPath ? clean : Explore(view);
}

PathId Weave::Likely() const {
  return clean_.empty() ? kNoPath : PathId{clean_[FastestClean()].path};
}

uint64_t Weave::FastestClean() const {
  uint64_t fastest = 0;
  for (uint64_t i = 1; i < std::min<uint64_t>(clean_.size(), kLook); ++i) {
    if (clean_[i].rtt < clean_[fastest].rtt) fastest = i;
  }
  return fastest;
}

PathId Weave::TakeClean(const PathView& view) {
  while (!clean_.empty()) {
    const uint16_t path = clean_.Take(FastestClean()).path;
    if (view.CanSend(path)) return {path};
  }
  return kNoPath;
}

PathId Weave::Explore(const PathView& view) {
  const uint32_t paths = view.count();
  PathId first = kNoPath;
  // As many rounds as it takes to work off the largest penalty.
  for (uint32_t tries = 0; tries < (Mixed::kMaxPenalty + 1u) * 2 * paths;
       ++tries) {
    const uint32_t path = rounds_.Next(paths);
    if (!view.CanSend(path)) continue;
    if (known_[path].penalty > 0) {
      --known_[path].penalty;
      continue;
    }
    const PathId second{static_cast<uint16_t>(path)};
    if (first == kNoPath) {
      first = second;
      continue;
    }
    return Expected(second.value) < Expected(first.value) ? second : first;
  }
  return first != kNoPath ? first : view.First();
}

Duration Weave::Expected(uint32_t path) const {
  return known_[path].rtt > Duration() ? known_[path].rtt : mean_rtt_;
}

void Weave::OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                       Duration rtt) {
  if (known_.size() <= path.value) known_.resize(path.value + 1u);
  Known& known = known_[path.value];
  const auto add = [&](uint32_t penalty) {
    known.penalty = static_cast<uint8_t>(
        std::min<uint32_t>(known.penalty + penalty, Mixed::kMaxPenalty));
  };
  const bool came_back =
      feedback == PathFeedback::kGood || feedback == PathFeedback::kMarked;
  if (came_back && rtt > Duration()) {
    known.rtt = rtt;
    mean_rtt_ = mean_rtt_ > Duration()
                    ? mean_rtt_ + (rtt - mean_rtt_) / kMeanShare
                    : rtt;
  }
  switch (feedback) {
    case PathFeedback::kGood:
      for (uint32_t i = 0; i < packets && clean_.size() < kMaxClean; ++i) {
        clean_.Push({path.value, rtt});
      }
      return;
    case PathFeedback::kMarked:
      return add(packets * Mixed::kMarkedPenalty);
    case PathFeedback::kLost:
      Forget(path.value);
      return add(packets * Mixed::kLostPenalty);
    case PathFeedback::kSilent:
      Forget(path.value);
      return add(Mixed::kSilentPenalty);
  }
}

// A path that swallows cargo may still bring back the probes that ask for it.
void Weave::Forget(uint16_t path) {
  for (uint64_t left = clean_.size(); left > 0; --left) {
    const Clean clean = clean_.Pop();
    if (clean.path != path) clean_.Push(clean);
  }
}

}  // namespace hawser
