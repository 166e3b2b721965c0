// The comms of one rank, each with its eight slots of registered memory, and
// with the input and the output registered if they may be used in place.
// Knows: peers, comms, slots, requests.  Never: what the bytes in a slot mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "bench/bootstrap.h"
#include "bench/collectives.h"
#include "bench/net_library.h"

namespace hawser::bench {

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

// Registered memory, and the region that it lies in.
struct Place {
  std::byte* bytes = nullptr;
  void* region = nullptr;
};

struct Comm {
  int peer = 0;
  int channel = 0;
  int tag = 0;  // The sender's rank, at both ends, as in NCCL.
  void* plugin_comm = nullptr;
  void* region = nullptr;        // Of the slots.
  void* input_region = nullptr;  // nullptr: not registered.
  void* output_region = nullptr;
  size_t slot_bytes = 0;
  Bytes slots;
  std::array<void*, kSlots> requests{};
  std::array<size_t, kSlots> sizes{};

  std::byte* guard() const { return slots.get() + kSlots * slot_bytes; }
  std::byte* slot(uint64_t index) const {
    return slots.get() + index % kSlots * slot_bytes;
  }
  Place slot_place(uint64_t index) const { return {slot(index), region}; }
};

// Slots are filled by the reduction, posted with isend, and free when done.
struct SendComm : Comm {
  uint64_t filled = 0, posted = 0, done = 0;
  std::array<Place, kSlots> sources{};  // What takes the slot's turn.

  bool full() const { return filled == done + kSlots; }
};

// Slots are posted with irecv, arrive, and are free when consumed.
struct RecvComm : Comm {
  uint64_t posted = 0, arrived = 0, consumed = 0;
};

// One rank's comms: for each hop and channel one that sends and one that
// receives.
class Comms {
 public:
  struct Shape {
    int rank = 0;
    int device = 0;
    std::vector<Hop> hops;
    int timeout_s = 0;
  };

  // Opens all of them at once, as NCCL does: listen, exchange handles, then
  // connect and accept in turns until each has answered.
  Comms(const Shape& shape, NetLibrary* net, Bootstrap* bootstrap);
  // For use in place, by all comms, until Close.
  void Register(std::byte* input, size_t input_bytes, std::byte* output,
                size_t output_bytes);
  // Closes all. Returns how many guard bytes were damaged.
  uint64_t Close();

  size_t count() const { return sends_.size() + recvs_.size(); }
  SendComm* send(size_t hop, int channel) {
    return &sends_[first_[hop] + static_cast<size_t>(channel)];
  }
  RecvComm* recv(size_t hop, int channel) {
    return &recvs_[first_[hop] + static_cast<size_t>(channel)];
  }

 private:
  void Open(Bootstrap* bootstrap);
  void Greet(Bootstrap* bootstrap);
  // Visits each pair, sends_[i] and recvs_[i], again and again, until all have
  // come: a visit returns how many of the two did in it. `what` they do is said
  // where some take too long.
  void GoAround(const char* what, Bootstrap* bootstrap,
                const std::function<size_t(size_t)>& visit);
  void RegisterSlots(Comm* comm);
  void RegisterBuffer(Comm* comm, std::byte* bytes, size_t size, void** region);
  uint64_t Release(Comm* comm);

  Shape shape_;
  NetLibrary* net_;
  std::vector<size_t> first_;  // By hop: the index of its channel 0.
  std::vector<SendComm> sends_;
  std::vector<RecvComm> recvs_;
};

}  // namespace hawser::bench
