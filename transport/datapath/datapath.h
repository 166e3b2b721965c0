// The door between an engine and one plane of the network.
// Knows: packets, memory, devices.  Never: what a packet means.
#pragma once

#include <cstddef>
#include <cstdint>
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
};

struct RxPacket {
  std::span<const std::byte> bytes;  // Valid until Recycle.
  bool ecn_marked = false;           // The network set CE.
  // How long the packet had waited on this host when Receive returned it; 0
  // where the datapath cannot tell.
  Duration waited;
};

struct DatapathCounts {         // Free-running.
  uint64_t sends_dropped = 0;   // Refused by the system; as good as lost.
  uint64_t sends_deferred = 0;  // Had to wait for room in the system.
  uint64_t truncated = 0;       // Came larger than any buffer, and were cut.
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
  // A descriptor that is readable when Receive has something or, while
  // tx_room() is 0, when calling Receive may make it grow. Readable once too
  // often does no harm. -1: must be polled.
  virtual int poll_fd() const = 0;

  // B. What happened: a peer can be reached there / is gone.
  virtual bool OpenPeer(PeerId peer, const PlaneAddress& there) = 0;
  virtual void ClosePeer(PeerId peer) = 0;

  // C. What next.
  // Cannot fail: what the system refuses is lost, and counted. At most
  // tx_room() packets, none larger than max_packet_bytes(peer).
  virtual void Send(std::span<const TxPacket> batch) = 0;
  // Fills up to out.size() and returns how many. What was given out before
  // must have been recycled.
  virtual size_t Receive(std::span<RxPacket> out) = 0;
  virtual void Recycle() = 0;
};

}  // namespace hawser
