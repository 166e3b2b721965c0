// Time in the fabric.
// Knows: the time of the rest.  Never: what takes place in it.
#pragma once

#include <cstdint>
#include <limits>

#include "transport/base/time.h"

namespace hawser::sim {

// Picoseconds of virtual time: at 800 Gb/s a byte takes 10.
using Picos = int64_t;
inline constexpr Picos kNeverPicos = std::numeric_limits<Picos>::max();
constexpr Picos PicosOf(Duration duration) { return duration.nanos() * 1000; }

}  // namespace hawser::sim
