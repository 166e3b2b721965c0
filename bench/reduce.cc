// Plain loops, compiled with -O3 once for every processor and once for AVX2;
// the choice is a function pointer. (target_clones would need an ifunc, whose
// resolver runs before the sanitizers are ready.)
#include "bench/reduce.h"

#include <cstdint>

#if defined(__x86_64__)
#define HAWSER_HAS_AVX2_VARIANT 1
#define HAWSER_AVX2 __attribute__((target("avx2")))
#else
#define HAWSER_HAS_AVX2_VARIANT 0
#endif

namespace hawser::bench {
namespace {

// Signed sums are added as unsigned ones, which may wrap.
template <typename T>
inline __attribute__((always_inline)) void AddLoop(T* __restrict out,
                                                   const T* __restrict a,
                                                   const T* __restrict b,
                                                   size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<T>(a[i] + b[i]);
}

template <typename T>
inline __attribute__((always_inline)) void AddOntoLoop(T* __restrict out,
                                                       const T* __restrict a,
                                                       size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<T>(out[i] + a[i]);
}

// `out` and `b` in one place have a loop of their own: the other is told that
// nothing overlaps.
template <typename T>
inline __attribute__((always_inline)) void Add(void* out, const void* a,
                                               const void* b, size_t bytes) {
  auto* to = static_cast<T*>(out);
  const size_t count = bytes / sizeof(T);
  if (out == b) {
    AddOntoLoop(to, static_cast<const T*>(a), count);
  } else {
    AddLoop(to, static_cast<const T*>(a), static_cast<const T*>(b), count);
  }
}

template <typename T>
void AddPlain(void* out, const void* a, const void* b, size_t bytes) {
  Add<T>(out, a, b, bytes);
}

#if HAWSER_HAS_AVX2_VARIANT
template <typename T>
HAWSER_AVX2 void AddAvx2(void* out, const void* a, const void* b,
                         size_t bytes) {
  Add<T>(out, a, b, bytes);
}
#endif

template <typename T>
AddFunction Choose() {
#if HAWSER_HAS_AVX2_VARIANT
  if (__builtin_cpu_supports("avx2")) return &AddAvx2<T>;
#endif
  return &AddPlain<T>;
}

}  // namespace

AddFunction AddFor(DataType type) {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUint8:
      return Choose<uint8_t>();
    case DataType::kInt32:
    case DataType::kUint32:
      return Choose<uint32_t>();
    case DataType::kInt64:
    case DataType::kUint64:
      return Choose<uint64_t>();
    case DataType::kFloat:
      return Choose<float>();
    case DataType::kDouble:
      return Choose<double>();
  }
  return nullptr;
}

}  // namespace hawser::bench
