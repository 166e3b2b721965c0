// Why: the simplest spray there is. It is the baseline that a cleverer one must
// beat, and the right choice where all paths are alike.
#include "transport/spray/round_robin.h"

#include <bit>

namespace hawser {

PathId RoundRobin::Pick(const PathView& view, Time) {
  const auto words = static_cast<uint32_t>(view.sendable.size());
  if (words == 0) return kNoPath;
  const uint32_t first = next_ / 64 % words;
  // One turn more than there are words: the first is looked at twice, above
  // the one whose turn it is and then below.
  for (uint32_t i = 0; i <= words; ++i) {
    const uint32_t w = (first + i) % words;
    uint64_t bits = view.sendable[w];
    if (i == 0) bits &= ~uint64_t{0} << (next_ % 64);
    if (bits == 0) continue;
    const uint32_t p = w * 64 + static_cast<uint32_t>(std::countr_zero(bits));
    next_ = p + 1;
    return {static_cast<uint16_t>(p)};
  }
  return kNoPath;
}

}  // namespace hawser
