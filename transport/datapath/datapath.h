// The door between an engine and one plane of the network.
// Knows: packets, memory, devices.  Never: what a packet means.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "transport/base/ids.h"
#include "transport/base/memory.h"
#include "transport/base/plane_address.h"
#include "transport/base/time.h"

namespace hawser {

struct TxPacket {
  PeerId peer;
  uint16_t entropy = 0;               // Below entropies().
  std::span<const std::byte> header;  // Copied or sent before Send returns,
  MemorySlice payload;                // and so is this. May be empty.
  // key != 0: the far NIC puts the payload there, and the packet is received
  // as its header alone. Only where CanPlace; the payload has a key, too, and
  // stays as it is until the far side has answered or the way is buried.
  RemoteSlice target = {};
};

// How a packet that waits begins. Whoever knows where its end belongs says so
// before it is received.
struct RxFront {
  std::span<const std::byte> bytes;  // Valid until Receive.
  uint32_t length = 0;               // Of the whole packet.
  std::span<std::byte> place;        // Where its last bytes go; empty: nowhere.
};

struct RxPacket {
  std::span<const std::byte> bytes;  // Valid until Recycle.
  bool ecn_marked = false;           // The network set CE.
  // How long the packet had waited on this host when Receive returned it; 0
  // where the datapath cannot tell.
  Duration waited;
  // So many bytes of payload, which are not in `bytes`, were placed by the NIC.
  uint32_t placed_bytes = 0;
  // The rest of the packet, where its front's `place` wanted it.
  std::span<const std::byte> rest = {};
};

// One way over a plane. What was sent over it stays in order, or gets lost.
struct Way {
  PeerId peer;
  uint16_t entropy = 0;
};

// What a plane has to say to the plane that it faces when its own ways may
// carry nothing.
struct PlaneControl {
  static constexpr size_t kMostBytes = 64;
  PeerId peer;
  uint8_t length = 0;  // 1..kMostBytes
  std::array<std::byte, kMostBytes> bytes = {};
  std::span<const std::byte> view() const { return {bytes.data(), length}; }
};

// Memory that a NIC may reach, until this is destroyed.
class Pinned {
 public:
  virtual ~Pinned() = default;
};

// What was asked for by this ticket is done, or cannot be.
struct Carried {
  uint64_t ticket = 0;
  bool ok = false;
};

struct DatapathCounts {         // Free-running.
  uint64_t sends_dropped = 0;   // Refused by the system; as good as lost.
  uint64_t sends_deferred = 0;  // Had to wait for room in the system.
  uint64_t truncated = 0;       // Came larger than any buffer, and were cut.
  // Where the datapath sees frames itself, those that it dropped:
  uint64_t frames_foreign = 0;     // Of others: their address, port, protocol.
  uint64_t frames_fragmented = 0;  // Parts of IP packets.
  uint64_t frames_malformed = 0;   // With lengths that cannot be.
  uint64_t frames_damaged = 0;     // With a checksum that is not theirs.
  // Not dropped: they came by the queue of another engine, whose they are.
  uint64_t frames_handed_over = 0;
  // And those that its port dropped:
  uint64_t port_missed = 0;     // Nobody fetched the ones before in time.
  uint64_t port_no_buffer = 0;  // There was no memory for them.
  uint64_t port_errors = 0;     // Bad ones, and those it could not send.
};

// One port of one NIC, as one engine uses it. A packet is sent to a peer under
// an entropy, which the network hashes onto one of its routes: packets of one
// (peer, entropy) stay in order, or get lost. One engine, one thread at a time.
class Datapath {
 public:
  virtual ~Datapath() = default;

