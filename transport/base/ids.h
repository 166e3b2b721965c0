// PeerId, PathId, FlowId, MessageId, PacketNumber: five types that do not mix.
// Knows: integers with a name.  Never: what they index.
#pragma once

#include <compare>
#include <cstdint>

namespace hawser {

// A PathId cannot be passed where a FlowId is wanted; the compiler sees to it.
template <class Tag, class Int>
struct Id {
  Int value{};
  friend constexpr auto operator<=>(Id, Id) = default;
};

using PeerId = Id<struct PeerTag, uint16_t>;  // Indexes an engine's peers.
using PathId = Id<struct PathTag, uint16_t>;  // Indexes a peer's paths.
// Indexes a peer's flows of one direction: the slot in the low 16 bits, how
// often the slot was used before in the high 16, so that what was meant for a
// closed flow never reaches its successor.
using FlowId = Id<struct FlowTag, uint32_t>;
using MessageId = Id<struct MessageTag, uint32_t>;    // Counts up in a flow.
using PacketNumber = Id<struct PacketTag, uint64_t>;  // Counts up in a path.

// Paths of one peer, at most: as many as the header of data can name.
inline constexpr uint16_t kMaxPaths = 1024;

inline constexpr PeerId kNoPeer{0xffff};
inline constexpr PathId kNoPath{0xffff};
inline constexpr FlowId kNoFlow{0xffffffff};

// True if `a` was counted before `b`. Message ids wrap (RFC 1982 comparison);
// two that are compared are never 2^31 or more apart.
constexpr bool Before(MessageId a, MessageId b) {
  return static_cast<int32_t>(a.value - b.value) < 0;
}

}  // namespace hawser
