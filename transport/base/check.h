// HAWSER_CHECK: our own bugs stop the process, in every build.
// Knows: an expression and where it stands.  Never: input from outside, which
// is answered with an error and never with a check.
#pragma once

#include <cstdio>
#include <cstdlib>

#define HAWSER_CHECK(condition)                                             \
  do {                                                                      \
    if (__builtin_expect(!(condition), 0)) {                                \
      std::fprintf(stderr, "hawser: %s:%d: broken promise: %s\n", __FILE__, \
                   __LINE__, #condition);                                   \
      std::abort();                                                         \
    }                                                                       \
  } while (false)
