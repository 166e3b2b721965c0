// Why not memcpy: its order of stores is its own affair, and at 128 bytes
// glibc writes both ends before the middle. On x86-64 ordinary stores become
// visible in program order (Intel SDM vol. 3A, 8.2.2), so 16-byte stores in
// ascending order are enough, kept in order by compiler barriers; non-temporal
// and string stores are not ordered and not used. An aligned store of 16 bytes
// appears at once on every processor that has AVX (8.1.1, "Guaranteed Atomic
// Operations"); one that is not aligned may appear in parts, in any order.
// Elsewhere the last word of a line is stored with release order.
#include "transport/base/copy_lines.h"

#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace hawser {
namespace {

void CopyTail(std::byte* to, const std::byte* from, size_t length) {
  while (length >= 8) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
#if !defined(__SSE2__)
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
    std::memcpy(to, &word, 8);
    to += 8, from += 8, length -= 8;
  }
  if (length > 0) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    std::memcpy(to, from, length);
  }
}

}  // namespace

void CopyLines(std::byte* to, const std::byte* from, size_t length) {
#if defined(__SSE2__)
  // One line a turn: eight stores, and nothing may be moved across its end.
  while (length >= kLineBytes) {
    auto* out = reinterpret_cast<__m128i*>(to);
    const auto* in = reinterpret_cast<const __m128i*>(from);
    const __m128i a = _mm_loadu_si128(in + 0), b = _mm_loadu_si128(in + 1);
    const __m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
    const __m128i e = _mm_loadu_si128(in + 4), f = _mm_loadu_si128(in + 5);
    const __m128i g = _mm_loadu_si128(in + 6), h = _mm_loadu_si128(in + 7);
    _mm_storeu_si128(out + 0, a);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    _mm_storeu_si128(out + 1, b);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    _mm_storeu_si128(out + 2, c);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    _mm_storeu_si128(out + 3, d);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    _mm_storeu_si128(out + 4, e);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    _mm_storeu_si128(out + 5, f);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    _mm_storeu_si128(out + 6, g);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    _mm_storeu_si128(out + 7, h);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    to += kLineBytes, from += kLineBytes, length -= kLineBytes;
  }
#endif
  CopyTail(to, from, length);
}

}  // namespace hawser
