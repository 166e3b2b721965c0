// CopyLines: a copy whose bytes become visible in ascending order.
// Knows: cache lines of 128 bytes, and the order of stores.  Never: messages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hawser {

// What must appear in order. NCCL's LL128 protocol has the receiving GPU poll a
// buffer while it is being filled: 120 bytes of data and 8 bytes of flag in
// each 128-byte line, and the flag must be the last of its line to appear.
// (NCCL, src/device/primitives; its IB transport aligns every share of a
// message to 128 bytes.)
inline constexpr uint32_t kLineBytes = 128;

// Copies `length` bytes; the ranges must not overlap. `to` is aligned to 16
// bytes, as buffers of GPUs are, and a cut of a message is: then whoever reads
// it concurrently never sees byte n + 8 of a line without byte n. Stores are
// made in ascending order, each of 8 bytes or more but for those of the last 1
// to 7 bytes, and the last 8 bytes of each line are released after all that is
// before them. With another `to` the bytes are as good, and their order is not
// promised. Plain memcpy promises nothing: glibc stores the tail of a small
// copy first.
void CopyLines(std::byte* to, const std::byte* from, size_t length);

}  // namespace hawser
