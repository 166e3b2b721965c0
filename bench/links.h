// The comms of one rank, each with its eight slots of registered memory.
// Knows: peers, comms, slots, requests.  Never: what the bytes in a slot mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "bench/bootstrap.h"
#include "bench/net_library.h"

namespace hawser::bench {

inline constexpr size_t kSlots = 8;  // NCCL_STEPS.

struct FreeBytes {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};
using Bytes = std::unique_ptr<std::byte, FreeBytes>;

// Page-aligned, every page touched, with room for guard bytes behind `size`.
// Ends the process when there is no memory.
Bytes Allocate(size_t size);
// Guard bytes: what nobody may write, directly behind what somebody does.
void SetGuard(std::byte* guard);
uint64_t CountDamaged(const std::byte* guard);

struct Link {
  int peer = 0;
  int channel = 0;
  int tag = 0;  // The sender's rank, at both ends, as in NCCL.
  void* comm = nullptr;
  void* region = nullptr;
  size_t slice_bytes = 0;
  Bytes slots;
  std::array<void*, kSlots> requests{};
  std::array<size_t, kSlots> sizes{};

  std::byte* guard() const { return slots.get() + kSlots * slice_bytes; }
  std::byte* slot(uint64_t index) const {
    return slots.get() + index % kSlots * slice_bytes;
  }
};

// Slots are filled by the reduction, posted with isend, and free when done.
struct SendLink : Link {
  uint64_t filled = 0, posted = 0, done = 0;
};

// Slots are posted with irecv, arrive, and are free when consumed.
struct RecvLink : Link {
  uint64_t posted = 0, arrived = 0, consumed = 0;
};

// One rank's links. Of each distance d there is one link per channel, sending
// to rank + d and receiving from rank - d.
class Links {
 public:
  struct Shape {
    int rank = 0;
    int ranks = 0;
    int device = 0;
    int channels = 0;
    std::vector<int> distances;
    size_t slice_bytes = 0;
    int timeout_s = 0;
  };

  // Opens all of them at once, as NCCL does: listen, exchange handles, then
  // connect and accept in turns until each has answered.
  Links(const Shape& shape, NetLibrary* net, Bootstrap* bootstrap);
  // Closes all. Returns how many guard bytes were damaged.
  uint64_t Close();

  SendLink* send(size_t distance_index, int channel) {
    return &sends_[Index(distance_index, channel)];
  }
  RecvLink* recv(size_t distance_index, int channel) {
    return &recvs_[Index(distance_index, channel)];
  }
  std::vector<SendLink>& sends() { return sends_; }
  std::vector<RecvLink>& recvs() { return recvs_; }

 private:
  size_t Index(size_t distance_index, int channel) const {
    return distance_index * static_cast<size_t>(shape_.channels) +
           static_cast<size_t>(channel);
  }
  void Open(Bootstrap* bootstrap);
  void RegisterSlots(Link* link);
  uint64_t Release(Link* link);

  Shape shape_;
  NetLibrary* net_;
  std::vector<SendLink> sends_;
  std::vector<RecvLink> recvs_;
};

}  // namespace hawser::bench
