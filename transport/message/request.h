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

// Of a flow, as one of its ends sees it.
enum class Direction : uint8_t { kSend, kReceive };

// The state names the only thread that may touch the rest; it moves in a
// circle: application, engine, application.
struct Request {
  enum class State : uint8_t { kFree, kSubmitted, kDone };
  enum class Outcome : uint8_t {
    kOk,
    kTruncated,  // The message is larger than the receive buffer.
    kPeerLost,   // Nothing was heard from the peer for too long.
    kClosed,     // The other half of the flow was closed first.
    kStuck,      // No NIC here could put the bytes into the buffer.
  };
  std::atomic<State> state{State::kFree};
  Outcome outcome = Outcome::kOk;
  uint8_t slot = 0;  // Its own index.
  // A receive: somebody reads the memory before it is done, and takes the end
  // of a line for a sign that the line is there (base/copy_lines.h).
  bool watched = true;
  MemorySlice memory;        // Borrowed from the application until kDone.
  uint32_t bytes_moved = 0;  // Valid at kDone.

  // The application's first touch. False: it is not free.
  bool Start(uint8_t index, MemorySlice of, bool is_watched) {
    if (state.load(std::memory_order_acquire) != State::kFree) return false;
    slot = index;
    memory = of;
    watched = is_watched;
    state.store(State::kSubmitted, std::memory_order_relaxed);
    return true;
  }

  // The engine's last touch.
  void Finish(Outcome how, uint32_t bytes) {
    outcome = how;
    bytes_moved = bytes;
    state.store(State::kDone, std::memory_order_release);
  }
};

// The requests of one flow and the road on which they travel to the engine; in
// the engine's inbox while `submitted` may hold some.
// One application thread at a time; one engine.
struct RequestQueue : InboxEntry {
  // As many as NCCL may have outstanding on a comm (NCCL_NET_MAX_REQUESTS).
  static constexpr uint32_t kSlots = 32;

  void* owner = nullptr;  // The engine's; which flow this is.
  SpscRing<uint8_t, kSlots> submitted;
  std::array<Request, kSlots> slots;
  uint32_t next_slot = 0;  // The application's; where the search begins.

  // The application's side. A free slot, filled and pushed, or nullptr if all
  // are taken; the caller then rings the engine's inbox.
  Request* Submit(MemorySlice memory, bool watched = true) {
    for (uint32_t i = 0; i < kSlots; ++i) {
      const uint32_t slot = (next_slot + i) % kSlots;
      Request& request = slots[slot];
      if (!request.Start(static_cast<uint8_t>(slot), memory, watched)) continue;
      next_slot = slot + 1;
      submitted.Push(request.slot);  // Has room: one place for each slot.
      return &request;
    }
    return nullptr;
  }

  // True when the request is done; its outcome is then copied and its slot
  // free again.
  static bool Test(Request* request, Request::Outcome* outcome,
                   uint32_t* bytes_moved) {
    if (request->state.load(std::memory_order_acquire) !=
        Request::State::kDone) {
      return false;
    }
    *outcome = request->outcome;
    *bytes_moved = request->bytes_moved;
    request->state.store(Request::State::kFree, std::memory_order_release);
    return true;
  }
};

}  // namespace hawser
