// Looking at memory that others write, as a GPU looks at a receive buffer:
// without a word to them. Tests do it on purpose, so the thread sanitizer is
// not asked what it thinks of it.
// Knows: one load.  Never: what it means.
#pragma once

#include <cstdint>

#include "tests/sanitizers.h"

namespace hawser {

// Nothing that the program reads afterwards is read before this.
template <class T>
__attribute__((noinline, no_sanitize("thread"))) T Peek(const T* address) {
#if HAWSER_TSAN  // It would see an atomic load all the same.
  const T value = *static_cast<const volatile T*>(address);
  asm volatile("" ::: "memory");
  return value;
#else
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
#endif
}

}  // namespace hawser
