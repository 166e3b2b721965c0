#include "transport/spray/two_choices.h"

namespace hawser {

PathId TwoChoices::Pick(const PathView& view, Time) {
  const PathId a = Draw(view), b = Draw(view);
  if (a == kNoPath || view.paths.empty()) return a;
  // No sample is a smoothed RTT of 0: what was never tried is tried first.
  const Duration rtt_a = view.paths[a.value].network_rtt().smoothed();
  const Duration rtt_b = view.paths[b.value].network_rtt().smoothed();
  return rtt_b < rtt_a ? b : a;
}

PathId TwoChoices::Draw(const PathView& view) {
  const uint32_t paths = view.count();
  for (int tries = 0; tries < 16; ++tries) {
    const auto path = static_cast<uint16_t>(random_.Below(paths));
    if (view.CanSend(path)) return {path};
  }
  return view.First();
}

}  // namespace hawser
