// CopyLines: a copy whose bytes become visible in ascending order.
// Knows: cache lines of 128 bytes, and the order of stores.  Never: messages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hawser {

// The unit in which a message may be cut. NCCL's LL128 protocol has the
// receiving GPU poll a buffer while it is being filled: 120 bytes of data and
// 8 bytes of flag in each 128-byte line, and the flag must be the last of its
// line to appear. (NCCL, src/device/primitives; its IB transport aligns every
// share of a message to 128 bytes.)
inline constexpr uint32_t kLineBytes = 128;

// Copies `length` bytes; the ranges must not overlap. Whoever reads `to`
// concurrently never sees byte n + 8 of a line without byte n: stores are 8
// bytes or more, made in ascending order, and the last 8 bytes of each line
// are released after all that is before them. Plain memcpy gives no such
// promise: glibc stores the tail of a small copy first.
void CopyLines(std::byte* to, const std::byte* from, size_t length);

}  // namespace hawser
