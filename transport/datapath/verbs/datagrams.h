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
//
// Payload in memory of a GPU is not copied: the device gathers it, as a second
// piece. What has come for such memory and lies here, the carrier brings there;
// until then its slot stays lent.
//
// In the modes uc and rc there are lanes besides (lane.h), which are made and
// buried by datagrams with an immediate value: no other packet has one. Until a
// lane is open, and whenever it is not, its packets are datagrams.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "transport/base/ring.h"
#include "transport/datapath/datapath.h"
#include "transport/datapath/verbs.h"
#include "transport/datapath/verbs/carrier.h"
#include "transport/datapath/verbs/device.h"
#include "transport/datapath/verbs/lane.h"

namespace hawser {

class VerbsDatapath final : public Datapath {
 public:
  // nullptr, and a sentence in `error`. `choice`: as VerbsModule::open.
  static std::unique_ptr<VerbsDatapath> Create(const VerbsOptions& options,
                                               std::string* error,
                                               std::string* choice);
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
  void Await() override;

  bool CanPlace(const Way& way, const RemoteSlice& target) const override;
  bool broken(const Way& way) const override;
  uint32_t max_placed_bytes(PeerId) const override;
  GpuReach gpu_reach() const override { return gpu_reach_; }
  std::unique_ptr<Pinned> Pin(const Memory& memory) const override;
  void Register(uint32_t key, const Pinned& pinned) override;
  void Unregister(uint32_t key) override;
  void Offer(PeerId peer, uint32_t key) override;
  void ShutEars(PeerId peer) override;
  void Bury(const Way& way) override;
  bool TakeBuried(Way* way) override;
  void OnControl(PeerId peer, std::span<const std::byte> bytes) override;
  void Carry(uint64_t ticket, std::span<const std::byte> bytes,
             const MemorySlice& to) override;
  void Flush(uint64_t ticket, const MemorySlice& memory) override;
  void Forget(std::span<const uint64_t> tickets) override;
  bool TakeCarried(Carried* carried) override;
  bool TakeControl(PlaneControl* control) override;

 private:
  // Packets that may wait to leave, over all entropies. Each sending queue
  // holds as many, so none is ever overrun.
  static constexpr uint32_t kTxSlots = Sender::kSlots;
  // Packets that may have arrived and not been received: what 100 Gb/s bring in
  // 670 us, in packets of 4096 bytes. What finds no place is lost.
  static constexpr uint32_t kRxSlots = 2048;
  static constexpr uint32_t kEarSlots = 2048;  // The same, for all lanes.
  // One post is one call of the device, or of the kernel where it is one of
  // software.
  static constexpr uint32_t kBurstPackets = 16;
  static constexpr size_t kPolled = 64;  // Completions at a time.
  // The device's own events are looked for once in so many turns: that is a
  // call of the system.
  static constexpr uint32_t kLookEvery = 256;
  // Told in no address: both sides have it from here. Its highest bit is clear,
  // or only a privileged process might use it.
  static constexpr uint32_t kQueueKey = 0x48575231;
  // Smaller packets travel inside the work request where the device can, over
  // datagrams and lanes alike: it need not fetch them.
  static constexpr uint32_t kInlineBytes = 188;

  struct Peer {
    bool open = false;
    uint32_t queue_pair = 0;  // There.
    uint32_t max_packet_bytes = 0;
    ibv_gid gid = {};
    uint16_t lid = 0;
    std::vector<HandleHolder> handles;         // One per entropy.
    std::vector<std::unique_ptr<Lane>> lanes;  // The same, or none.
    std::map<uint32_t, Ear> ears;              // By the far side's lane.
    std::set<uint32_t> offered;  // Registrations here that it was told of.
    std::map<uint32_t, uint32_t> far_keys;  // By number of registration.
    mutable std::map<uint32_t, uint32_t> far_keys_wanted;  // How often asked.
  };

  explicit VerbsDatapath(const VerbsOptions& options) : options_(options) {}
  bool Open(std::string* error, std::string* choice);
  bool MakePairs(std::string* error);
  PairHolder MakePair(uint32_t sends, uint32_t receives, std::string* error);
  bool Ready(ibv_qp* pair, std::string* error);
  bool MakePoll(std::string* error);
  bool has_lanes() const { return mode_ != VerbsMode::kUd; }
  ibv_qp_type lane_type() const {
    return mode_ == VerbsMode::kRc ? IBV_QPT_RC : IBV_QPT_UC;
  }
  bool IsOpen(PeerId peer) const {
    return peer.value < peers_.size() && peers_[peer.value].open;
  }
  HandleHolder MakeHandle(const ibv_gid& gid, uint16_t lid, uint32_t label);
  uint16_t TakeSlot(Sender& sender);
  void Chain(Sender& sender, uint16_t slot);
  // As one piece, here: it may go inside its work request, or may not.
  void TryInline(uint16_t slot);
  // The packet, as one piece or two. False: its memory has gone.
  bool Fill(uint16_t slot, const TxPacket& packet);
  void StageDatagram(const TxPacket& packet);
  void StageMessage(Lane& lane, const TxPacket& packet);
  void StageWrite(Lane& lane, const TxPacket& packet);
  void Post(Sender& sender);
  void OnPostFailed(Sender& sender);

