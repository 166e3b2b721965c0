// VerbsDatapath: one port of an RDMA device, through unreliable datagrams.
// Knows: queue pairs, address handles, ECN bits.  Never: what a packet means.
//
// One queue pair receives; it is the address that peers are told. One more per
// entropy sends, and each has an address handle of its own to every peer, whose
// flow label differs too. A device makes the UDP source port, which is what
// the network hashes, of the one or of the other: mlx5 of the flow label, rxe
// of the queue pair's number. Given both, no device need be asked which it is.
//
// A packet is copied into registered memory, or into the work request itself
// where it is small, and has left when Send returns as far as the caller is
// concerned. tx_room() is the number of free slots; they come back when
// Receive or Send looks at the completions.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/ring.h"
#include "transport/datapath/datapath.h"
#include "transport/datapath/verbs.h"
#include "transport/datapath/verbs/device.h"

namespace hawser {

class VerbsDatapath final : public Datapath {
 public:
  // nullptr, and a sentence in `error`.
  static std::unique_ptr<VerbsDatapath> Create(const VerbsOptions& options,
                                               std::string* error);
  ~VerbsDatapath() override;

  PlaneAddress address() const override { return address_; }
  uint16_t entropies() const override { return options_.entropies; }
  uint32_t max_packet_bytes(PeerId peer) const override;
  uint32_t burst_packets(PeerId) const override { return kBurstPackets; }
  size_t tx_room() const override;
  DatapathCounts counts() const override { return counts_; }
  int poll_fd() const override { return poll_fd_; }
  bool OpenPeer(PeerId peer, const PlaneAddress& there) override;
  void ClosePeer(PeerId peer) override;
  void Send(std::span<const TxPacket> batch) override;
  size_t Receive(std::span<RxPacket> out) override;
  void Recycle() override;

 private:
  // Packets that may wait to leave, over all entropies. Each sending queue
  // holds as many, so none is ever overrun.
  static constexpr uint32_t kTxSlots = 256;
  // Packets that may have arrived and not been received: what 100 Gb/s bring in
  // 670 us, in packets of 4096 bytes. What finds no place is lost.
  static constexpr uint32_t kRxSlots = 2048;
  // One post is one call of the device, or of the kernel where it is one of
  // software.
  static constexpr uint32_t kBurstPackets = 16;
  static constexpr size_t kPolled = 64;  // Completions at a time.
  // Smaller packets travel inside the work request where the device can.
  static constexpr uint32_t kInlineBytes = 188;

  struct Peer {
    bool open = false;
    uint32_t queue_pair = 0;  // There.
    uint32_t max_packet_bytes = 0;
    std::vector<HandleHolder> handles;  // One per entropy.
  };
  // One entropy's way out.
  struct Sender {
    PairHolder pair;
    Ring<uint16_t> slots{kTxSlots};  // Posted, in order.
    bool broken = false;  // Takes nothing until it has been set up again.
    // While a batch is put together:
    ibv_send_wr* first = nullptr;
    ibv_send_wr* last = nullptr;
  };

  explicit VerbsDatapath(const VerbsOptions& options) : options_(options) {}
  bool Open(std::string* error);
  bool MakePairs(std::string* error);
  PairHolder MakePair(uint32_t sends, uint32_t receives, std::string* error);
  bool Ready(ibv_qp* pair, std::string* error);
  bool MakePoll(std::string* error);
  bool IsOpen(PeerId peer) const {
    return peer.value < peers_.size() && peers_[peer.value].open;
  }
  HandleHolder MakeHandle(const ibv_gid& gid, uint16_t lid, uint32_t label);
  void Stage(const TxPacket& packet);
  void Post(Sender& sender);
  void ReapSends();
  void OnSent(const ibv_wc& done);
  void Repair(Sender& sender);
  void PostReceives();
  bool MarkedCe(const std::byte* slot, const ibv_wc& done) const;
  void TakeEvents();
  void TakeCompletionEvents();
  void TakeDeviceEvents();
  void KeepReadable(bool readable);

  const VerbsOptions options_;
  // In the order in which they are made: each goes before what it hangs on.
  ContextHolder context_;
  DomainHolder domain_;
  ChannelHolder channel_;
  CompletionQueue tx_done_, rx_done_;
  SlotMemory tx_memory_, rx_memory_;
  PairHolder receiver_;
  std::vector<Sender> senders_;
  std::vector<HandleHolder> closed_handles_;  // Packets may be under way yet.
  std::vector<Peer> peers_;                   // By PeerId.

  PlaneAddress address_;
  ibv_gid gid_ = {};
  uint32_t mtu_bytes_ = 0;
  uint32_t inline_bytes_ = 0;
  DatapathCounts counts_;
  bool down_ = false;  // The port is, for now...
  bool dead_ = false;  // ...and the device, for good.

  std::vector<uint16_t> free_slots_;
  std::array<ibv_send_wr, kTxSlots> requests_;  // By slot.
  std::array<ibv_sge, kTxSlots> pieces_;
  std::vector<uint16_t> used_;  // Senders that the batch concerns.
  std::vector<uint32_t> lent_;  // Slots given out by Receive,
  std::vector<uint32_t> idle_;  // and all that are to be posted.
  std::array<ibv_wc, kPolled> polled_;
  int poll_fd_ = -1;
  int wake_fd_ = -1;  // Readable while Receive has more than it was asked for.
  bool kept_readable_ = false;
};

}  // namespace hawser
