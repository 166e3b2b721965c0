// Request: one send or receive; its state names the thread that owns it.
// Knows: a buffer and its outcome.  Never: how the bytes travel.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "transport/base/inbox.h"
#include "transport/base/memory.h"
#include "transport/base/spsc_ring.h"

namespace hawser {

// The state names the only thread that may touch the rest; it moves in a
// circle: application, engine, application.
struct Request {
  enum class State : uint8_t { kFree, kSubmitted, kDone };
  enum class Outcome : uint8_t {
    kOk,
    kTruncated,  // The message is larger than the receive buffer.
    kPeerLost,   // Nothing was heard from the peer for too long.
    kClosed,     // The other half of the flow was closed first.
  };
  std::atomic<State> state{State::kFree};
  Outcome outcome = Outcome::kOk;
  uint8_t slot = 0;         // Its own index.
  MemorySlice memory;       // Borrowed from the application until kDone.
  uint32_t tag = 0;
  uint32_t bytes_moved = 0;  // Valid at kDone.

  // The engine's last touch.
  void Finish(Outcome how, uint32_t bytes) {
    outcome = how;
    bytes_moved = bytes;
    state.store(State::kDone, std::memory_order_release);
  }
};

// The requests of one flow and the road on which they travel to the engine.
// One application thread at a time; one engine.
struct RequestQueue {
  // As many as NCCL may have outstanding on a comm (NCCL_NET_MAX_REQUESTS).
  static constexpr uint32_t kSlots = 32;

  InboxEntry rings_at;  // In the engine's inbox while `submitted` may hold some.
  void* owner = nullptr;  // The engine's; which flow this is.
  SpscRing<uint8_t, kSlots> submitted;
  std::array<Request, kSlots> slots;
  uint32_t next_slot = 0;  // The application's; where the search begins.
};

}  // namespace hawser