  // lanes.cc
  bool MakeLanes(PeerId id);
  bool Renew(Lane& lane);  // A queue pair for a new generation.
  void Ask(Lane& lane);
  void FreeSlots(Sender& sender);
  PairHolder MakeLanePair(ibv_qp_type type, bool hears);
  bool Connect(ibv_qp* pair, const Peer& peer, uint32_t far_pair,
               uint32_t generation, uint32_t label, bool sends);
  Control Signed(Control control) const;
  // As a datagram of this plane; or by the engine, over another one.
  void SendControl(const Peer& peer, uint32_t entropy, const Control& control);
  void CarryControl(PeerId peer, const Control& control);
  void OnControlDatagram(std::span<const std::byte> bytes);
  void Obey(Peer& peer, Control control, bool carried);
  void OnAsk(Peer& peer, const Control& control, bool carried);
  void OnAnswer(const Control& control);
  Peer* FindPeer(const Control& control);
  bool OpenEar(Peer& peer, Ear& ear, const Control& asked);
  void CloseEar(Ear& ear);
  void PostUsed();
  // What a lane brought: true, and the packet.
  bool OnHeard(const ibv_wc& done, uint32_t slot, RxPacket* packet);
  void AskForKeys();
  void MakeCarrier(std::string* choice);
  void Release(uint64_t ticket);  // The slot that it needed.
  Lane* FindLane(const Way& way) const;
  void ReapSends();
  void OnSent(const ibv_wc& done);
  void Repair(Sender& sender);
  void PostReceives();
  void PostReceivesOf(std::vector<uint32_t>& idle, bool datagrams);
  bool MarkedCe(const std::byte* slot, const ibv_wc& done) const;
  void TakeEvents();
  void TakeCompletionEvents();
  void TakeDeviceEvents();
  void LookAtPort();
  void OnPairFailed(const ibv_qp* pair);
  void KeepReadable(bool readable);

  const VerbsOptions options_;
  // In the order in which they are made: each goes before what it hangs on.
  ContextHolder context_;
  DomainHolder domain_;
  ChannelHolder channel_;
  CompletionQueue tx_done_, rx_done_;
  SlotMemory tx_memory_, rx_memory_;
  SharedReceivesHolder heard_;  // The ears' receive buffers.
  PairHolder receiver_;
  std::unique_ptr<Carrier> carrier_;  // Only where GPUs can be reached.
  GpuReach gpu_reach_;
  std::vector<std::unique_ptr<Sender>> senders_;
  std::vector<Sender*> all_senders_;  // Lanes too, by Sender::index.
  std::vector<std::unique_ptr<Lane>> idle_lanes_;
  std::map<uint32_t, std::pair<PeerId, uint32_t>> ears_;  // By queue pair.
  struct Keys {
    uint32_t local = 0, remote = 0;
  };
  std::map<uint32_t, Keys> regions_;  // By number of registration.
  std::deque<Way> buried_;
  std::deque<PlaneControl> controls_;         // For another plane to carry.
  uint32_t generations_ = 0;                  // Given to lanes; each but once.
  std::vector<HandleHolder> closed_handles_;  // Packets may be under way yet.
  std::vector<Peer> peers_;                   // By PeerId.

  VerbsMode mode_ = VerbsMode::kUd;  // Never kAuto.
  PlaneAddress address_;
  ibv_gid gid_ = {};
  uint16_t lid_ = 0;
  uint32_t mtu_bytes_ = 0;
  uint32_t inline_bytes_ = 0;
  DatapathCounts counts_;
  // The port is, for now, or our address is not its own any more...
  bool down_ = false;
  bool dead_ = false;  // ...and the device, for good.

  std::vector<uint16_t> free_slots_;
  std::array<ibv_send_wr, kTxSlots> requests_;  // By slot.
  static constexpr int kPieces = 2;             // A header, and payload.
  std::array<std::array<ibv_sge, kPieces>, kTxSlots> pieces_;
  std::vector<Sender*> used_;             // That the batch concerns.
  std::map<uint64_t, uint32_t> carried_;  // Which slot has what is carried,
  std::map<uint32_t, uint32_t> holding_;  // and how much of that it has.
  std::vector<uint32_t> lent_;            // Slots given out by Receive,
  std::vector<uint32_t> idle_;            // and all that are to be posted,
  std::vector<uint32_t> idle_ears_;       // of the one kind and the other.
  std::array<ibv_wc, kPolled> polled_;
  // Completions that Await saw, which Receive takes first.
  std::array<ibv_wc, kPolled> early_;
  size_t early_begin_ = 0, early_end_ = 0;
  bool gave_up_ = false;   // Slots, before their completions came.
  bool drained_ = true;    // The latest Receive found an end.
  bool awaited_ = false;   // There may be events to take...
  uint32_t unlooked_ = 0;  // ...as there may after so many turns without.
  bool lending_ = false;   // Between Receive and Recycle.
  int poll_fd_ = -1;
  int wake_fd_ = -1;  // Readable while Receive has more than it was asked for.
  bool kept_readable_ = false;
};

}  // namespace hawser
