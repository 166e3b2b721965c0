// Why the shortest expected wait: a message is whole when its slowest packet
// is, so each packet takes the path on which it should arrive first. Joining
// the shortest queue is optimal for alike servers (Winston 1977); to look at
// up to kLook paths instead of two costs a few nanoseconds each and needs no
// luck. Of more paths, those are looked at whose turn is next: nearly as good
// (Mitzenmacher 2001), and a pick then costs the same whatever the number.
//
// The danger of such a rule is the opinion that nobody puts to the test: a path
// that looks bad gets no packets, and so never a chance to look better.
// Therefore penalties fade with time, and one pick in many is made blindly.
#include "transport/spray/adaptive.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "transport/base/check.h"

namespace hawser {
namespace {

// How much a lost or marked packet stretches a path's estimate, and the most
// that all of them may. A loss costs its packet a round trip or more; a mark
// costs nothing yet.
constexpr double kLostPenalty = 0.5;
constexpr double kMarkedPenalty = 0.05;
constexpr double kMaxPenalty = 4;

// A good packet takes a sixteenth off. With one loss in a hundred packets the
// mean penalty so is 0.08, with one in ten 0.8.
constexpr double kGoodFactor = 15.0 / 16;
constexpr double kNoPenalty = 1e-3;  // Less than this is none.

// Penalties also halve in this time, feedback or not.
constexpr Duration kHalfLife = Duration::Millis(10);

// One pick in so many takes any path. Rare enough that messages of 64 KiB
// seldom meet it; with 32 paths and 100,000 packets a second, every path is
// still tried about 12 times a second.
constexpr uint64_t kBlindPicks = 256;

// A pick looks at so many paths, at most.
constexpr uint64_t kLook = 16;

PathId Nth(std::span<const uint64_t> sendable, uint64_t n) {
  for (size_t w = 0; w < sendable.size(); ++w) {
    uint64_t bits = sendable[w];
    const auto count = static_cast<uint64_t>(std::popcount(bits));
    if (n >= count) {
      n -= count;
      continue;
    }
    while (n-- > 0) bits &= bits - 1;
    return {static_cast<uint16_t>(w * 64 +
                                  static_cast<size_t>(std::countr_zero(bits)))};
  }
  return kNoPath;
}

// The network round trip to expect on a path that has answered before. Silence
// counts from where an answer is overdue: an answer takes response_rtt, in
// which both hosts' waits are.
Duration Expected(const Path& path, Duration silence) {
  const Duration overdue = silence - path.response_rtt().smoothed();
  return path.network_rtt().smoothed() + std::max(overdue, Duration());
}

// What is in flight already, and what went wrong of late, make it longer.
double Stretch(const Path& path, double penalty) {
  if (path.in_flight_bytes() == 0 && penalty == 0) return 1;
  return (1 + static_cast<double>(path.in_flight_bytes()) /
                  std::max(path.window_bytes(), 1u)) *
         (1 + penalty);
}

// The first that can send from `p` on, and round again; there is one.
uint32_t NextOf(std::span<const uint64_t> sendable, uint32_t p) {
  size_t w = p / 64;
  uint64_t bits = sendable[w] & ~uint64_t{0} << p % 64;
  while (bits == 0) {
    w = w + 1 < sendable.size() ? w + 1 : 0;
    bits = sendable[w];
  }
  return static_cast<uint32_t>(w * 64 +
                               static_cast<size_t>(std::countr_zero(bits)));
}

}  // namespace

Adaptive::Adaptive(uint16_t paths, uint64_t seed)
    : random_(seed), penalties_(paths) {}

PathId Adaptive::Pick(const PathView& view, Time now) {
  uint64_t candidates = 0;
  for (const uint64_t word : view.sendable) {
    candidates += static_cast<uint64_t>(std::popcount(word));
  }
  if (candidates == 0) return kNoPath;
  Fade(now);
  const auto paths = static_cast<uint32_t>(view.paths.size());
  HAWSER_CHECK(paths == penalties_.size());
  if (random_.Below(kBlindPicks) == 0) {
    return Nth(view.sendable, random_.Below(candidates));
  }

  // Of equals, the one whose turn comes first is met first.
  double least = std::numeric_limits<double>::infinity();
  uint32_t best = turn_;
  Duration sum;
  int64_t samples = 0;
  uint32_t p = turn_;
  for (uint64_t left = std::min(candidates, kLook); left > 0; --left) {
    p = NextOf(view.sendable, p);
    const Path& path = view.paths[p];
    const Duration silence = path.silence(now);
    Duration expected = std::max(mean_, silence);
    if (path.network_rtt().has_sample()) {
      expected = Expected(path, silence);
      sum += expected;
      ++samples;
    }
    const double offer =
        static_cast<double>(expected.nanos()) * Stretch(path, penalties_[p]);
    if (offer < least) {
      least = offer;
      best = p;
    }
    p = p + 1 < paths ? p + 1 : 0;
  }
  if (samples > 0) mean_ = sum / samples;
  turn_ = best + 1 < paths ? best + 1 : 0;
  return {static_cast<uint16_t>(best)};
}

void Adaptive::OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                          Duration) {
  HAWSER_CHECK(path.value < penalties_.size());
  double& penalty = penalties_[path.value];
  switch (feedback) {
    case PathFeedback::kGood:
      if (penalty == 0) return;
      penalty *= std::pow(kGoodFactor, packets);
      if (penalty < kNoPenalty) penalty = 0;
      return;
    case PathFeedback::kMarked:
      penalty = std::min(penalty + kMarkedPenalty * packets, kMaxPenalty);
      return;
    case PathFeedback::kLost:
    case PathFeedback::kSilent:
      penalty = std::min(penalty + kLostPenalty * packets, kMaxPenalty);
      return;
  }
}

void Adaptive::Fade(Time now) {
  if (now < fade_at_) return;
  fade_at_ = now + kHalfLife;
  for (double& penalty : penalties_) {
    penalty = penalty < kNoPenalty ? 0 : penalty / 2;
  }
}

}  // namespace hawser
