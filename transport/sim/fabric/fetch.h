// Fetch: asks for memory that will be needed soon.
// Knows: addresses.  Never: what lies there.
#pragma once

#include <cstddef>

namespace hawser::sim {

// All lines of `count` of them, to be written. Costs next to nothing if they
// are in the cache, and does nothing where there is no such memory.
template <class T>
void Fetch(const T* first, size_t count = 1) {
  const char* at = reinterpret_cast<const char*>(first);
  for (size_t byte = 0; byte < count * sizeof(T); byte += 64) {
    __builtin_prefetch(at + byte, 1);
  }
}

}  // namespace hawser::sim
