// Four sums side by side, each of 32-bit words in a 64-bit lane: no carry can
// be lost in a packet, and the compiler makes vectors of them.
#include "transport/net/checksum.h"

namespace hawser {
namespace {

uint64_t Word32(const std::byte* at) {
  uint32_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// The loader takes the widest that this processor has.
#define HAWSER_WIDEST \
  __attribute__((target_clones("avx2", "default"), optimize("O3")))
#else
#define HAWSER_WIDEST
#endif

}  // namespace

HAWSER_WIDEST uint64_t checksum::SumOfBlocks(const std::byte* at,
                                             size_t blocks) {
  constexpr size_t kLanes = 16;
  uint64_t lanes[kLanes] = {};
  for (; blocks > 0; --blocks, at += 4 * kLanes) {
    for (size_t i = 0; i < kLanes; ++i) lanes[i] += Word32(at + 4 * i);
  }
  uint64_t sum = 0;
  for (const uint64_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace hawser
