// Packets of one turn on their way to one plane; small ones share a datagram.
// Knows: headers, payloads, room.  Never: what a packet means.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/base/ids.h"
#include "transport/base/memory.h"
#include "transport/datapath/datapath.h"
#include "transport/wire/bundle.h"
#include "transport/wire/header.h"

namespace hawser {

class Stage {
 public:
  static constexpr size_t kCapacity = 64;  // Datagrams.

  explicit Stage(Datapath& plane);

  // For one more datagram, here and at the door. A full stage is flushed to
  // tell: what it sends may be the last that the plane takes for now.
  bool MakeRoom();
  size_t room() const { return plane_.tx_room() - count_; }
  // Of the stage alone.
  size_t left() const { return kCapacity - count_; }

  // Copies the header, borrows the payload until Flush. Joins the datagram
  // before it if that goes the same way, and both together have no more than
  // `max_bytes`. Returns what `max_bytes` would have had to be for that, if it
  // was too little; else 0. Only after MakeRoom has said yes.
  size_t Add(PeerId peer, uint16_t entropy, std::span<const std::byte> header,
             MemorySlice payload, uint32_t max_bytes);
  // A datagram by itself, whose payload is not copied: what has a target, and
  // what Add would neither copy nor join to another, as MayBegin says. Begin
  // returns where kMaxHeaderBytes of a header may be written, and End is told
  // how many were. Only after MakeRoom has said yes.
  bool MayBegin(PeerId peer, uint16_t entropy, MemorySlice payload) const;
  std::span<std::byte> Begin(PeerId peer, uint16_t entropy, MemorySlice payload,
                             const RemoteSlice& target = {});
  void End(size_t header_bytes);
  void Flush();

 private:
  // Payloads up to this are copied, so that others can follow them: a copy of
  // so few bytes is cheaper than one more piece for the system to gather.
  static constexpr uint32_t kCopiedBytes = 256;
  // Room for a full ack packet and the small ones that go with it.
  static constexpr size_t kSlotBytes = wire::kMaxAckPacketBytes + 336;

  bool IsOpenFor(PeerId peer, uint16_t entropy) const {
    return count_ > 0 && !slots_[count_ - 1].closed &&
           packets_[count_ - 1].peer == peer &&
           packets_[count_ - 1].entropy == entropy;
  }

  struct Slot {
    Slot() : writer(bytes) {}
    std::array<std::byte, kSlotBytes> bytes = {};
    wire::BundleWriter writer;
    bool closed = false;  // Ends with borrowed payload.
  };

  Datapath& plane_;
  std::vector<Slot> slots_;
  std::array<TxPacket, kCapacity> packets_;
  size_t count_ = 0;
};

}  // namespace hawser
