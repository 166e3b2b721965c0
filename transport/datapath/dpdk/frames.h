// DpdkDatapath: a queue of a port of DPDK's, through UDP datagrams in frames of
// our own.
// Knows: buffers, peers' addresses, when to look.  Never: what a packet means.
//
// A peer is an IP address and a UDP port; an entropy is the UDP source port. A
// packet is copied into a buffer of DPDK's behind its headers; or, where the
// driver reads all it is to send at once, only its header is, and the payload
// is lent. What cannot leave yet waits here: for the driver, or for the
// neighbour to tell its Ethernet address. tx_room() is what may wait besides.
//
// Engines that share a port share its addresses, and no memory: each asks for
// its own neighbours, answers who asks by its queue, and passes on answers.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/ring.h"
#include "transport/base/time.h"
#include "transport/datapath/datapath.h"
#include "transport/datapath/dpdk.h"
#include "transport/datapath/dpdk/bell.h"
#include "transport/datapath/dpdk/port.h"
#include "transport/net/frame.h"
#include "transport/net/neighbours.h"

namespace hawser {

class DpdkDatapath final : public Datapath {
 public:
  // nullptr, and a sentence in `error`.
  static std::unique_ptr<DpdkDatapath> Create(const DpdkOptions& options,
                                              std::string* error);
  ~DpdkDatapath() override;

  PlaneAddress address() const override { return address_; }
  uint16_t entropies() const override { return options_.entropies; }
  uint32_t max_packet_bytes(PeerId peer) const override;
  uint32_t burst_packets(PeerId) const override { return kBurstPackets; }
  size_t tx_room() const override;
  DatapathCounts counts() const override;
  int poll_fd() const override { return bell_.fd(); }
  bool OpenPeer(PeerId peer, const PlaneAddress& there) override;
  void ClosePeer(PeerId peer) override;
  void Send(std::span<const TxPacket> batch) override;
  size_t Receive(std::span<RxPacket> out) override;
  void Recycle() override;
  void Await() override;

 private:
  // Packets that may wait to leave.
  static constexpr uint32_t kSlots = 256;
  // What a driver takes and gives at a time: as DPDK's own examples.
  static constexpr uint32_t kBurstPackets = 32;
  static constexpr size_t kBatch = 64;
  static constexpr size_t kLoans = 2 * kSlots;
  // Less payload is copied: that costs less than one more buffer.
  static constexpr uint32_t kLeastLentBytes = 1024;
  // Frames that are not ours, for each that Receive could give out: a storm of
  // them may not keep it.
  static constexpr size_t kForeignPerPacket = 4;
  // How often the port is asked whether its link is up.
  static constexpr Duration kLinkPause = Duration::Millis(10);
  // A port without a descriptor is looked at again after the first; then ever
  // less often, as long as nothing comes.
  static constexpr Duration kFirstLook = Duration::Micros(20);
  static constexpr Duration kLastLook = Duration::Millis(1);

  struct Peer {
    bool open = false;
    bool is_self = false;
    IpAddress ip;
    uint16_t port = 0;
    uint32_t max_packet_bytes = 0;
    uint16_t queue = 0;    // With is_self: whose engine it is.
    size_t neighbour = 0;  // Of the next hop; not with is_self.
    FrameHeader header;
  };
  struct Arrival {
    rte_mbuf* frame = nullptr;
    RxPacket packet;
  };
  struct Held {  // Waits for its neighbour's address.
    rte_mbuf* frame = nullptr;
    PeerId peer;
  };

  DpdkDatapath(const DpdkOptions& options, PortQueue::Holder queue);
  bool Open(std::string* error);
  bool IsOpen(PeerId peer) const {
    return peer.value < peers_.size() && peers_[peer.value].open;
  }
  void MakeHeader(Peer& peer);
  rte_mbuf* MakeFrame(const Peer& peer, const TxPacket& packet, bool may_lend);
  rte_mbuf* LendPayload(rte_mbuf* frame, const MemorySlice& payload);
  rte_mbuf* WithOwnBytes(rte_mbuf* frame);
  void Drop(rte_mbuf* frame);
  void SendWaiting();
  void LookAfter(Time now);
  void OnNews();  // Some neighbour has another address.
  void SendNeighbourFrames(Time now);
  size_t Fill(std::span<RxPacket> out);
  bool LookIntoPort();
  // What other engines have handed over, then what was in the queue.
  struct Taken {
    size_t handed = 0, all = 0;
    bool more = false;  // There may be.
  };
  Taken TakeFrames(rte_mbuf** frames, size_t count);
  bool Understand(rte_mbuf* frame, bool handed, RxPacket* packet);
  // It was another engine's, and is.
  bool HandOver(rte_mbuf* frame, uint16_t udp_port);
  void TellOthers(const ParsedFrame& parsed, rte_mbuf* frame);
  void SetBell(bool received, Time now);

  const DpdkOptions options_;
  const PortQueue::Holder queue_;
  Steering& steering_;
  const uint16_t udp_port_;
  PlaneAddress address_;
  FrameFilter filter_;
  FrameFilter untagged_;  // The same, where the port has taken the tag off.
  Neighbours neighbours_;
  uint64_t news_ = 0;        // The changes of neighbours_ that the peers know.
  std::vector<Peer> peers_;  // By PeerId.
  DatapathCounts counts_;
  bool down_ = true;
  bool awaits_ = false;  // What others hand over, asleep...
  bool armed_ = false;   // ...and the port's interrupt.
  Time link_asked_;
  Time now_;  // When this turn's Receive began.

  // For the driver; neighbours' questions and answers come on top.
  Ring<rte_mbuf*> waiting_{2 * kSlots};
  std::vector<Held> held_;
  Ring<rte_mbuf*> looped_{kSlots};  // To ourselves.
  Ring<Arrival> ready_{kBatch};     // Looked into, and not given out yet.
  std::vector<rte_mbuf*> lent_;     // Given out by Receive.
  // One for each lent payload, which is given back before Send returns. One for
  // all would be counted by atomic operations.
  std::array<rte_mbuf_ext_shared_info, kLoans> loans_ = {};
  size_t next_loan_ = 0;
  Bell bell_;
  Duration pause_ = kFirstLook;
  Time look_at_;  // When the bell rings for a port that cannot itself.
};

}  // namespace hawser
