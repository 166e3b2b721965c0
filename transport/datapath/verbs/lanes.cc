// Why lanes are agreed upon by datagrams of the planes themselves, and not in
// the handshake: a lane is buried and made anew in the middle of a run, when
// the path whose it is carries nothing; and a plane can say how to reach it in
// 32 bytes, while sixteen lanes have a queue pair each.
//
// Why a write needs no signal of its own about the borrowed payload: its bytes
// are the application's until the far side has answered for them, or the lane
// is gone, and in both cases the NIC has read them. A resend is queued behind
// its first copy, so its answer says the same.
#include <endian.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "transport/base/check.h"
#include "transport/datapath/verbs/datagrams.h"
#include "transport/datapath/verbs/gpu_trial.h"

namespace hawser {
namespace {

// rc: how often the device waits for an answer anew before the queue pair
// breaks. Another path is the better answer to a silent one, so not often; for
// rxe, 7 would mean for ever.
constexpr uint8_t kRetries = 2;
constexpr uint8_t kReceiverNotReadyRetries = 7;  // For ever: it is alive.
constexpr uint8_t kReceiverNotReadyTimer = 1;    // 10 us.
// A write of several packets is lost with any of them, and stock rxe never
// delivers over uc again after that; over rc the device resends what is lost.
constexpr uint32_t kReliableBytes = 32'768;
// Asked so often in vain, an answer may be impossible: the generation was shut
// before it was heard of.
constexpr uint32_t kAsksPerGeneration = 4;

}  // namespace

Lane* VerbsDatapath::FindLane(const Way& way) const {
  if (!has_lanes() || !IsOpen(way.peer)) return nullptr;
  const Peer& peer = peers_[way.peer.value];
  return way.entropy < peer.lanes.size() ? peer.lanes[way.entropy].get()
                                         : nullptr;
}

bool VerbsDatapath::MakeLanes(PeerId id) {
  Peer& peer = peers_[id.value];
  for (uint16_t i = 0; i < options_.entropies; ++i) {
    std::unique_ptr<Lane> lane;
    if (idle_lanes_.empty()) {
      if (all_senders_.size() > UINT16_MAX) return false;
      lane = std::make_unique<Lane>();
      lane->index = static_cast<uint16_t>(all_senders_.size());
      lane->is_lane = true;
      all_senders_.push_back(lane.get());
    } else {
      lane = std::move(idle_lanes_.back());
      idle_lanes_.pop_back();
    }
    lane->peer = id;
    lane->entropy = i;
    lane->burying = false;
    peer.lanes.push_back(std::move(lane));
    if (!Renew(*peer.lanes.back())) return false;
    Ask(*peer.lanes.back());
  }
  return true;
}

bool VerbsDatapath::Renew(Lane& lane) {
  lane.given_up = std::move(lane.pair);
  if (lane.given_up != nullptr) {
    // Nothing more leaves, and what is under way is forgotten.
    ibv_qp_attr to = {};
    to.qp_state = IBV_QPS_RESET;
    ibv_modify_qp(lane.given_up.get(), &to, IBV_QP_STATE);
  }
  FreeSlots(lane);
  lane.generation = ++generations_;
  lane.asks = 0;
  lane.broken = false;
  lane.state = Lane::State::kAsked;
  lane.manifest_slot = Lane::kNoSlot;
  lane.pair = MakeLanePair(lane_type(), /*hears=*/false);
  return lane.pair != nullptr;
}

void VerbsDatapath::FreeSlots(Sender& sender) {
  gave_up_ = true;
  while (!sender.slots.empty()) {
    free_slots_.push_back(sender.slots.Pop());
    ++counts_.sends_dropped;
  }
}

PairHolder VerbsDatapath::MakeLanePair(ibv_qp_type type, bool hears) {
  ibv_qp_init_attr wanted = {};
  wanted.send_cq = tx_done_.get();
  wanted.recv_cq = rx_done_.get();
  wanted.srq = heard_.get();
  wanted.cap.max_send_wr = hears ? 1 : kTxSlots;
  wanted.cap.max_send_sge = hears ? 1 : kPieces;
  wanted.cap.max_inline_data = hears ? 0 : inline_bytes_;
  wanted.qp_type = type;
  PairHolder pair(ibv_create_qp(domain_.get(), &wanted));
  if (pair == nullptr && wanted.cap.max_inline_data > 0) {
    wanted.cap.max_inline_data = 0;
    pair.reset(ibv_create_qp(domain_.get(), &wanted));
  }
  if (pair == nullptr) return nullptr;
  // What a lane cannot do, nobody does.
  if (!hears) {
    inline_bytes_ = std::min(inline_bytes_, wanted.cap.max_inline_data);
  }
  ibv_qp_attr to = {};
  to.qp_state = IBV_QPS_INIT;
  to.port_num = options_.port;
  to.qp_access_flags = hears ? IBV_ACCESS_REMOTE_WRITE : 0;
  const int why = ibv_modify_qp(
      pair.get(), &to,
      IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  return why == 0 ? std::move(pair) : nullptr;
}

bool VerbsDatapath::Connect(ibv_qp* pair, const Peer& peer, uint32_t far_pair,
                            uint32_t generation, uint32_t label, bool sends) {
  const bool reliable = pair->qp_type == IBV_QPT_RC;
  ibv_qp_attr to = {};
  to.qp_state = IBV_QPS_RTR;
  to.path_mtu = static_cast<ibv_mtu>(std::countr_zero(mtu_bytes_) - 7);
  to.dest_qp_num = far_pair;
  // Both sides count from what they have in common.
  to.rq_psn = to.sq_psn = generation * 0x9e3779u & 0xffffff;
  to.ah_attr.is_global = 1;
  to.ah_attr.grh.dgid = peer.gid;
  to.ah_attr.grh.flow_label = 1 + label % (kFlowLabels - 1);
  to.ah_attr.grh.sgid_index = options_.gid_index;
  to.ah_attr.grh.hop_limit = kHopLimit;
  to.ah_attr.grh.traffic_class =
      static_cast<uint8_t>((options_.traffic_class & ~kEcnBits) | kEct0);
  to.ah_attr.dlid = peer.lid;
  to.ah_attr.sl = options_.service_level;
  to.ah_attr.port_num = options_.port;
  to.min_rnr_timer = kReceiverNotReadyTimer;
  int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
             IBV_QP_RQ_PSN;
  if (reliable) mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  if (ibv_modify_qp(pair, &to, mask) != 0) return false;
  if (!sends) return true;
  to.qp_state = IBV_QPS_RTS;
  to.timeout = kAnswerTimeoutExponent;
  to.retry_cnt = kRetries;
  to.rnr_retry = kReceiverNotReadyRetries;
  mask = IBV_QP_STATE | IBV_QP_SQ_PSN;
  if (reliable) {
    mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
            IBV_QP_MAX_QP_RD_ATOMIC;
  }
  return ibv_modify_qp(pair, &to, mask) == 0;
}

// --- Asking and answering --------------------------------------------------

Control VerbsDatapath::Signed(Control control) const {
  control.plane_pair = receiver_->qp_num;
  std::memcpy(control.plane_gid, gid_.raw, sizeof control.plane_gid);
  return control;
}

void VerbsDatapath::SendControl(const Peer& peer, uint32_t entropy,
                                const Control& said) {
  Sender& sender = *senders_[entropy % senders_.size()];
  // What finds no room is as good as lost, and will be said again.
  if (free_slots_.empty() || sender.broken || down_ || dead_) return;
  const Control control = Signed(said);
  const uint16_t slot = TakeSlot(sender);
  std::memcpy(tx_memory_[slot], &control, sizeof control);
  pieces_[slot][0].length = sizeof control;
  ibv_send_wr& request = requests_[slot];
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.imm_data = htobe32(kControlMark);
  request.wr.ud.ah = peer.handles[entropy % senders_.size()].get();
  request.wr.ud.remote_qpn = peer.queue_pair;
  request.wr.ud.remote_qkey = kQueueKey;
  Chain(sender, slot);
}

void VerbsDatapath::CarryControl(PeerId peer, const Control& said) {
  const Control control = Signed(said);
  static_assert(sizeof control <= PlaneControl::kMostBytes);
  PlaneControl& carried = controls_.emplace_back();
  carried.peer = peer;
  carried.length = sizeof control;
  std::memcpy(carried.bytes.data(), &control, sizeof control);
}

bool VerbsDatapath::TakeControl(PlaneControl* control) {
  if (controls_.empty()) return false;
  *control = controls_.front();
  controls_.pop_front();
  return true;
}

void VerbsDatapath::Ask(Lane& lane) {
  Control control;
  control.kind = Control::Kind::kAsk;
  control.lane = uint32_t{lane.peer.value} << 16 | lane.entropy;
  control.generation = lane.generation;
  control.pair = lane.pair->qp_num;
  control.type = lane_type();
  // Another way each time: its own may be what is broken. And so may be all of
  // this plane's.
  SendControl(peers_[lane.peer.value], lane.entropy + ++lane.asks, control);
  if (lane.burying) CarryControl(lane.peer, control);
  PostUsed();
}

VerbsDatapath::Peer* VerbsDatapath::FindPeer(const Control& control) {
  for (Peer& peer : peers_) {
    if (peer.open && peer.queue_pair == control.plane_pair &&
        std::memcmp(peer.gid.raw, control.plane_gid, 16) == 0) {
      return &peer;
    }
  }
  return nullptr;
}

void VerbsDatapath::OnControlDatagram(std::span<const std::byte> bytes) {
  Control control;
  if (bytes.size() != sizeof control) return;
  std::memcpy(&control, bytes.data(), sizeof control);
  Peer* const peer = FindPeer(control);
  if (peer != nullptr) Obey(*peer, control, /*carried=*/false);
}

void VerbsDatapath::OnControl(PeerId id, std::span<const std::byte> bytes) {
  Control control;
  if (!has_lanes() || !IsOpen(id) || bytes.size() != sizeof control) return;
  std::memcpy(&control, bytes.data(), sizeof control);
  Peer& peer = peers_[id.value];
  if (FindPeer(control) == &peer) Obey(peer, control, /*carried=*/true);
}

void VerbsDatapath::Obey(Peer& peer, Control control, bool carried) {
  switch (control.kind) {
    case Control::Kind::kAsk:
      OnAsk(peer, control, carried);
      break;
    case Control::Kind::kAnswer:
      OnAnswer(control);
      break;
    case Control::Kind::kWantKey: {
      const auto region = regions_.find(control.memory);
      if (region == regions_.end()) break;
      control.kind = Control::Kind::kKey;
      control.key = region->second.remote;
      SendControl(peer, control.generation, control);
      break;
    }
    case Control::Kind::kKey:
      peer.far_keys[control.memory] = control.key;
      peer.far_keys_wanted.erase(control.memory);
      break;
    case Control::Kind::kNoKey:
      peer.far_keys.erase(control.memory);
      break;
  }
  PostUsed();
}

void VerbsDatapath::OnAsk(Peer& peer, const Control& asked, bool carried) {
  Ear& ear = peer.ears[asked.lane];
  if (asked.generation < ear.generation ||
      (asked.generation == ear.generation && ear.shut) ||
      (asked.type != IBV_QPT_UC && asked.type != IBV_QPT_RC)) {
    return;
  }
  if (asked.generation > ear.generation) {
    CloseEar(ear);
    ear.generation = asked.generation;
    ear.shut = false;
  }
  if (ear.pair == nullptr && !OpenEar(peer, ear, asked)) ear.pair.reset();
  Control answer = asked;
  answer.kind = Control::Kind::kAnswer;
  answer.pair = ear.pair != nullptr ? ear.pair->qp_num : 0;
  SendControl(peer, asked.lane + asked.generation + ++ear.answers, answer);
  const PeerId id{static_cast<uint16_t>(&peer - peers_.data())};
  if (carried) CarryControl(id, answer);
  // The peer knows us now, as it may not have done when we asked.
  const auto entropy = (asked.lane & 0xffff) % peer.lanes.size();
  Lane& lane = *peer.lanes[entropy];
  if (lane.state == Lane::State::kAsked && lane.asks < kAsksPerGeneration) {
    Ask(lane);
  }
}

bool VerbsDatapath::OpenEar(Peer& peer, Ear& ear, const Control& asked) {
  ear.pair = MakeLanePair(static_cast<ibv_qp_type>(asked.type),
                          /*hears=*/true);
  if (ear.pair == nullptr ||
      !Connect(ear.pair.get(), peer, asked.pair, asked.generation,
               receiver_->qp_num * 0x9e3779b1u + asked.lane,
               /*sends=*/false)) {
    return false;
  }
  const PeerId id{static_cast<uint16_t>(&peer - peers_.data())};
  ears_[ear.pair->qp_num] = {id, asked.lane};
  return true;
}

void VerbsDatapath::CloseEar(Ear& ear) {
  if (ear.pair != nullptr) {
    ears_.erase(ear.pair->qp_num);
    ibv_qp_attr to = {};
    to.qp_state = IBV_QPS_RESET;
    ibv_modify_qp(ear.pair.get(), &to, IBV_QP_STATE);
    ear.given_up = std::move(ear.pair);
  }
  if (ear.manifest_slot != Ear::kNoSlot) lent_.push_back(ear.manifest_slot);
  ear.manifest_slot = Ear::kNoSlot;
}

void VerbsDatapath::OnAnswer(const Control& answer) {
  const Way way = {PeerId{static_cast<uint16_t>(answer.lane >> 16)},
                   static_cast<uint16_t>(answer.lane)};
  Lane* lane = FindLane(way);
  if (lane == nullptr || lane->state != Lane::State::kAsked ||
      lane->generation != answer.generation) {
    return;
  }
  const uint32_t label =
      (receiver_->qp_num + lane->generation * 0x61u) * 0x9e3779b1u +
      lane->entropy;
  // The new way may have to wait, as where a port is down: its packets are
  // datagrams until it is asked for again. The old one is gone all the same.
  if (answer.pair != 0 &&
      Connect(lane->pair.get(), peers_[way.peer.value], answer.pair,
              answer.generation, label, /*sends=*/true)) {
    lane->state = Lane::State::kOpen;
  }
  if (std::exchange(lane->burying, false)) buried_.push_back(way);
}

void VerbsDatapath::Bury(const Way& way) {
  Lane* lane = FindLane(way);
  if (lane == nullptr) return;
  lane->burying = true;
  if (lane->state != Lane::State::kAsked || lane->asks >= kAsksPerGeneration) {
    if (!Renew(*lane)) {
      lane->state = Lane::State::kBroken;
      return;
    }
  }
  Ask(*lane);
}

bool VerbsDatapath::TakeBuried(Way* way) {
  if (buried_.empty()) return false;
  *way = buried_.front();
  buried_.pop_front();
  return true;
}

void VerbsDatapath::ShutEars(PeerId id) {
  if (!IsOpen(id)) return;
  for (auto& [far_lane, ear] : peers_[id.value].ears) {
    CloseEar(ear);
    ear.shut = true;
  }
}

bool VerbsDatapath::broken(const Way& way) const {
  const Lane* lane = FindLane(way);
  return lane != nullptr && lane->state == Lane::State::kBroken;
}

// --- Memory ----------------------------------------------------------------

namespace {

class PinnedRegion final : public Pinned {
 public:
  explicit PinnedRegion(RegionHolder region) : region_(std::move(region)) {}
  const ibv_mr& region() const { return *region_; }

 private:
  RegionHolder region_;
};

}  // namespace

std::unique_ptr<Pinned> VerbsDatapath::Pin(const Memory& memory) const {
  if (!has_lanes()) return nullptr;
  if (memory.kind == MemoryKind::kGpu &&
      !(memory.dmabuf < 0 ? gpu_reach_.by_address : gpu_reach_.by_dmabuf)) {
    return nullptr;
  }
  RegionHolder region = PinMemory(domain_.get(), memory);
  if (region == nullptr) return nullptr;
  return std::make_unique<PinnedRegion>(std::move(region));
}

void VerbsDatapath::Register(uint32_t key, const Pinned& pinned) {
  const ibv_mr& region = static_cast<const PinnedRegion&>(pinned).region();
  regions_[key] = {region.lkey, region.rkey};
}

void VerbsDatapath::Unregister(uint32_t key) {
  if (regions_.erase(key) == 0) return;
  Control control;
  control.kind = Control::Kind::kNoKey;
  control.memory = key;
  for (Peer& peer : peers_) {
    if (peer.offered.erase(key) != 0) SendControl(peer, key, control);
  }
  PostUsed();
}

// A key that is lost on the way is asked for.
void VerbsDatapath::Offer(PeerId id, uint32_t key) {
  if (!IsOpen(id)) return;
  Peer& peer = peers_[id.value];
  const auto region = regions_.find(key);
  if (region == regions_.end() || !peer.offered.insert(key).second) return;
  Control control;
  control.kind = Control::Kind::kKey;
  control.memory = key;
  control.key = region->second.remote;
  SendControl(peer, key, control);
  PostUsed();
}

uint32_t VerbsDatapath::max_placed_bytes(PeerId) const {
  switch (mode_) {
    case VerbsMode::kAuto:
    case VerbsMode::kUd:
      return 0;
    case VerbsMode::kUc:
      return mtu_bytes_;
    case VerbsMode::kRc:
      return kReliableBytes;
  }
  return 0;
}

bool VerbsDatapath::CanPlace(const Way& way, const RemoteSlice& target) const {
  const Lane* lane = FindLane(way);
  if (lane == nullptr || lane->state != Lane::State::kOpen) return false;
  const Peer& peer = peers_[way.peer.value];
  if (peer.far_keys.contains(target.key)) return true;
  ++peer.far_keys_wanted[target.key];
  return false;
}

// At first at once, and then now and then: either packet may be lost.
void VerbsDatapath::AskForKeys() {
  constexpr uint32_t kPatience = 64;
  if (!has_lanes()) return;
  for (Peer& peer : peers_) {
    if (!peer.open) continue;
    for (auto& [memory, times] : peer.far_keys_wanted) {
      if (times % kPatience != 1) continue;
      Control control;
      control.kind = Control::Kind::kWantKey;
      control.memory = memory;
      control.generation = ++times;  // Which way the answer takes.
      SendControl(peer, times, control);
    }
  }
}

// --- Memory that the host cannot write -------------------------------------

// Where it cannot be, the memory of GPUs is out of reach: what is lost on its
// way there could not be put there later.
void VerbsDatapath::MakeCarrier(std::string* choice) {
  if (!has_lanes() || !options_.gpus) return;
  PairRoute route;
  std::string why, no_gpu;
  // Most hosts of this datapath may have none, and need no queue pair for it.
  const auto buffer = GpuBuffer::Make(kTriedBytes, &no_gpu);
  if (buffer == nullptr) return;
  auto carrier = std::make_unique<Carrier>();
  if (!RouteToItself(context_.get(), options_.port, options_.gid_index,
                     &route)) {
    return;
  }
  route.service_level = options_.service_level;
  if (carrier->Make(context_.get(), domain_.get(), channel_.get(), route,
                    &why)) {
    gpu_reach_ = TryGpu(domain_.get(), *carrier, *buffer, &why);
  }
  if (gpu_reach_.any()) carrier_ = std::move(carrier);
  if (!why.empty()) *choice += (choice->empty() ? "" : "; ") + why;
}

void VerbsDatapath::Carry(uint64_t ticket, std::span<const std::byte> bytes,
                          const MemorySlice& to) {
  HAWSER_CHECK(lending_ && carrier_ != nullptr);
  const auto region = regions_.find(to.key);
  if (region == regions_.end() || dead_) return carrier_->Fail(ticket);
  const auto slot = static_cast<uint32_t>(rx_memory_.SlotOf(bytes.data()));
  carried_[ticket] = slot;
  ++holding_[slot];
  carrier_->Write(ticket, bytes, rx_memory_.local_key(),
                  reinterpret_cast<uint64_t>(to.data), region->second.remote);
}

void VerbsDatapath::Release(uint64_t ticket) {
  const auto found = carried_.find(ticket);
  if (found == carried_.end()) return;
  const uint32_t slot = found->second;
  carried_.erase(found);
  if (--holding_[slot] > 0) return;
  holding_.erase(slot);
  // It may have been given out in this very call, and then goes back with it.
  if (std::find(lent_.begin(), lent_.end(), slot) == lent_.end()) {
    lent_.push_back(slot);
  }
}

// What a device wrote that is gone left it before it went.
void VerbsDatapath::Flush(uint64_t ticket, const MemorySlice& memory) {
  HAWSER_CHECK(carrier_ != nullptr);
  const auto region = regions_.find(memory.key);
  if (dead_) return carrier_->Pass(ticket);
  if (region == regions_.end()) return carrier_->Fail(ticket);
  carrier_->Flush(ticket, reinterpret_cast<uint64_t>(memory.data),
                  region->second.remote);
}

void VerbsDatapath::Forget(std::span<const uint64_t> tickets) {
  if (carrier_ == nullptr) return;
  carrier_->Forget(tickets);
  for (const uint64_t ticket : tickets) Release(ticket);
}

bool VerbsDatapath::TakeCarried(Carried* carried) {
  if (carrier_ == nullptr || !carrier_->Take(carried)) return false;
  Release(carried->ticket);
  return true;
}

// --- Packets ---------------------------------------------------------------

void VerbsDatapath::StageMessage(Lane& lane, const TxPacket& packet) {
  const uint16_t slot = TakeSlot(lane);
  if (!Fill(slot, packet)) ++counts_.sends_dropped;
  TryInline(slot);
  lane.manifest_slot = Lane::kNoSlot;
  Chain(lane, slot);
}

void VerbsDatapath::StageWrite(Lane& lane, const TxPacket& packet) {
  const auto header = packet.header;
  HAWSER_CHECK(header.size() <= UINT8_MAX);
  if (lane.first == nullptr || lane.manifest_count == kManifestHeaders ||
      (lane.manifest_slot != Lane::kNoSlot &&
       pieces_[lane.manifest_slot][0].length + 1 + header.size() >
           mtu_bytes_)) {
    lane.manifest_slot = Lane::kNoSlot;
  }
  if (lane.manifest_slot == Lane::kNoSlot) {
    const uint16_t slot = TakeSlot(lane);
    lane.manifest_slot = slot;
    lane.manifest_count = 0;
    lane.manifest_number =
        (lane.manifest_number + 1) & ((1u << kManifestShift) - 1);
    requests_[slot].opcode = IBV_WR_SEND_WITH_IMM;
    requests_[slot].imm_data = htobe32(lane.manifest_number);
    Chain(lane, slot);
  }
  ibv_sge& manifest = pieces_[lane.manifest_slot][0];
  std::byte* to = tx_memory_[lane.manifest_slot] + manifest.length;
  *to++ = static_cast<std::byte>(header.size());
  std::copy(header.begin(), header.end(), to);
  manifest.length += static_cast<uint32_t>(1 + header.size());
  TryInline(static_cast<uint16_t>(lane.manifest_slot));

  const auto region = regions_.find(packet.payload.key);
  const auto far_key =
      peers_[packet.peer.value].far_keys.find(packet.target.key);
  HAWSER_CHECK(far_key != peers_[packet.peer.value].far_keys.end());
  const uint32_t place = lane.manifest_count++;
  if (region == regions_.end()) {  // Unregistered while it was being sent.
    ++counts_.sends_dropped;
    return;
  }
  const uint16_t slot = TakeSlot(lane);
  pieces_[slot][0] = {reinterpret_cast<uint64_t>(packet.payload.data),
                      packet.payload.length, region->second.local};
  ibv_send_wr& request = requests_[slot];
  request.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  request.imm_data = htobe32(place << kManifestShift | lane.manifest_number);
  request.wr.rdma.remote_addr = packet.target.address;
  request.wr.rdma.rkey = far_key->second;
  Chain(lane, slot);
}

bool VerbsDatapath::OnHeard(const ibv_wc& done, uint32_t slot,
                            RxPacket* packet) {
  const auto found = ears_.find(done.qp_num);
  const bool immediate = (done.wc_flags & IBV_WC_WITH_IMM) != 0;
  // An ear that has been shut.
  if (found == ears_.end()) {
    lent_.push_back(slot);
    return false;
  }
  const auto [peer, far_lane] = found->second;
  Ear& ear = peers_[peer.value].ears[far_lane];
  const uint32_t value = immediate ? be32toh(done.imm_data) : 0;
  if (done.opcode == IBV_WC_RECV && !immediate) {
    lent_.push_back(slot);
    *packet = {{rx_memory_[slot], done.byte_len}, false, Duration(), 0};
    return true;
  }
  if (done.opcode == IBV_WC_RECV) {
    // Packets given out in this very call may lie in the one before.
    if (ear.manifest_slot != Ear::kNoSlot) lent_.push_back(ear.manifest_slot);
    ear.manifest_slot = slot;
    ear.manifest_bytes = done.byte_len;
    ear.manifest_number = value;
    return false;
  }
  lent_.push_back(slot);
  if (ear.manifest_slot == Ear::kNoSlot ||
      ear.manifest_number != (value & ((1u << kManifestShift) - 1))) {
    return false;
  }
  std::span<const std::byte> rest(rx_memory_[ear.manifest_slot],
                                  ear.manifest_bytes);
  for (uint32_t place = value >> kManifestShift; !rest.empty(); --place) {
    const auto length = std::to_integer<size_t>(rest.front());
    rest = rest.subspan(1);
    if (length > rest.size()) return false;
    if (place == 0) {
      *packet = {rest.first(length), false, Duration(), done.byte_len};
      return true;
    }
    rest = rest.subspan(length);
  }
  return false;
}

}  // namespace hawser
