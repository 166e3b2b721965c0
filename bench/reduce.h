// Adds one run of elements to another, as wide as the processor can.
// Knows: element types.  Never: where elements come from or go.
#pragma once

#include <cstddef>

#include "bench/options.h"

namespace hawser::bench {

// out[i] = a[i] + b[i]. `bytes` is a multiple of the element's size. The three
// may not overlap, but `b` may be `out` itself. Integers wrap.
using AddFunction = void (*)(void* out, const void* a, const void* b,
                             size_t bytes);

// The fastest for this processor.
AddFunction AddFor(DataType type);

}  // namespace hawser::bench
