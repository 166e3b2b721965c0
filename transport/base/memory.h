// MemorySlice, RemoteSlice, MemoryKind: where bytes are, here and there.
// Knows: addresses, lengths, keys.  Never: who owns the bytes. A slice is
// always a view.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hawser {

enum class MemoryKind : uint8_t { kHost, kCuda };

struct MemorySlice {  // Bytes here. Never owns, never frees.
  std::byte* data = nullptr;
  uint32_t length = 0;
  uint32_t key = 0;  // The number of its registration; 0: it has none.
};

struct RemoteSlice {  // Bytes there. key == 0: the far NIC may not place them.
  uint64_t address = 0;
  uint32_t key = 0;
};

}  // namespace hawser
