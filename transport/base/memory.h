// Memory, MemorySlice, RemoteSlice: where bytes are, here and there.
// Knows: addresses, lengths, keys.  Never: who owns the bytes. A slice is
// always a view.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hawser {

enum class MemoryKind : uint8_t {
  kHost,
  kGpu,  // NICs can reach it; for this host's processors it is not there.
};

struct Memory {  // What is to be registered.
  std::byte* data = nullptr;
  size_t length = 0;
  MemoryKind kind = MemoryKind::kHost;
  // 0 or more: a descriptor of a dma-buf, which from this offset on is it.
  int dmabuf = -1;
  uint64_t dmabuf_offset = 0;
};

struct GpuReach {  // In which ways NICs reach the memory of GPUs.
  bool by_address = false;
  bool by_dmabuf = false;
  bool any() const { return by_address || by_dmabuf; }
};

// A registration's number says of which kind its memory is.
inline constexpr uint32_t kGpuKey = uint32_t{1} << 31;
constexpr bool IsGpu(uint32_t key) { return (key & kGpuKey) != 0; }

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