  // A. What is.
  // Where peers reach this plane; told to them in the handshake.
  virtual PlaneAddress address() const = 0;
  virtual uint16_t entropies() const = 0;  // 1 or more.
  // The largest packet, header and payload, that the way to the peer carries
  // whole. May change with what the network says.
  virtual uint32_t max_packet_bytes(PeerId peer) const = 0;
  // How many packets in a row are best given to one path: what the system
  // takes in one call. 1 where it makes no difference.
  virtual uint32_t burst_packets(PeerId peer) const = 0;
  virtual size_t tx_room() const = 0;  // Packets that Send can take now.
  virtual DatapathCounts counts() const = 0;
  // A descriptor that, once Await() was called, is readable when Receive has
  // something or, while tx_room() is 0, when calling Receive may make it grow.
  // Readable once too often does no harm. -1: must be polled.
  virtual int poll_fd() const = 0;
  // Where the NIC can place payload (the functions below are then more than
  // nothing): a packet over this way may have this target, now.
  virtual bool CanPlace(const Way&, const RemoteSlice&) const { return false; }
  // It broke, and has to be buried: what was given to it may yet be placed.
  virtual bool broken(const Way&) const { return false; }
  // The most payload of a packet with a target; at most 65408.
  virtual uint32_t max_placed_bytes(PeerId) const { return 0; }
  virtual GpuReach gpu_reach() const { return {}; }
  // Of any thread, at any time, since it may take long. nullptr: this NIC
  // cannot reach it. Destroyed before the datapath is.
  virtual std::unique_ptr<Pinned> Pin(const Memory&) const { return nullptr; }

  // B. What happened: a peer can be reached there / is gone.
  virtual bool OpenPeer(PeerId peer, const PlaneAddress& there) = 0;
  virtual void ClosePeer(PeerId peer) = 0;
  // Memory, which stays pinned until Unregister, may be the payload of what has
  // a target, and be one, under a number that is never used again.
  virtual void Register(uint32_t, const Pinned&) {}
  virtual void Unregister(uint32_t) {}
  // The peer is about to be told of this memory, by its number.
  virtual void Offer(PeerId, uint32_t) {}
  // Nothing that was sent to this host by the peer is placed after this: its
  // ways here are shut. It will find out, and bury them.
  virtual void ShutEars(PeerId) {}
  // Buries a way: nothing more leaves of what was given to it, the far side is
  // asked to shut its ear for all that is still on its way, and a new one is
  // made under the same entropy, which the network may hash otherwise. Asks
  // again, over other ways, where that is going on. TakeBuried says when it is
  // done; meanwhile packets without a target pass, on some other way.
  virtual void Bury(const Way&) {}
  // What TakeControl gave to the peer's engine, there. It may come late, twice
  // or never.
  virtual void OnControl(PeerId, std::span<const std::byte>) {}
  // For the memory of GPUs. Has the NIC put bytes, which are part of what
  // Receive has just given out, into registered memory.
  virtual void Carry(uint64_t, std::span<const std::byte>, const MemorySlice&) {
  }
  // Has the NIC see to it that whatever it has put into this memory is there
  // for the GPU.
  virtual void Flush(uint64_t, const MemorySlice&) {}
  // Nothing that was asked for by these tickets is done any more, nor told of.
  virtual void Forget(std::span<const uint64_t>) {}

  // C. What next.
  // Cannot fail: what the system refuses is lost, and counted. At most
  // tx_room() packets, none larger than max_packet_bytes(peer).
  virtual void Send(std::span<const TxPacket> batch) = 0;
  // What the next Receive will give out first, in this order, as far as it can
  // be told beforehand. Where a `place` is set, the end of that packet goes
  // there, and nothing else does. Valid until Receive, which then wants room
  // for all of them.
  virtual std::span<RxFront> Peek() { return {}; }
  // Fills up to out.size() and returns how many; the others stay as they are.
  // What was given out before must have been recycled.
  virtual size_t Receive(std::span<RxPacket> out) = 0;
  virtual void Recycle() = 0;
  // poll_fd() is about to be waited for; asking for that to work may have a
  // price, which who never sleeps need not pay.
  virtual void Await() {}
  // One that has been buried on both sides since it was asked for; false: none.
  virtual bool TakeBuried(Way*) { return false; }
  // One that Carry or Flush was given; false: none is done.
  virtual bool TakeCarried(Carried*) { return false; }
  // What is to reach the peer over another plane, if there is one; false: no
  // more.
  virtual bool TakeControl(PlaneControl*) { return false; }
};

}  // namespace hawser
