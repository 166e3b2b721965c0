// The only door to the clock.
// Knows: the monotonic clock.  Never: what the time is for.
#pragma once

#include "transport/base/time.h"

namespace hawser {

// The time of this host since some fixed moment; never goes back.
Time MonotonicNow();

}  // namespace hawser
