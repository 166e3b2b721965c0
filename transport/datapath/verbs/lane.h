// A lane: a queue pair of its own for what goes one way, to one peer, under one
// entropy. And an ear: the other end of somebody else's lane.
// Knows: libibverbs, generations.  Never: what a packet means.
//
// A packet without a target is a message. Before packets with targets goes a
// manifest, a message that holds their headers; then each is a write with an
// immediate value, which says where in the manifest its header is. What a
// receiver knows of a write it so knows twice: the header from the manifest,
// the bytes' arrival from the immediate value. Where either is lost, the packet
// is.
//
// A lane is buried by making the next generation of it: here it becomes a new
// queue pair, and the far side answers when it has put a new one in the place
// of the old, which hears nothing any more. A queue pair that was given up is
// kept for one generation, so that its number cannot be given to the new one.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <type_traits>

#include "transport/base/ids.h"
#include "transport/base/ring.h"
#include "transport/datapath/verbs/device.h"

namespace hawser {

// A queue pair that sends.
struct Sender {
  static constexpr uint32_t kSlots = 256;
  uint16_t index = 0;  // In completions.
  PairHolder pair;
  Ring<uint16_t> slots{kSlots};  // Posted, in order.
  bool broken = false;  // Takes nothing until it has been set up again.
  bool is_lane = false;
  // While a batch is put together:
  ibv_send_wr* first = nullptr;
  ibv_send_wr* last = nullptr;
};

struct Lane : Sender {
  enum class State : uint8_t { kAsked, kOpen, kBroken };
  State state = State::kAsked;
  PeerId peer;
  uint16_t entropy = 0;
  uint32_t generation = 0;
  uint32_t asks = 0;   // Of this generation.
  uint32_t waits = 0;  // Packets that would have gone this way.
  bool burying = false;
  PairHolder given_up;
  // The manifest that the batch ends with; kNoSlot: it ends otherwise.
  static constexpr uint32_t kNoSlot = UINT32_MAX;
  uint32_t manifest_slot = kNoSlot;
  uint32_t manifest_count = 0;  // Headers in it.
  uint32_t manifest_number = 0;
};

struct Ear {
  PairHolder pair, given_up;
  uint32_t generation = 0;
  bool shut = false;  // Of this generation, nothing is heard any more.
  static constexpr uint32_t kNoSlot = UINT32_MAX;
  uint32_t answers = 0;
  uint32_t manifest_slot = kNoSlot;  // The latest one.
  uint32_t manifest_bytes = 0;
  uint32_t manifest_number = 0;
};

// A manifest: a byte of length and the header, for each. The immediate value of
// a write: the manifest's number, and above 27 bits the place in it.
inline constexpr uint32_t kManifestHeaders = 16;
inline constexpr uint32_t kManifestShift = 27;

// What two planes tell each other by datagrams.
struct Control {
  enum class Kind : uint32_t {
    kAsk,      // Hear this generation of my lane, and none before.
    kAnswer,   // So I do.
    kWantKey,  // With which key may I write to the memory of this number?
    kKey,
    kNoKey,  // That memory is gone.
  };
  Kind kind = Kind::kAsk;
  uint32_t plane_pair = 0;     // The speaker's receiving queue pair,
  uint8_t plane_gid[16] = {};  // and its address: who it is.
  uint32_t lane = 0;           // The asker's.
  uint32_t generation = 0;
  uint32_t pair = 0;    // The speaker's end of the lane; 0: not yet made.
  uint32_t type = 0;    // An ibv_qp_type, as the asker's mode wants it.
  uint32_t memory = 0;  // kWantKey, kKey, kNoKey.
  uint32_t key = 0;     // kKey.
};
static_assert(std::is_trivially_copyable_v<Control> && sizeof(Control) == 48);
// The immediate value that says that a datagram is one of these.
inline constexpr uint32_t kControlMark = 0x48575243;

}  // namespace hawser
