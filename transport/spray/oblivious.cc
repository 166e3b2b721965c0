// Why rounds and not a draw for each packet: each path then gets the same
// number of packets, give or take one, and no two senders step alike.
#include "transport/spray/oblivious.h"

#include <bit>

namespace hawser {

uint32_t RandomRounds::Next(uint32_t paths) {
  for (;;) {
    if (at_ == 0 || span_ < paths) {
      span_ = std::bit_ceil(paths);
      mask_ = static_cast<uint32_t>(random_.Below(span_));
      at_ = at_ % span_;
    }
    const uint32_t path = at_ ^ mask_;
    at_ = (at_ + 1) % span_;
    if (path < paths) return path;  // More than every second is.
  }
}

PathId Oblivious::Pick(const PathView& view, Time) {
  const uint32_t paths = view.count();
  for (uint32_t tries = 0; tries < 2 * paths; ++tries) {
    const uint32_t path = rounds_.Next(paths);
    if (view.CanSend(path)) return {static_cast<uint16_t>(path)};
  }
  return view.First();
}

}  // namespace hawser
