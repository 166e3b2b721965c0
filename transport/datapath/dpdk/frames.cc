// Why payload can be lent at all, when it is the application's again after
// Send: a driver that copies into a ring of its own has read it by then. What
// it did not take gets a copy here, after all.
#include "transport/datapath/dpdk/frames.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/base/check.h"
#include "transport/base/random.h"

namespace hawser {
namespace {

// A PlaneAddress of ours: kind, queues, UDP port (2 bytes), IP (4 or 16).
constexpr std::byte kAddressKind{0x64};
constexpr size_t kPortAt = 2;
constexpr size_t kAddressStart = kPortAt + 2;

// Ports that are nobody's by rule (RFC 6335, section 6): the lower half for
// what we receive, a quarter each for what paths come from.
constexpr uint16_t kFirstPort = 49152;
constexpr uint16_t kPorts = 8192;
constexpr uint16_t kFirstEntropy = kFirstPort + kPorts;

std::byte* BytesOf(rte_mbuf* frame) {
  return rte_pktmbuf_mtod(frame, std::byte*);
}

void LeaveIt(void*, void*) {}  // What is lent is not ours to free.

}  // namespace

std::unique_ptr<DpdkDatapath> DpdkDatapath::Create(const DpdkOptions& options,
                                                   std::string* error) {
  if (options.entropies < 1 || options.entropies > kPorts ||
      options.max_packet_bytes < PlaneAddress::kLeastPacketBytes ||
      options.queues < 1 || options.queues > Steering::kMostQueues) {
    *error =
        "1 to 8192 entropies, packets of 256 bytes at least and 1 to 16 "
        "queues, please";
    return nullptr;
  }
  // A frame that waits, or has a lent payload, is up to two buffers.
  static_assert(PortQueue::kHeld >= 3 * kSlots + 4 * kBatch);
  auto queue = PortQueue::Take(options.port, options.queues, error);
  if (queue == nullptr) return nullptr;
  auto plane = std::unique_ptr<DpdkDatapath>(
      new DpdkDatapath(options, std::move(queue)));
  if (!plane->Open(error)) return nullptr;
  return plane;
}

DpdkDatapath::DpdkDatapath(const DpdkOptions& options, PortQueue::Holder queue)
    : options_(options),
      queue_(std::move(queue)),
      steering_(queue_->steering()),
      // What still comes for an earlier plane of the port is foreign; and no
      // two queues have the same.
      udp_port_(static_cast<uint16_t>(
          kFirstPort +
          (Mix64(static_cast<uint64_t>(getpid())) +
           queue_->owners() * Steering::kMostQueues + queue_->index()) %
              kPorts)),
      neighbours_(queue_->port().mac(), options.port.vlan,
                  options.port.address.address),
      now_(PortNow()) {
  for (rte_mbuf_ext_shared_info& loan : loans_) loan.free_cb = &LeaveIt;
}

DpdkDatapath::~DpdkDatapath() {
  const PortQueue::Turn turn(*queue_);
  // Nobody hands anything over after this; what is left, the next one drops.
  steering_.OnListening(queue_->index(), 0);
  while (!waiting_.empty()) rte_pktmbuf_free(waiting_.Pop());
  for (const Held& one : held_) rte_pktmbuf_free(one.frame);
  while (!looped_.empty()) rte_pktmbuf_free(looped_.Pop());
  while (!ready_.empty()) rte_pktmbuf_free(ready_.Pop().frame);
  for (rte_mbuf* frame : lent_) rte_pktmbuf_free(frame);
}

bool DpdkDatapath::Open(std::string* error) {
  if (!bell_.Make(error)) return false;
  std::vector<int> descriptors = queue_->descriptors();
  const int handed = steering_.descriptor(queue_->index());
  if (handed >= 0) descriptors.push_back(handed);
  for (const int fd : descriptors) {
    if (!bell_.Watch(fd)) {
      *error = "a driver's socket cannot be waited for";
      return false;
    }
  }
  if (queue_->interrupt() >= 0 && !bell_.WatchEdges(queue_->interrupt())) {
    *error = "the port's interrupt cannot be waited for";
    return false;
  }
  const IpAddress& ip = options_.port.address.address;
  const auto headers =
      static_cast<uint32_t>((ip.is_v4() ? kIpv4Bytes : kIpv6Bytes) + kUdpBytes);
  address_.length = static_cast<uint8_t>(kAddressStart + ip.length);
  address_.max_packet_bytes =
      std::min(queue_->port().mtu() - headers, options_.max_packet_bytes);
  address_.bytes[0] = kAddressKind;
  address_.bytes[1] = static_cast<std::byte>(queue_->port().queues());
  std::memcpy(address_.bytes.data() + kPortAt, &udp_port_, 2);
  std::memcpy(address_.bytes.data() + kAddressStart, ip.bytes.data(),
              ip.length);
  filter_ = {queue_->port().mac(), options_.port.vlan, ip, udp_port_};
  untagged_ = filter_;
  untagged_.vlan = kNoVlan;
  for (const auto& [known, mac] : options_.port.neighbours) {
    neighbours_.AddKnown(known, mac);
  }
  held_.reserve(kSlots);
  lent_.reserve(kBatch);
  const PortQueue::Turn turn(*queue_);
  while (rte_mbuf* const stale = steering_.Take(queue_->index())) {
    rte_pktmbuf_free(stale);
  }
  queue_->Listen(options_.port, udp_port_);
  SetBell(/*received=*/false, now_);
  return true;
}

// --- Peers -----------------------------------------------------------------

bool DpdkDatapath::OpenPeer(PeerId id, const PlaneAddress& there) {
  const PortQueue::Turn turn(*queue_);
  HAWSER_CHECK(id != kNoPeer);
  ClosePeer(id);
  const DpdkPort& port = options_.port;
  const IpAddress& own = port.address.address;
  if (there.length != kAddressStart + own.length ||
      there.bytes[0] != kAddressKind ||
      there.max_packet_bytes < PlaneAddress::kLeastPacketBytes ||
      there.max_packet_bytes > PlaneAddress::kMostPacketBytes) {
    return false;
  }
  // The driver itself would take one queue for another.
  if (queue_->port().pairs_queues() &&
      std::to_integer<uint16_t>(there.bytes[1]) != queue_->port().queues()) {
    return false;
  }
  Peer peer;
  peer.open = true;
  peer.ip.length = own.length;
  std::memcpy(&peer.port, there.bytes.data() + kPortAt, 2);
  std::memcpy(peer.ip.bytes.data(), there.bytes.data() + kAddressStart,
              own.length);
  peer.max_packet_bytes =
      std::min(address_.max_packet_bytes, there.max_packet_bytes);
  if (!peer.ip.is_unicast() || peer.port == 0) return false;
  peer.is_self = peer.ip == own;
  // No port sends to itself; what it would have to be sent is given back here,
  // or handed to the engine that it is for.
  if (peer.is_self) {
    const auto queue = steering_.QueueOf(peer.port);
    if (!queue) return false;
    peer.queue = *queue;
  }
  if (!peer.is_self) {
    const bool near = port.address.Contains(peer.ip);
    if (!near && !port.gateway) return false;
    peer.neighbour = neighbours_.Add(near ? peer.ip : *port.gateway, PortNow());
  }
  MakeHeader(peer);
  if (id.value >= peers_.size()) peers_.resize(id.value + size_t{1});
  peers_[id.value] = peer;
  LookAfter(PortNow());
  return true;
}

void DpdkDatapath::MakeHeader(Peer& peer) {
  Route route;
  route.from_mac = queue_->port().mac();
  const MacAddress* const mac =
      peer.is_self ? &route.from_mac : neighbours_.Find(peer.neighbour);
  if (mac != nullptr) route.to_mac = *mac;
  route.vlan = options_.port.vlan;
  route.from = options_.port.address.address;
  route.to = peer.ip;
  route.to_port = peer.port;
  route.traffic_class = options_.traffic_class;
  peer.header = FrameHeader(route);
}

void DpdkDatapath::ClosePeer(PeerId id) {
  const PortQueue::Turn turn(*queue_);
  if (!IsOpen(id)) return;
  peers_[id.value].open = false;
  std::erase_if(held_, [&](const Held& one) {
    if (one.peer == id) Drop(one.frame);
    return one.peer == id;
  });
}

uint32_t DpdkDatapath::max_packet_bytes(PeerId peer) const {
  return IsOpen(peer) ? peers_[peer.value].max_packet_bytes : 0;
}

DatapathCounts DpdkDatapath::counts() const {
  DatapathCounts counts = counts_;
  queue_->AddTo(&counts);
  return counts;
}

// --- Sending ---------------------------------------------------------------

size_t DpdkDatapath::tx_room() const {
  const size_t taken = waiting_.size() + held_.size() + looped_.size();
  return kSlots - std::min<size_t>(taken, kSlots);
}

void DpdkDatapath::Drop(rte_mbuf* frame) {
  rte_pktmbuf_free(frame);
  ++counts_.sends_dropped;
}

void DpdkDatapath::Send(std::span<const TxPacket> batch) {
  const PortQueue::Turn turn(*queue_);
  HAWSER_CHECK(batch.size() <= tx_room());
  const bool may_lend = queue_->port().reads_at_once();
  for (const TxPacket& packet : batch) {
    HAWSER_CHECK(packet.entropy < options_.entropies);
    if (!IsOpen(packet.peer)) {
      ++counts_.sends_dropped;
      continue;
    }
    const Peer& peer = peers_[packet.peer.value];
    const bool known =
        peer.is_self || neighbours_.Find(peer.neighbour) != nullptr;
    const bool leaves = known && !peer.is_self;
    if ((leaves && down_) || (!known && neighbours_.silent(peer.neighbour))) {
      ++counts_.sends_dropped;
      continue;
    }
    rte_mbuf* const frame = MakeFrame(peer, packet, may_lend && leaves);
    if (frame == nullptr) {
      ++counts_.sends_dropped;
    } else if (leaves) {
      waiting_.Push(frame);
    } else if (peer.is_self && peer.queue != queue_->index()) {
      if (!steering_.Hand(queue_->index(), peer.queue, frame)) Drop(frame);
    } else if (peer.is_self) {
      looped_.Push(frame);
    } else {
      held_.push_back({frame, packet.peer});
      ++counts_.sends_deferred;
    }
  }
  SendWaiting();
  // What waits may have nobody else to fetch it.
  if (!looped_.empty()) bell_.Keep(true);
  if (!waiting_.empty()) {
    pause_ = kFirstLook;
    SetBell(/*received=*/false, PortNow());
  }
}

rte_mbuf* DpdkDatapath::MakeFrame(const Peer& peer, const TxPacket& packet,
                                  bool may_lend) {
  const size_t payload_bytes = packet.header.size() + packet.payload.length;
  HAWSER_CHECK(payload_bytes <= address_.max_packet_bytes);
  rte_mbuf* const frame = queue_->Alloc();
  if (frame == nullptr) return nullptr;
  const bool lends = may_lend && packet.payload.length >= kLeastLentBytes;
  const size_t headers = peer.header.size();
  std::byte* const start = BytesOf(frame);
  std::byte* const body = start + headers;
  std::byte* rest = std::copy(packet.header.begin(), packet.header.end(), body);
  if (!lends) {
    rest = std::copy_n(packet.payload.data, packet.payload.length, rest);
  }
  frame->data_len = static_cast<uint16_t>(rest - start);
  frame->pkt_len = frame->data_len;

  ChecksumBy by = peer.header.ChecksumsBy(queue_->port().checksum_by());
  if (peer.is_self) by = ChecksumBy::kUs;
  ChecksumPart sum;
  if (by == ChecksumBy::kUs) {
    sum = SumOf({body, rest});
    if (lends) {
      const ChecksumPart lent =
          SumOf({packet.payload.data, packet.payload.length});
      sum = sum + (packet.header.size() % 2 == 0 ? lent : AfterOdd(lent));
    }
  } else if (by == ChecksumBy::kPort) {
    frame->l2_len = peer.header.ethernet_bytes();
    frame->l3_len = peer.header.is_v4() ? kIpv4Bytes : kIpv6Bytes;
    frame->ol_flags |=
        RTE_MBUF_F_TX_UDP_CKSUM |
        (peer.header.is_v4() ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM
                             : RTE_MBUF_F_TX_IPV6);
  }
  peer.header.Write(static_cast<uint16_t>(kFirstEntropy + packet.entropy),
                    payload_bytes, by, sum, start);
  return lends ? LendPayload(frame, packet.payload) : frame;
}

rte_mbuf* DpdkDatapath::LendPayload(rte_mbuf* frame,
                                    const MemorySlice& payload) {
  rte_mbuf* const part = queue_->Alloc();
  if (part == nullptr) {
    rte_pktmbuf_free(frame);
    return nullptr;
  }
  rte_mbuf_ext_shared_info& loan = loans_[next_loan_++ % kLoans];
  rte_mbuf_ext_refcnt_set(&loan, 1);
  rte_pktmbuf_attach_extbuf(part, payload.data, RTE_BAD_IOVA,
                            static_cast<uint16_t>(payload.length), &loan);
  part->data_off = 0;
  part->data_len = static_cast<uint16_t>(payload.length);
  frame->next = part;
  frame->nb_segs = 2;
  frame->pkt_len += part->data_len;
  return frame;
}

// A frame in one buffer, for one with lent payload.
rte_mbuf* DpdkDatapath::WithOwnBytes(rte_mbuf* frame) {
  rte_mbuf* const part = frame->next;
  if (part == nullptr) return frame;
  std::byte* const end = BytesOf(frame) + frame->data_len;
  std::memcpy(end, BytesOf(part), part->data_len);
  frame->data_len = static_cast<uint16_t>(frame->data_len + part->data_len);
  frame->next = nullptr;
  frame->nb_segs = 1;
  rte_pktmbuf_free(part);
  return frame;
}

void DpdkDatapath::SendWaiting() {
  std::array<rte_mbuf*, kBatch> batch;
  while (!waiting_.empty()) {
    const auto count =
        static_cast<uint16_t>(std::min<size_t>(waiting_.size(), kBatch));
    for (size_t i = 0; i < count; ++i) {
      batch[i] = waiting_[waiting_.begin() + i];
    }
    const uint16_t taken = queue_->Send(batch.data(), count);
    for (size_t i = 0; i < taken; ++i) waiting_.Pop();
    if (taken < count) break;
  }
  for (uint64_t i = waiting_.begin(); i < waiting_.end(); ++i) {
    if (waiting_[i]->nb_segs == 1) continue;
    waiting_[i] = WithOwnBytes(waiting_[i]);
    ++counts_.sends_deferred;
  }
}

// --- Neighbours and the link -----------------------------------------------

void DpdkDatapath::LookAfter(Time now) {
  now_ = now;
  if (now - link_asked_ >= kLinkPause) {
    link_asked_ = now;
    const bool was_down = std::exchange(down_, !queue_->CheckUp(now));
    if (down_ && !was_down) {
      while (!waiting_.empty()) Drop(waiting_.Pop());
    }
    // Who is there now may be somebody else.
    if (was_down && !down_) neighbours_.AskAgain(now);
  }
  if (!down_) SendNeighbourFrames(now);
  // Another engine may have passed an answer on before we saw the link: what
  // waits for it leaves then.
  if (!down_ && news_ != neighbours_.changes()) OnNews();
  std::erase_if(held_, [&](const Held& one) {
    const bool silent = neighbours_.silent(peers_[one.peer.value].neighbour);
    if (silent) Drop(one.frame);
    return silent;
  });
}

void DpdkDatapath::OnNews() {
  news_ = neighbours_.changes();
  for (Peer& peer : peers_) {
    if (peer.open) MakeHeader(peer);
  }
  std::erase_if(held_, [&](const Held& one) {
    const MacAddress* const mac =
        neighbours_.Find(peers_[one.peer.value].neighbour);
    if (mac == nullptr) return false;
    std::memcpy(BytesOf(one.frame), mac->bytes.data(), mac->bytes.size());
    waiting_.Push(one.frame);
    return true;
  });
  SendWaiting();
}

void DpdkDatapath::SendNeighbourFrames(Time now) {
  while (waiting_.size() < kSlots && neighbours_.deadline() <= now) {
    rte_mbuf* const frame = queue_->Alloc();
    if (frame == nullptr) return;
    const size_t bytes = neighbours_.TakeFrame(
        now, {BytesOf(frame), Neighbours::kMaxFrameBytes});
    frame->data_len = static_cast<uint16_t>(bytes);
    frame->pkt_len = frame->data_len;
    waiting_.Push(frame);
  }
  SendWaiting();
}

// --- Receiving -------------------------------------------------------------

size_t DpdkDatapath::Receive(std::span<RxPacket> out) {
  const PortQueue::Turn turn(*queue_);
  HAWSER_CHECK(out.empty() || lent_.empty());
  if (std::exchange(awaits_, false)) steering_.OnAwake(queue_->index());
  if (std::exchange(armed_, false)) queue_->Disarm();
  LookAfter(PortNow());
  if (!waiting_.empty()) SendWaiting();
  const size_t given = Fill(out);
  // An answer that is due goes at once; who asked for it waits.
  if (neighbours_.deadline() <= now_ || news_ != neighbours_.changes()) {
    LookAfter(now_);
  }
  SetBell(given > 0, now_);
  return given;
}

size_t DpdkDatapath::Fill(std::span<RxPacket> out) {
  if (out.empty()) LookIntoPort();
  size_t given = 0;
  while (given < out.size() && !ready_.empty()) {
    Arrival arrival = ready_.Pop();
    // Until now, and not until it was looked into.
    arrival.packet.waited = queue_->Waited(arrival.frame, now_);
    lent_.push_back(arrival.frame);
    out[given++] = arrival.packet;
  }
  while (given < out.size() && !looped_.empty()) {
    rte_mbuf* const frame = looped_.Pop();
    if (!Understand(frame, /*handed=*/true, &out[given])) continue;
    lent_.push_back(frame);
    ++given;
  }
  std::array<rte_mbuf*, kBatch> frames;
  size_t left = out.size() * kForeignPerPacket;
  while (given < out.size() && left > 0) {
    const Taken taken = TakeFrames(
        frames.data(), std::min({out.size() - given, frames.size(), left}));
    for (size_t i = 0; i < taken.all; ++i) {
      if (!Understand(frames[i], i < taken.handed, &out[given])) continue;
      lent_.push_back(frames[i]);
      ++given;
    }
    if (!taken.more) break;
    left -= taken.all;
  }
  return given;
}

// So that the bell can tell what is for us from what is not. True: there may be
// more.
bool DpdkDatapath::LookIntoPort() {
  if (!ready_.empty()) return true;
  std::array<rte_mbuf*, kBatch> frames;
  const Taken taken = TakeFrames(frames.data(), kBatch);
  for (size_t i = 0; i < taken.all; ++i) {
    Arrival arrival{frames[i], {}};
    if (Understand(frames[i], i < taken.handed, &arrival.packet)) {
      ready_.Push(arrival);
    }
  }
  return taken.more;
}

// Half for each: whoever gets more from others than it can take would never
// look into its own queue, where there are others' frames, too.
DpdkDatapath::Taken DpdkDatapath::TakeFrames(rte_mbuf** frames, size_t count) {
  Taken taken;
  const size_t share = steering_.queues() > 1 ? (count + 1) / 2 : 0;
  while (taken.handed < share) {
    rte_mbuf* const frame = steering_.Take(queue_->index());
    if (frame == nullptr) break;
    frames[taken.handed++] = frame;
  }
  taken.all = taken.handed;
  if (taken.all < count && !(down_ && queue_->port().calls())) {
    taken.all += queue_->Receive(frames + taken.all,
                                 static_cast<uint16_t>(count - taken.all));
  }
  taken.more = taken.all == count || (share > 0 && taken.handed == share);
  return taken;
}

// False: it was not for those who receive, and is gone.
bool DpdkDatapath::Understand(rte_mbuf* frame, bool handed, RxPacket* packet) {
  ParsedFrame parsed;
  parsed.kind = FrameKind::kMalformed;
  constexpr uint64_t kGood =
      RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  const bool stripped = (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
  if (stripped && (frame->vlan_tci & 0x0fff) != filter_.vlan) {
    parsed.kind = FrameKind::kForeign;
  } else if (rte_pktmbuf_linearize(frame) == 0) {
    parsed = ParseFrame({BytesOf(frame), frame->data_len},
                        stripped ? untagged_ : filter_,
                        (frame->ol_flags & kGood) == kGood);
  } else {
    ++counts_.truncated;
  }
  switch (parsed.kind) {
    case FrameKind::kDatagram:
      *packet = {parsed.payload, parsed.ce, queue_->Waited(frame, now_)};
      return true;
    case FrameKind::kArp:
    case FrameKind::kNeighbour:
      neighbours_.OnFrame(parsed, now_);
      if (!handed) TellOthers(parsed, frame);
      break;
    case FrameKind::kForeign:
      if (!handed && HandOver(frame, parsed.to_port)) return false;
      ++counts_.frames_foreign;
      break;
    case FrameKind::kFragment:
      ++counts_.frames_fragmented;
      break;
    case FrameKind::kMalformed:
      ++counts_.frames_malformed;
      break;
    case FrameKind::kBadChecksum:
      ++counts_.frames_damaged;
      break;
  }
  rte_pktmbuf_free(frame);
  return false;
}

bool DpdkDatapath::HandOver(rte_mbuf* frame, uint16_t udp_port) {
  const auto to = steering_.QueueOf(udp_port);
  if (!to || *to == queue_->index()) return false;
  if (steering_.Hand(queue_->index(), *to, frame)) {
    ++counts_.frames_handed_over;
  } else {
    ++counts_.port_missed;
    rte_pktmbuf_free(frame);
  }
  return true;
}

// A neighbour's answer comes by one queue, whoever has asked. Its questions are
// answered here, and by nobody else.
void DpdkDatapath::TellOthers(const ParsedFrame& parsed, rte_mbuf* frame) {
  if (steering_.queues() == 1 || !Neighbours::IsAnswer(parsed)) return;
  for (uint16_t to = 0; to < steering_.queues(); ++to) {
    if (to == queue_->index() || !steering_.listens(to)) continue;
    rte_mbuf* const copy = queue_->Copy(frame);
    if (copy != nullptr && !steering_.Hand(queue_->index(), to, copy)) {
      rte_pktmbuf_free(copy);
    }
  }
}

void DpdkDatapath::Recycle() {
  if (lent_.empty()) return;
  const PortQueue::Turn turn(*queue_);
  rte_pktmbuf_free_bulk(lent_.data(), static_cast<unsigned>(lent_.size()));
  lent_.clear();
}

// What comes after it was armed is called, and what came before is found here:
// the order that every NIC needs (DPDK's l3fwd-power has the same).
void DpdkDatapath::Await() {
  const bool interrupts = queue_->interrupt() >= 0 && !down_;
  if (awaits_ || (steering_.queues() == 1 && !interrupts)) return;
  const PortQueue::Turn turn(*queue_);
  awaits_ = true;
  steering_.OnAwaiting(queue_->index());
  if (interrupts) {
    armed_ = true;
    bell_.Forget();
    queue_->Arm();
  }
  const bool more = LookIntoPort();
  SetBell(/*received=*/false, PortNow());
  if (more) bell_.Keep(true);
}

void DpdkDatapath::SetBell(bool received, Time now) {
  bell_.Keep(!ready_.empty() || !looped_.empty());
  Time when = down_ ? Time::Never() : neighbours_.deadline();
  const bool calls = !queue_->descriptors().empty() || queue_->interrupt() >= 0;
  if (!calls || !waiting_.empty() || down_) {
    // To set a timer is a system call: one that will ring soon, or that rings
    // while packets come, is left alone.
    if (received) pause_ = kFirstLook;
    if (!received && (look_at_ <= now || look_at_ > now + pause_)) {
      look_at_ = now + pause_;
      pause_ = std::min(2 * pause_, kLastLook);
    }
    when = std::min(when, look_at_);
  }
  bell_.Set(when, now);
}

}  // namespace hawser
