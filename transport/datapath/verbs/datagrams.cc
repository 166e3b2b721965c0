// Why datagrams come first: each is one packet on the wire, so what the network
// loses is what we resend, and one queue pair reaches every peer. Why not one
// queue pair with many handles: rxe hashes the pair, and two dozen pairs per
// plane, whatever the number of peers, cost no device anything.
//
// The receive buffer begins with 40 bytes that hold the packet's IP header
// (InfiniBand Architecture Specification, annex A17.4.5.2): an IPv6 header, or
// an IPv4 header in the last 20 of them. Where the device fills it in, the ECN
// bits are there. What does not look like a header to us is not believed.
#include "transport/datapath/verbs/datagrams.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/check.h"
#include "transport/datapath/verbs/ports.h"
#include "transport/datapath/verbs/probe.h"

namespace hawser {
namespace {

constexpr uint32_t kGrhBytes = 40;

// A PlaneAddress of ours: kind, LID (2 bytes), queue pair (4), GID (16).
constexpr std::byte kAddressKind{0x75};
constexpr size_t kAddressBytes = 1 + 2 + 4 + 16;
constexpr uint32_t kMinPacketBytes = 256;

// A send queue's completion says up to where in it all has left.
constexpr int kSenderShift = 48;

}  // namespace

std::unique_ptr<VerbsDatapath> VerbsDatapath::Create(
    const VerbsOptions& options, std::string* error, std::string* choice) {
  auto plane = std::unique_ptr<VerbsDatapath>(new VerbsDatapath(options));
  if (!plane->Open(error, choice)) return nullptr;
  return plane;
}

VerbsDatapath::~VerbsDatapath() {
  peers_.clear();  // And with them all lanes and ears.
  idle_lanes_.clear();
  senders_.clear();
  receiver_.reset();
  closed_handles_.clear();
  if (poll_fd_ >= 0) close(poll_fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

bool VerbsDatapath::Open(std::string* error, std::string* choice) {
  if (options_.entropies < 1 || options_.entropies > kMaxPaths ||
      options_.max_packet_bytes < kMinPacketBytes) {
    *error = "1 to 1024 entropies and packets of 256 bytes at least, please";
    return false;
  }
  context_ = OpenVerbsDevice(options_.device, error);
  if (context_ == nullptr) return false;
  ibv_port_attr port = {};
  if (int why = ibv_query_port(context_.get(), options_.port, &port)) {
    *error = VerbsError("cannot ask for the port", why);
    return false;
  }
  if (ibv_query_gid(context_.get(), options_.port, options_.gid_index, &gid_)) {
    *error = VerbsError("cannot ask for the GID", errno);
    return false;
  }
  down_ = port.state != IBV_PORT_ACTIVE;
  mtu_bytes_ = BytesOfMtu(port.active_mtu);
  if (mtu_bytes_ < kMinPacketBytes) {
    *error = "has no MTU";
    return false;
  }
  domain_.reset(ibv_alloc_pd(context_.get()));
  if (domain_ == nullptr) {
    *error = VerbsError("cannot make a protection domain", errno);
    return false;
  }
  lid_ = port.lid;
  mode_ = options_.mode;
  if (mode_ == VerbsMode::kAuto) {
    const VerbsChoice chosen =
        ChooseVerbsMode(context_.get(), domain_.get(),
                        {options_.port, options_.gid_index, options_.software});
    mode_ = chosen.mode;
    *choice = chosen.why;
  }
  channel_.reset(ibv_create_comp_channel(context_.get()));
  if (channel_ == nullptr) {
    *error = VerbsError("cannot make a completion channel", errno);
    return false;
  }
  const uint32_t all_rx = kRxSlots + (has_lanes() ? kEarSlots : 0);
  if (!tx_done_.Make(context_.get(), channel_.get(), 2 * kTxSlots, error) ||
      !rx_done_.Make(context_.get(), channel_.get(), static_cast<int>(all_rx),
                     error) ||
      !tx_memory_.Make(domain_.get(), kTxSlots, mtu_bytes_, error) ||
      !rx_memory_.Make(domain_.get(), all_rx, kGrhBytes + mtu_bytes_, error) ||
      !MakePairs(error) || !MakePoll(error)) {
    return false;
  }

  address_.length = kAddressBytes;
  address_.max_packet_bytes = std::min(mtu_bytes_, options_.max_packet_bytes);
  std::byte* to = address_.bytes.data();
  *to++ = kAddressKind;
  std::memcpy(to, &lid_, 2);
  std::memcpy(to + 2, &receiver_->qp_num, 4);
  std::memcpy(to + 6, gid_.raw, 16);

  MakeCarrier(choice);
  for (uint16_t slot = kTxSlots; slot-- > 0;) free_slots_.push_back(slot);
  used_.reserve(options_.entropies);
  lent_.reserve(all_rx);
  for (uint32_t slot = 0; slot < all_rx; ++slot) {
    (slot < kRxSlots ? idle_ : idle_ears_).push_back(slot);
  }
  PostReceives();
  return true;
}

PairHolder VerbsDatapath::MakePair(uint32_t sends, uint32_t receives,
                                   std::string* error) {
  ibv_qp_init_attr wanted = {};
  wanted.send_cq = tx_done_.get();
  wanted.recv_cq = rx_done_.get();
  wanted.cap.max_send_wr = sends;
  wanted.cap.max_recv_wr = receives;
  wanted.cap.max_send_sge = kPieces;
  wanted.cap.max_recv_sge = 1;
  wanted.cap.max_inline_data = sends > 1 ? kInlineBytes : 0;
  wanted.qp_type = IBV_QPT_UD;
  PairHolder pair(ibv_create_qp(domain_.get(), &wanted));
  if (pair == nullptr && wanted.cap.max_inline_data > 0) {
    wanted.cap.max_inline_data = 0;
    pair.reset(ibv_create_qp(domain_.get(), &wanted));
  }
  if (pair == nullptr) {
    *error = VerbsError("cannot make a queue pair for datagrams", errno);
    return nullptr;
  }
  if (sends > 1) inline_bytes_ = wanted.cap.max_inline_data;
  return Ready(pair.get(), error) ? std::move(pair) : nullptr;
}

bool VerbsDatapath::Ready(ibv_qp* pair, std::string* error) {
  ibv_qp_attr to = {};
  const auto step = [&](ibv_qp_state state, int mask) {
    to.qp_state = state;
    const int why = ibv_modify_qp(pair, &to, mask | IBV_QP_STATE);
    if (why != 0) *error = VerbsError("cannot set a queue pair up", why);
    return why == 0;
  };
  to.port_num = options_.port;
  to.qkey = kQueueKey;
  return step(IBV_QPS_RESET, 0) &&
         step(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY) &&
         step(IBV_QPS_RTR, 0) && step(IBV_QPS_RTS, IBV_QP_SQ_PSN);
}

bool VerbsDatapath::MakePairs(std::string* error) {
  receiver_ = MakePair(1, kRxSlots, error);
  if (receiver_ == nullptr) return false;
  for (uint16_t i = 0; i < options_.entropies; ++i) {
    Sender& sender = *senders_.emplace_back(std::make_unique<Sender>());
    sender.index = i;
    all_senders_.push_back(&sender);
    sender.pair = MakePair(kTxSlots, 1, error);
    if (sender.pair == nullptr) return false;
  }
  if (!has_lanes()) return true;
  ibv_srq_init_attr wanted = {};
  wanted.attr.max_wr = kEarSlots;
  wanted.attr.max_sge = 1;
  heard_.reset(ibv_create_srq(domain_.get(), &wanted));
  if (heard_ == nullptr) {
    *error = VerbsError("cannot make a shared receive queue", errno);
    return false;
  }
  return true;
}

bool VerbsDatapath::MakePoll(std::string* error) {
  poll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  for (const int fd : {channel_->fd, context_->async_fd}) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
  for (const int fd : {channel_->fd, context_->async_fd, wake_fd_}) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (poll_fd_ < 0 || epoll_ctl(poll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
      *error = VerbsError("cannot make an epoll descriptor", errno);
      return false;
    }
  }
  return true;
}

// --- Peers -----------------------------------------------------------------

HandleHolder VerbsDatapath::MakeHandle(const ibv_gid& gid, uint16_t lid,
                                       uint32_t label) {
  ibv_ah_attr to = {};
  to.is_global = 1;
  to.grh.dgid = gid;
  to.grh.flow_label = label;
  to.grh.sgid_index = options_.gid_index;
  to.grh.hop_limit = kHopLimit;
  to.grh.traffic_class =
      static_cast<uint8_t>((options_.traffic_class & ~kEcnBits) | kEct0);
  to.dlid = lid;
  to.sl = options_.service_level;
  to.port_num = options_.port;
  return HandleHolder(ibv_create_ah(domain_.get(), &to));
}

bool VerbsDatapath::OpenPeer(PeerId id, const PlaneAddress& there) {
  HAWSER_CHECK(id != kNoPeer);
  ClosePeer(id);
  if (there.length != kAddressBytes || there.bytes[0] != kAddressKind ||
      there.max_packet_bytes < kMinPacketBytes) {
    return false;
  }
  Peer peer;
  const std::byte* from = there.bytes.data() + 1;
  std::memcpy(&peer.lid, from, 2);
  std::memcpy(&peer.queue_pair, from + 2, 4);
  std::memcpy(peer.gid.raw, from + 6, 16);
  if (IsIpv4(peer.gid) != IsIpv4(gid_)) return false;
  peer.max_packet_bytes =
      std::min(address_.max_packet_bytes, there.max_packet_bytes);
  for (uint32_t i = 0; i < options_.entropies; ++i) {
    // Both ends of a path and all peers of a plane have labels of their own,
    // or a switch would treat what must be spread alike. Never 0: that is for
    // the device to replace.
    const uint32_t label =
        1 + (receiver_->qp_num * 0x9e3779b1u + i) % (kFlowLabels - 1);
    peer.handles.push_back(MakeHandle(peer.gid, peer.lid, label));
    if (peer.handles.back() == nullptr) return false;
  }
  peer.open = true;
  if (id.value >= peers_.size()) peers_.resize(id.value + size_t{1});
  peers_[id.value] = std::move(peer);
  if (has_lanes() && !MakeLanes(id)) {
    ClosePeer(id);
    return false;
  }
  return true;
}

void VerbsDatapath::ClosePeer(PeerId id) {
  if (!IsOpen(id)) return;
  Peer& peer = peers_[id.value];
  peer.open = false;
  std::move(peer.handles.begin(), peer.handles.end(),
            std::back_inserter(closed_handles_));
  peer.handles.clear();
  for (auto& lane : peer.lanes) {
    lane->pair.reset();
    FreeSlots(*lane);
    idle_lanes_.push_back(std::move(lane));
  }
  peer.lanes.clear();
  for (auto& [far_lane, ear] : peer.ears) {
    if (ear.pair != nullptr) ears_.erase(ear.pair->qp_num);
    if (ear.manifest_slot != Ear::kNoSlot) {
      idle_ears_.push_back(ear.manifest_slot);
    }
  }
  peer.ears.clear();
}

uint32_t VerbsDatapath::max_packet_bytes(PeerId peer) const {
  return IsOpen(peer) ? peers_[peer.value].max_packet_bytes : 0;
}

// --- Sending ---------------------------------------------------------------

// A packet with a target may need a slot for its manifest besides.
size_t VerbsDatapath::tx_room() const {
  return has_lanes() ? free_slots_.size() / 2 : free_slots_.size();
}

void VerbsDatapath::Send(std::span<const TxPacket> batch) {
  HAWSER_CHECK(batch.size() <= tx_room());
  for (const TxPacket& packet : batch) {
    HAWSER_CHECK(packet.entropy < senders_.size());
    if (down_ || dead_ || !IsOpen(packet.peer)) {
      ++counts_.sends_dropped;
      continue;
    }
    Lane* lane = FindLane({packet.peer, packet.entropy});
    if (lane != nullptr && lane->state == Lane::State::kOpen) {
      packet.target.key != 0 ? StageWrite(*lane, packet)
                             : StageMessage(*lane, packet);
    } else if (packet.target.key != 0 || senders_[packet.entropy]->broken) {
      ++counts_.sends_dropped;
    } else {
      StageDatagram(packet);
      // It may have been asked for before the far side knew of us.
      constexpr uint32_t kPatience = 8;
      if (lane != nullptr && lane->state == Lane::State::kAsked &&
          ++lane->waits % kPatience == 0) {
        Ask(*lane);
      }
    }
  }
  AskForKeys();
  PostUsed();
  ReapSends();
}

void VerbsDatapath::PostUsed() {
  for (Sender* sender : used_) Post(*sender);
  used_.clear();
}

uint16_t VerbsDatapath::TakeSlot(Sender& sender) {
  const uint16_t slot = free_slots_.back();
  free_slots_.pop_back();
  sender.slots.Push(slot);
  pieces_[slot][0] = {reinterpret_cast<uint64_t>(tx_memory_[slot]), 0,
                      tx_memory_.local_key()};
  requests_[slot] = {};
  requests_[slot].sg_list = pieces_[slot].data();
  requests_[slot].num_sge = 1;
  requests_[slot].opcode = IBV_WR_SEND;
  requests_[slot].wr_id =
      uint64_t{sender.index} << kSenderShift | sender.slots.end();
  return slot;
}

void VerbsDatapath::Chain(Sender& sender, uint16_t slot) {
  ibv_send_wr& request = requests_[slot];
  if (sender.first == nullptr) {
    sender.first = &request;
    used_.push_back(&sender);
  } else {
    sender.last->next = &request;
  }
  sender.last = &request;
}

void VerbsDatapath::StageDatagram(const TxPacket& packet) {
  const Peer& peer = peers_[packet.peer.value];
  Sender& sender = *senders_[packet.entropy];
  const uint16_t slot = TakeSlot(sender);
  ibv_send_wr& request = requests_[slot];
  if (!Fill(slot, packet)) ++counts_.sends_dropped;
  TryInline(slot);
  request.wr.ud.ah = peer.handles[packet.entropy].get();
  request.wr.ud.remote_qpn = peer.queue_pair;
  request.wr.ud.remote_qkey = kQueueKey;
  Chain(sender, slot);
}

void VerbsDatapath::TryInline(uint16_t slot) {
  ibv_send_wr& request = requests_[slot];
  const bool fits =
      request.num_sge == 1 && pieces_[slot][0].length <= inline_bytes_;
  request.send_flags = fits ? IBV_SEND_INLINE : 0;
}

// A packet whose memory has gone becomes its header alone, which says nothing.
bool VerbsDatapath::Fill(uint16_t slot, const TxPacket& packet) {
  const auto header_bytes = static_cast<uint32_t>(packet.header.size());
  HAWSER_CHECK(header_bytes + packet.payload.length <=
               address_.max_packet_bytes);
  std::byte* const rest =
      std::copy(packet.header.begin(), packet.header.end(), tx_memory_[slot]);
  ibv_sge& header = pieces_[slot][0];
  header.length = header_bytes;
  if (packet.payload.length == 0) return true;
  if (!IsGpu(packet.payload.key)) {
    std::copy_n(packet.payload.data, packet.payload.length, rest);
    header.length += packet.payload.length;
    return true;
  }
  const auto region = regions_.find(packet.payload.key);
  if (region == regions_.end()) return false;
  pieces_[slot][1] = {reinterpret_cast<uint64_t>(packet.payload.data),
                      packet.payload.length, region->second.local};
  requests_[slot].num_sge = kPieces;
  return true;
}

void VerbsDatapath::Post(Sender& sender) {
  if (sender.first == nullptr) return;
  // The last of a batch speaks for all before it.
  sender.last->send_flags |= IBV_SEND_SIGNALED;
  ibv_send_wr* refused = nullptr;
  // From the first refused one on, nothing was taken, and those before it may
  // have nobody to speak for them: the whole queue starts anew.
  if (ibv_post_send(sender.pair.get(), sender.first, &refused) != 0) {
    OnPostFailed(sender);
  }
  sender.first = sender.last = nullptr;
}

void VerbsDatapath::OnPostFailed(Sender& sender) {
  sender.broken = true;
  if (sender.is_lane) {
    static_cast<Lane&>(sender).state = Lane::State::kBroken;
    return;  // Whoever uses it will see to its burial.
  }
  ibv_qp_attr to = {};
  to.qp_state = IBV_QPS_ERR;
  ibv_modify_qp(sender.pair.get(), &to, IBV_QP_STATE);
  Repair(sender);
}

void VerbsDatapath::ReapSends() {
  // What was given up has no slot any more, and may complete all the same.
  if (free_slots_.size() == kTxSlots && !gave_up_ && closed_handles_.empty()) {
    return;
  }
  gave_up_ = false;
  while (const size_t count = tx_done_.Poll(polled_)) {
    for (size_t i = 0; i < count; ++i) OnSent(polled_[i]);
    if (count < polled_.size()) break;
  }
  if (free_slots_.size() == kTxSlots) closed_handles_.clear();
}

void VerbsDatapath::OnSent(const ibv_wc& done) {
  Sender& sender = *all_senders_[done.wr_id >> kSenderShift];
  const uint64_t end = done.wr_id & ((uint64_t{1} << kSenderShift) - 1);
  const bool given_up = sender.slots.begin() >= end;
  while (sender.slots.begin() < end) {
    free_slots_.push_back(sender.slots.Pop());
    if (done.status != IBV_WC_SUCCESS) ++counts_.sends_dropped;
  }
  if (sender.is_lane) {
    // Of an earlier generation: its slots are free already.
    const bool stale = static_cast<uint32_t>(done.qp_num) !=
                       (sender.pair ? sender.pair->qp_num : 0);
    if (done.status != IBV_WC_SUCCESS && !stale) {
      static_cast<Lane&>(sender).state = Lane::State::kBroken;
    }
    return;
  }
  if (done.status != IBV_WC_SUCCESS && !given_up) sender.broken = true;
  // After an error all that was posted comes back, and then it can begin anew.
  if (sender.broken && sender.slots.empty()) Repair(sender);
}

void VerbsDatapath::Repair(Sender& sender) {
  std::string ignored;
  sender.broken = !Ready(sender.pair.get(), &ignored);
  FreeSlots(sender);  // RESET has forgotten them.
}

// --- Receiving -------------------------------------------------------------

size_t VerbsDatapath::Receive(std::span<RxPacket> out) {
  HAWSER_CHECK(!lending_);
  ReapSends();
  size_t given = 0;
  const auto take = [&](std::span<const ibv_wc> done) {
    for (const ibv_wc& one : done) {
      const auto slot = static_cast<uint32_t>(one.wr_id);
      // Receiving fails only when all of it does, and then for good.
      if (one.status != IBV_WC_SUCCESS) {
        dead_ |= slot < kRxSlots;
        if (slot >= kRxSlots) lent_.push_back(slot);
        continue;
      }
      if (slot >= kRxSlots) {
        given += OnHeard(one, slot, &out[given]);
        continue;
      }
      lent_.push_back(slot);
      if (one.byte_len < kGrhBytes) continue;
      const std::byte* const at = rx_memory_[slot];
      const std::span bytes(at + kGrhBytes, one.byte_len - kGrhBytes);
      if ((one.wc_flags & IBV_WC_WITH_IMM) != 0) {
        if (has_lanes() && one.imm_data == htobe32(kControlMark)) {
          OnControlDatagram(bytes);
        }
        continue;
      }
      RxPacket& packet = out[given++];
      packet = {bytes, MarkedCe(at, one), Duration(), 0};
    }
  };
  if (out.empty()) return 0;
  while (early_begin_ < early_end_ && given < out.size()) {
    take({&early_[early_begin_++], 1});
  }
  drained_ = false;
  while (!drained_ && given < out.size()) {
    const size_t most = std::min(out.size() - given, polled_.size());
    const size_t count = rx_done_.Poll(std::span(polled_).first(most));
    take(std::span(polled_).first(count));
    drained_ = count < most;
  }
  if (std::exchange(awaited_, false) || ++unlooked_ >= kLookEvery) {
    unlooked_ = 0;
    TakeEvents();
  }
  lending_ = given > 0;
  return given;
}

// What is there already makes no event.
void VerbsDatapath::Await() {
  ReapSends();
  bool readable = !drained_ || early_begin_ < early_end_;
  if (!readable) {
    early_begin_ = 0;
    early_end_ = rx_done_.Arm(early_);
    readable = early_end_ > 0;
  }
  if (tx_room() == 0) {
    const size_t count = tx_done_.Arm(polled_);
    for (size_t i = 0; i < count; ++i) OnSent(polled_[i]);
    readable |= tx_room() > 0;
  }
  if (carrier_ != nullptr && !carrier_->idle()) {
    std::array<ibv_wc, kPolled> done;
    carrier_->OnCompletions(
        std::span(done).first(carrier_->completions().Arm(done)));
    readable |= carrier_->has_done();
  }
  KeepReadable(readable);
  awaited_ = true;
}

void VerbsDatapath::Recycle() {
  lending_ = false;
  for (const uint32_t slot : lent_) {
    if (holding_.contains(slot)) continue;
    (slot < kRxSlots ? idle_ : idle_ears_).push_back(slot);
  }
  lent_.clear();
  PostReceives();
}

void VerbsDatapath::PostReceives() {
  PostReceivesOf(idle_, /*datagrams=*/true);
  PostReceivesOf(idle_ears_, /*datagrams=*/false);
}

void VerbsDatapath::PostReceivesOf(std::vector<uint32_t>& idle,
                                   bool datagrams) {
  constexpr size_t kBatch = 32;
  std::array<ibv_recv_wr, kBatch> requests;
  std::array<ibv_sge, kBatch> pieces;
  while (!idle.empty()) {
    const size_t count = std::min(idle.size(), kBatch);
    for (size_t i = 0; i < count; ++i) {
      const uint32_t slot = idle[idle.size() - 1 - i];
      pieces[i] = {reinterpret_cast<uint64_t>(rx_memory_[slot]),
                   kGrhBytes + mtu_bytes_, rx_memory_.local_key()};
      requests[i] = {slot, i + 1 < count ? &requests[i + 1] : nullptr,
                     &pieces[i], 1};
    }
    ibv_recv_wr* refused = nullptr;
    const int why =
        datagrams ? ibv_post_recv(receiver_.get(), requests.data(), &refused)
                  : ibv_post_srq_recv(heard_.get(), requests.data(), &refused);
    if (why != 0) {
      // They stay idle, and are offered again with the next ones.
      const auto taken = static_cast<size_t>(refused - requests.data());
      idle.resize(idle.size() - taken);
      return;
    }
    idle.resize(idle.size() - count);
  }
}

bool VerbsDatapath::MarkedCe(const std::byte* slot, const ibv_wc& done) const {
  if ((done.wc_flags & IBV_WC_GRH) == 0) return false;
  const auto at = [slot](size_t i) {
    return std::to_integer<unsigned>(slot[i]);
  };
  if (IsIpv4(gid_)) {
    // Version 4, and our own address as the destination.
    return at(20) >> 4 == 4 && std::memcmp(slot + 36, gid_.raw + 12, 4) == 0 &&
           (at(21) & kEcnBits) == kCe;
  }
  return at(0) >> 4 == 6 && std::memcmp(slot + 24, gid_.raw, 16) == 0 &&
         (at(1) >> 4 & kEcnBits) == kCe;
}

// --- Events ----------------------------------------------------------------

void VerbsDatapath::TakeEvents() {
  // One call that mostly finds nothing, instead of one for each descriptor.
  std::array<epoll_event, 3> ready;
  const int count = epoll_wait(poll_fd_, ready.data(), ready.size(), 0);
  for (int i = 0; i < count; ++i) {
    if (ready[i].data.fd == channel_->fd) TakeCompletionEvents();
    if (ready[i].data.fd == context_->async_fd) TakeDeviceEvents();
  }
}

void VerbsDatapath::TakeCompletionEvents() {
  ibv_cq* queue = nullptr;
  void* owner = nullptr;
  while (ibv_get_cq_event(channel_.get(), &queue, &owner) == 0) {
    static_cast<CompletionQueue*>(owner)->OnEvent();
  }
}

void VerbsDatapath::TakeDeviceEvents() {
  ibv_async_event event;
  while (ibv_get_async_event(context_.get(), &event) == 0) {
    switch (event.event_type) {
      case IBV_EVENT_PORT_ERR:
      case IBV_EVENT_PORT_ACTIVE:
      case IBV_EVENT_LID_CHANGE:
      case IBV_EVENT_GID_CHANGE:
        if (event.element.port_num == options_.port) LookAtPort();
        break;
      case IBV_EVENT_QP_FATAL:
      case IBV_EVENT_QP_REQ_ERR:
      case IBV_EVENT_QP_ACCESS_ERR:
        OnPairFailed(event.element.qp);
        break;
      case IBV_EVENT_DEVICE_FATAL:
        dead_ = true;
        break;
      default:
        break;  // What it means for packets, their paths will notice.
    }
    ibv_ack_async_event(&event);
  }
}

// Asked, and not taken from the event: several may be waiting, and the latest
// word counts. An address that has gone may come back, under its old index.
void VerbsDatapath::LookAtPort() {
  ibv_port_attr port = {};
  ibv_gid gid = {};
  down_ = ibv_query_port(context_.get(), options_.port, &port) != 0 ||
          port.state != IBV_PORT_ACTIVE || port.lid != lid_ ||
          ibv_query_gid(context_.get(), options_.port, options_.gid_index,
                        &gid) != 0 ||
          std::memcmp(gid.raw, gid_.raw, sizeof gid.raw) != 0;
}

// Of a lane: whoever uses it will see to its burial. An ear's far end falls
// silent, and is buried from there.
void VerbsDatapath::OnPairFailed(const ibv_qp* pair) {
  for (Sender* sender : all_senders_) {
    if (!sender->is_lane || sender->pair.get() != pair) continue;
    sender->broken = true;
    static_cast<Lane*>(sender)->state = Lane::State::kBroken;
  }
}

void VerbsDatapath::KeepReadable(bool readable) {
  if (readable == kept_readable_) return;
  kept_readable_ = readable;
  uint64_t count = 1;
  // Neither can fail: the count is 0 or 1.
  [[maybe_unused]] const ssize_t done =
      readable ? write(wake_fd_, &count, sizeof count)
               : read(wake_fd_, &count, sizeof count);
}

}  // namespace hawser
