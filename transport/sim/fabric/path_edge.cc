// Admission: a receiver that expects messages from one sender lets it run ahead
// by a few bandwidth-delay products, which never holds it up. As soon as it
// expects them from several it hands out no more than what its own port takes
// in a little over a round trip, in turns: so an incast never stands in a
// queue, whatever its size, and no switch needs to cut a packet. Every packet
// that arrives makes room for the next grant, so grants are paced by the port
// itself, as the pulls of NDP are (Handley et al., SIGCOMM'17); what they are
// worth is bounded as in Homa and EQDS (Olteanu et al., NSDI'22). A grant rides
// on an ack where one is due.
#include "transport/sim/fabric/path_edge.h"

#include <algorithm>
#include <utility>

#include "transport/base/check.h"
#include "transport/spray/schedulers.h"

namespace hawser::sim {
namespace {

// What a timer is about: its high bits.
enum Timer : uint32_t { kBegin = 0, kAckDue = 1u << 30, kLook = 2u << 30 };
constexpr uint32_t kTimerMask = 3u << 30;

// How often the paths of a host that sends are asked for their deadlines.
constexpr Duration kLookEvery = Duration::Micros(5);

// In bandwidth-delay products: how far ahead one sender may be, and all of
// several together.
constexpr double kLoneBdps = 4;
constexpr double kSharedBdps = 1.2;
// Several senders are never given less than this at a time.
constexpr uint64_t kLeastPackets = 1;

// Of an ack on the wire: Ethernet, IPv4 and UDP, the prologue; then a block and
// its words for each path (wire/header.h).
constexpr uint32_t kAckFrameBytes = 46 + wire::kPrologueBytes;
constexpr uint32_t kLeastFrameBytes = 64;

// A host with more peers than this forgets those it is done with.
constexpr size_t kManyPeers = 32;

// A sender that waits for credit, with nothing in flight to remind anybody of
// it, asks after so long, and then after twice as long again: the grant may
// have been lost.
constexpr int64_t kFirstAskRtts = 8;

// After a sign that an ack was lost, so many say everything twice.
constexpr uint32_t kRepeatAcks = 64;

// The last packets of all are waited for so many times less patiently.
constexpr int64_t kLastSlackShare = 2;

// How many other paths are asked where one is silent.
constexpr size_t kWitnesses = 3;

// What sending on it, or an ack, will need.
void FetchBusy(const Path& path) {
  Fetch(reinterpret_cast<const std::byte*>(&path), Path::kBusyBytes);
}

// Of an object of some derived class: about so much.
void FetchBusy(const PathScheduler& scheduler) {
  Fetch(reinterpret_cast<const std::byte*>(&scheduler), 128);
}
void FetchBusy(const CongestionControl& congestion) {
  Fetch(reinterpret_cast<const std::byte*>(&congestion), 256);
}

}  // namespace

PathEdge::PathEdge(Fabric& fabric, Progress& progress,
                   const PathEdgeOptions& options, uint64_t seed)
    : fabric_(fabric),
      progress_(progress),
      options_(options),
      random_(Mix64(seed)),
      payload_bytes_(options.facts.packet_bytes - options.header_bytes),
      most_lone_bytes_(
          static_cast<uint64_t>(kLoneBdps * options.facts.bdp_bytes)),
      most_shared_bytes_(
          static_cast<uint64_t>(kSharedBdps * options.facts.bdp_bytes)),
      least_slack_(options.facts.base_rtt * 3 / 2),
      ack_line_(fabric.LineFor(PicosOf(options.ack_delay))),
      look_line_(fabric.LineFor(PicosOf(kLookEvery))),
      peers_(fabric.topology().hosts()),
      arriving_(progress.workload().messages.size()),
      turns_(fabric.topology().hosts()),
      ahead_(fabric.topology().hosts()),
      looking_(fabric.topology().hosts()),
      ports_(fabric.topology().hosts()) {}

PathEdgeCounts PathEdge::counts() const {
  PathEdgeCounts counts = counts_;
  for (const Sender& sender : senders_) {
    for (const Path& path : sender.paths) {
      counts.spurious += path.counts().packets_spurious;
      counts.suspects += path.counts().times_suspect;
    }
  }
  return counts;
}

// --- Messages ---------------------------------------------------------------

void PathEdge::Start() {
  const auto& messages = progress_.workload().messages;
  // Receives are posted before anything is sent.
  for (uint32_t m = 0; m < messages.size(); ++m) {
    if (messages[m].waits_for == 0 && messages[m].start == 0) Expect(m);
  }
  for (uint32_t m = 0; m < messages.size(); ++m) {
    if (messages[m].waits_for == 0) fabric_.SetTimer(messages[m].start, m);
  }
}

uint32_t PathEdge::PeerFor(const MessagePlan& plan) {
  const uint64_t key = uint64_t{plan.from} << 32 | plan.to;
  const auto [at, is_new] =
      peer_of_.try_emplace(key, static_cast<uint32_t>(senders_.size()));
  if (is_new) {
    senders_.emplace_back();
    senders_.back().from = plan.from;
    senders_.back().to = plan.to;
    senders_.back().background = plan.background;
    receivers_.emplace_back();
    peers_[plan.from].push_back(at->second);
  }
  if (senders_[at->second].paths.empty()) Open(at->second);
  return at->second;
}

void PathEdge::Open(uint32_t peer) {
  Sender& sender = senders_[peer];
  const uint32_t planes = fabric_.topology().planes();
  const uint32_t each = sender.background ? 1 : options_.paths;
  const uint32_t count = each * planes;
  PathFacts facts = options_.facts;
  facts.bdp_bytes /= planes;
  facts.ack_packets = std::max(1.0, 1.0 * options_.ack_every / planes);
  sender.planes.resize(planes);
  for (Plane& plane : sender.planes) {
    plane.scheduler =
        MakeScheduler(sender.background ? "round_robin" : options_.scheduler,
                      static_cast<uint16_t>(count), random_.Next());
    plane.congestion = MakeCongestion(options_.congestion, facts);
    plane.window_bytes = plane.congestion->initial().window_bytes;
  }
  sender.sendable.assign((count + 63) / 64, 0);
  sender.calm_until.assign(count, Time::Never());
  sender.paths.reserve(count);
  Receiver& receiver = receivers_[peer];
  DrawAckEntropies(receiver);
  receiver.trackers.reserve(count);
  receiver.waiting.assign((count + 63) / 64, 0);
  sender.unbound = std::make_shared<Window>();
  for (uint32_t p = 0; p < count; ++p) {
    const PathId id{static_cast<uint16_t>(p)};
    sender.paths.emplace_back(id, sender.unbound, options_.path);
    sender.entropies.push_back(static_cast<uint16_t>(random_.Below(65'536)));
    Refresh(sender, sender.paths.back());
    // When an ack is due is decided here, over all paths.
    receiver.trackers.emplace_back(id, UINT32_MAX, Duration::Seconds(1));
  }
}

// Its receive is posted.
void PathEdge::Expect(uint32_t message) {
  const MessagePlan& plan = progress_.workload().messages[message];
  const uint32_t peer = PeerFor(plan);
  Receiver& receiver = receivers_[peer];
  Port& port = ports_[plan.to];
  Arriving& arriving = arriving_[message];
  arriving.missing =
      static_cast<uint32_t>((plan.bytes + payload_bytes_ - 1) / payload_bytes_);
  arriving.packets.assign((arriving.missing + 63) / 64, 0);
  if (receiver.received_bytes == receiver.expected_bytes) ++port.active;
  receiver.expected_bytes += plan.bytes;
  if (!receiver.in_turn) {
    receiver.in_turn = true;
    port.turn.Push(peer);
  }
}

void PathEdge::Begin(uint32_t message) {
  const MessagePlan& plan = progress_.workload().messages[message];
  if (plan.waits_for > 0 || plan.start > 0) Expect(message);
  const uint32_t peer = PeerFor(plan);
  progress_.OnStarted(message, fabric_.now());
  senders_[peer].messages.Push({message, 0, 0});
  senders_[peer].begun_bytes += plan.bytes;
  senders_[peer].heard = now();
  senders_[peer].ask_pause = kFirstAskRtts * options_.facts.base_rtt;
  Grant(plan.to, peer);
  // A receive that is posted early has told its sender already.
  receivers_[peer].told_bytes = receivers_[peer].granted_bytes;
  senders_[peer].credit_bytes = receivers_[peer].granted_bytes;
  Wake(peer);
  if (!looking_[plan.from]) {
    looking_[plan.from] = true;
    fabric_.SetTimer(look_line_, PicosOf(kLookEvery), kLook | plan.from);
  }
}

// Hands out what the port has to give; `but` need not be told.
void PathEdge::Grant(uint32_t host, uint32_t but) {
  Port& port = ports_[host];
  const bool shared = options_.admission && port.active > 1;
  const uint64_t most = shared ? most_shared_bytes_ : most_lone_bytes_;
  const uint64_t each =
      port.active <= 1 ? most
                       : std::max<uint64_t>(most / port.active,
                                            kLeastPackets * payload_bytes_);
  for (size_t turns = port.turn.size(); turns > 0; --turns) {
    const uint32_t peer = port.turn.front();
    Receiver& receiver = receivers_[peer];
    // A sender completes a packet that its credit reaches into.
    const uint64_t open =
        receiver.granted_bytes -
        std::min(receiver.received_bytes, receiver.granted_bytes);
    const uint64_t wanted = receiver.expected_bytes - receiver.granted_bytes;
    uint64_t grant = open < each ? std::min(each - open, wanted) : 0;
    if (!options_.admission) grant = wanted;
    if (grant > 0 && shared && port.granted_bytes >= most) return;
    port.turn.Pop();
    receiver.granted_bytes += grant;
    port.granted_bytes += grant;
    receiver.in_turn = receiver.granted_bytes < receiver.expected_bytes;
    if (receiver.in_turn) port.turn.Push(peer);
    // Crumbs wait for more, if there will be more.
    const uint64_t untold = receiver.granted_bytes - receiver.told_bytes;
    if (peer != but && untold > 0 &&
        (!receiver.in_turn ||
         untold >= std::min<uint64_t>(each / 2, 4 * payload_bytes_))) {
      SendAcks(peer);
    }
  }
}

// --- Sending ----------------------------------------------------------------

void PathEdge::Refresh(Sender& sender, const Path& path) {
  const uint16_t p = path.id().value;
  const uint64_t bit = uint64_t{1} << p % 64;
  uint64_t& word = sender.sendable[p / 64];
  const bool can = path.CanSend(options_.facts.packet_bytes, now());
  word = can ? word | bit : word & ~bit;
  Time& calm = sender.calm_until[p];
  calm = path.probe_wanted() ? Time() : path.deadline();
  if (path.in_flight_bytes() > 0) {
    const Time oldest = now() - path.silence(now());
    calm =
        std::min(calm, oldest + path.response_rtt().smoothed() + least_slack_);
  }
}

bool PathEdge::HasCargo(const Sender& sender) const {
  return !sender.lost.empty() ||
         sender.cut_bytes < std::min(sender.credit_bytes, sender.begun_bytes);
}

bool PathEdge::HasRoom(const Plane& plane) const {
  return !plane.dark && (plane.in_flight_bytes == 0 ||
                         plane.in_flight_bytes + options_.facts.packet_bytes <=
                             plane.window_bytes);
}

bool PathEdge::MaySend(const Sender& sender) const {
  return HasCargo(sender) &&
         std::any_of(sender.planes.begin(), sender.planes.end(),
                     [&](const Plane& plane) { return HasRoom(plane); });
}

uint32_t PathEdge::in_flight_bytes(const Sender& sender) const {
  uint32_t bytes = 0;
  for (const Plane& plane : sender.planes) bytes += plane.in_flight_bytes;
  return bytes;
}

void PathEdge::Wake(uint32_t peer) {
  Sender& sender = senders_[peer];
  if (!sender.listed && MaySend(sender)) {
    sender.listed = true;
    turns_[sender.from].Push(peer);
  }
  for (uint32_t plane = 0; plane < fabric_.topology().planes(); ++plane) {
    if (fabric_.nic_idle(sender.from, plane)) SendOne(sender.from, plane);
  }
}

void PathEdge::SendOne(uint32_t host, uint32_t plane) {
  Fifo<uint32_t>& turns = turns_[host];
  for (size_t left = turns.size(); left > 0; --left) {
    const uint32_t peer = turns.Pop();
    const Sender& sender = senders_[peer];
    const bool sent = HasCargo(sender) && HasRoom(sender.planes[plane]) &&
                      SendFrom(peer, plane);
    if (MaySend(sender)) {
      turns.Push(peer);
    } else {
      senders_[peer].listed = false;
    }
    if (sent) return NoteAhead(host, plane);
  }
}

// While it is all at hand.
void PathEdge::NoteAhead(uint32_t host, uint32_t plane) {
  const Fifo<uint32_t>& turns = turns_[host];
  if (turns.empty()) return;
  const Sender& sender = senders_[turns.front()];
  if (sender.paths.empty()) return;
  const Plane& its = sender.planes[plane];
  const PathId path = its.scheduler->Likely();
  const size_t p = path != kNoPath ? path.value : 0;
  ahead_[host] = {&sender,
                  &its,
                  its.scheduler.get(),
                  path != kNoPath ? &sender.paths[p] : nullptr,
                  sender.unbound.get(),
                  sender.sendable.data(),
                  &sender.calm_until[p],
                  &sender.entropies[p],
                  &turns.front()};
}

bool PathEdge::SendFrom(uint32_t peer, uint32_t plane) {
  Sender& sender = senders_[peer];
  const size_t planes = sender.planes.size();
  std::span<const uint64_t> sendable = sender.sendable;
  uint64_t of_plane[16];
  if (planes > 1) {
    uint64_t mask = 0;
    for (size_t bit = plane; bit < 64; bit += planes)
      mask |= uint64_t{1} << bit;
    for (size_t w = 0; w < sendable.size(); ++w)
      of_plane[w] = sendable[w] & mask;
    sendable = std::span(of_plane, sendable.size());
  }
  const PathId id =
      sender.planes[plane].scheduler->Pick({sender.paths, sendable}, now());
  if (id == kNoPath) return false;
  FetchBusy(sender.paths[id.value]);
  Fetch(&sender.entropies[id.value]);
  Launch(peer, sender.paths[id.value], NextCargo(sender));
  return true;
}

wire::Cargo PathEdge::NextCargo(Sender& sender) {
  if (!sender.lost.empty()) return sender.lost.Pop();
  for (uint64_t i = 0; i < sender.messages.size(); ++i) {
    Outgoing& outgoing = sender.messages[i];
    const uint64_t bytes =
        progress_.workload().messages[outgoing.message].bytes;
    if (outgoing.cut_bytes == bytes) continue;
    wire::Cargo cargo;
    cargo.message = {outgoing.message};
    cargo.offset = static_cast<uint32_t>(outgoing.cut_bytes);
    cargo.length = static_cast<uint32_t>(
        std::min<uint64_t>(payload_bytes_, bytes - outgoing.cut_bytes));
    outgoing.cut_bytes += cargo.length;
    sender.cut_bytes += cargo.length;
    return cargo;
  }
  HAWSER_CHECK(false);
}

void PathEdge::SendProbe(uint32_t peer, Path& path) {
  wire::Cargo cargo;
  cargo.kind = wire::CargoKind::kProbe;
  ++counts_.probes;
  Launch(peer, path, cargo);
}

void PathEdge::Launch(uint32_t peer, Path& path, const wire::Cargo& cargo) {
  Sender& sender = senders_[peer];
  const PacketIndex index = fabric_.NewPacket();
  Packet& packet = fabric_.packet(index);
  packet.bytes = options_.header_bytes + cargo.length;
  const Path::Numbered numbered = path.Send(cargo, packet.bytes, now());
  PlaneOf(sender, path).in_flight_bytes += packet.bytes;
  packet.number = static_cast<uint32_t>(numbered.number.value);
  packet.open_span = numbered.open_span;
  packet.to = sender.to;
  packet.connection = peer;
  packet.path = path.id().value;
  packet.plane = static_cast<uint8_t>(path.id().value % sender.planes.size());
  packet.message = cargo.message.value;
  packet.offset = cargo.offset;
  packet.length = static_cast<uint16_t>(cargo.length);
  packet.resend = cargo.resend;
  packet.route =
      RouteOf(sender.from, sender.to, sender.entropies[path.id().value]);
  // Nothing follows for now.
  packet.ack_now = !MaySend(sender);
  if (cargo.length > 0) {
    ++counts_.packets;
    counts_.data_bytes += packet.bytes;
    if (cargo.resend) {
      ++counts_.resent;
      counts_.resent_bytes += packet.bytes;
    }
  }
  Refresh(sender, path);
  fabric_.Send(sender.from, index);
}

// --- Receiving --------------------------------------------------------------

void PathEdge::OnArrival(uint32_t, PacketIndex index) {
  const Packet packet = fabric_.packet(index);
  fabric_.Free(index);
  packet.report != 0 ? OnAcks(packet) : OnData(packet);
}

void PathEdge::OnData(const Packet& packet) {
  const uint32_t peer = packet.connection;
  Receiver& receiver = receivers_[peer];
  if (receiver.trackers.empty()) return;  // Of a peer that was done with.
  AckTracker& tracker = receiver.trackers[packet.path];
  wire::PacketHeader header;
  header.number = wire::ExpandNumber(packet.number, 32, tracker.expected());
  header.open_span = packet.open_span;
  header.ack_now = packet.ack_now;
  header.cargo.kind =
      packet.length == 0 ? wire::CargoKind::kProbe : wire::CargoKind::kData;
  const Arrival arrival = tracker.OnPacket(header, packet.marked, now());
  receiver.waiting[packet.path / 64] |= uint64_t{1} << packet.path % 64;
  receiver.plane = packet.plane;
  // Who asks has not heard what was said.
  if (packet.length == 0) OnAckLost(receiver);
  if (receiver.waiting_packets++ == 0) receiver.waiting_since = now();
  Port& port = ports_[packet.to];
  Arriving& arriving = arriving_[packet.message];
  bool whole = false;  // A message is.
  if (arrival == Arrival::kNew && packet.length > 0 &&
      !arriving.packets.empty()) {
    const uint32_t place = packet.offset / payload_bytes_;
    const uint64_t bit = uint64_t{1} << place % 64;
    if ((arriving.packets[place / 64] & bit) == 0) {
      arriving.packets[place / 64] |= bit;
      whole = --arriving.missing == 0;
      receiver.received_bytes += packet.length;
      port.granted_bytes -=
          std::min<uint64_t>(port.granted_bytes, packet.length);
      if (receiver.received_bytes == receiver.expected_bytes) --port.active;
      if (!swallowed_at_.empty()) Recovered(packet);
      if (!port.turn.empty()) Grant(packet.to, kNoPacket);
    } else {
      OnAckLost(receiver);
    }
  }
  if (receiver.waiting_packets == 0) return;  // A grant took them along.
  // Its sender waits to hear that a message is whole.
  if (whole || tracker.deadline() <= now() ||
      receiver.waiting_packets >= options_.ack_every) {
    SendAcks(peer);
  } else if (!receiver.timer) {
    receiver.timer = true;
    fabric_.SetTimer(ack_line_, PicosOf(options_.ack_delay), kAckDue | peer);
  }
}

uint64_t PathEdge::PlaceOf(const Packet& packet) {
  return uint64_t{packet.message} << 32 | packet.offset;
}

void PathEdge::OnSwallowed(const Packet& packet) {
  if (packet.report != 0 || packet.length == 0) return;
  swallowed_at_.try_emplace(PlaceOf(packet), fabric_.now());
}

void PathEdge::Recovered(const Packet& packet) {
  const auto at = swallowed_at_.find(PlaceOf(packet));
  if (at == swallowed_at_.end()) return;
  counts_.longest_recovery =
      std::max(counts_.longest_recovery, fabric_.now() - at->second);
  swallowed_at_.erase(at);
}

void PathEdge::OnAckLost(Receiver& receiver) {
  receiver.repeat_until = receiver.ack_turn + kRepeatAcks;
  DrawAckEntropies(receiver);
}

void PathEdge::DrawAckEntropies(Receiver& receiver) {
  for (uint16_t& entropy : receiver.ack_entropies) {
    entropy = static_cast<uint16_t>(random_.Below(65'536));
  }
}

void PathEdge::SendAcks(uint32_t peer) {
  Receiver& receiver = receivers_[peer];
  const Sender& sender = senders_[peer];
  if (free_reports_.empty()) {
    free_reports_.push_back(static_cast<uint32_t>(reports_.size()));
    reports_.emplace_back();
  }
  const uint32_t index = free_reports_.back();
  free_reports_.pop_back();
  Report& report = reports_[index];
  report.acks.Clear();
  spoken_.assign(receiver.waiting.size(), 0);
  for (size_t w = 0; w < receiver.waiting.size(); ++w) {
    for (uint64_t bits = receiver.waiting[w]; bits != 0; bits &= bits - 1) {
      Fetch(&receiver.trackers[w * 64 +
                               static_cast<size_t>(std::countr_zero(bits))]);
    }
  }
  for (size_t w = 0; w < receiver.waiting.size(); ++w) {
    for (uint64_t bits = receiver.waiting[w]; bits != 0; bits &= bits - 1) {
      const size_t p = w * 64 + static_cast<size_t>(std::countr_zero(bits));
      const auto ack = receiver.trackers[p].TakeAck(now());
      if (!ack) continue;
      report.acks.Add(*ack);
      spoken_[w] |= uint64_t{1} << p % 64;
    }
    receiver.waiting[w] = 0;
  }
  report.news = report.acks.size();
  report.turn = receiver.ack_turn++;
  // Where acks die, what the one before said goes along, by another route.
  for (size_t i = 0;
       i < receiver.said.size() && report.turn < receiver.repeat_until; ++i) {
    wire::Ack ack = receiver.said[i];
    const uint16_t p = ack.path.value;
    if ((spoken_[p / 64] >> p % 64 & 1) != 0) continue;
    ack.held = ack.held + (now() - receiver.said_at);
    report.acks.Add(ack);
  }
  receiver.said.Copy(report.acks, report.news);
  receiver.said_at = now();
  const auto bytes = static_cast<uint32_t>(
      kAckFrameBytes + wire::kAckBlockBytes * report.acks.size() +
      8 * report.acks.words());
  receiver.waiting_packets = 0;
  report.granted_bytes = receiver.told_bytes = receiver.granted_bytes;
  const PacketIndex ack = fabric_.NewPacket();
  Packet& packet = fabric_.packet(ack);
  packet.bytes = std::max(bytes, kLeastFrameBytes);
  packet.control = true;
  packet.to = sender.from;
  packet.connection = peer;
  packet.report = index + 1;
  packet.plane = receiver.plane;
  packet.route = RouteOf(
      sender.to, packet.to,
      receiver.ack_entropies[report.turn % receiver.ack_entropies.size()]);
  ++counts_.acks;
  counts_.ack_bytes += packet.bytes;
  fabric_.Send(sender.to, ack);
}

void PathEdge::OnAcks(const Packet& packet) {
  const uint32_t peer = packet.connection;
  const uint32_t index = packet.report - 1;
  Sender& sender = senders_[peer];
  sender.heard = now();
  if (reports_[index].granted_bytes > sender.credit_bytes) {
    sender.credit_bytes = reports_[index].granted_bytes;
    sender.ask_pause = kFirstAskRtts * options_.facts.base_rtt;
  }
  // Who has heard the ack before needs no repetition.
  const bool missed = reports_[index].turn != sender.next_turn;
  sender.next_turn = reports_[index].turn + 1;
  if (!sender.paths.empty()) {
    const size_t acks =
        missed ? reports_[index].acks.size() : reports_[index].news;
    for (size_t i = 0; i < acks; ++i) {
      const AckList& said = reports_[index].acks;
      Fetch(sender.paths[said.path(i).value].place(said.largest(i)));
    }
    for (size_t i = 0; i < acks; ++i) {
      const wire::Ack ack = reports_[index].acks[i];
      Path& path = sender.paths[ack.path.value];
      Plane& plane = PlaneOf(sender, path);
      const uint32_t in_flight_bytes = plane.in_flight_bytes;
      const uint32_t path_bytes = path.in_flight_bytes();
      const AckSummary summary = path.OnAck(ack, now(), settled_, now());
      plane.in_flight_bytes -= path_bytes - path.in_flight_bytes();
      if (summary.progress) {
        plane.heard = now();
        plane.dark = false;
        sender.newest_acked =
            std::max(sender.newest_acked, summary.newest_sent_at);
        sender.rtt.OnSample(now() - summary.newest_sent_at);
        plane.window_bytes =
            plane.congestion
                ->OnAck({now(), path.network_rtt().latest(),
                         summary.acked_bytes, in_flight_bytes,
                         static_cast<uint16_t>(summary.marked_packets)})
                .window_bytes;
      }
      Learn(sender, path, summary);
    }
    Settle(peer);
  }
  free_reports_.push_back(index);
  Wake(peer);
}

void PathEdge::Learn(Sender& sender, Path& path, const AckSummary& summary) {
  Plane& plane = PlaneOf(sender, path);
  Tell(*plane.scheduler, path, summary);
  if (summary.lost_packets > summary.lost_probes) {
    plane.window_bytes =
        plane.congestion->OnLoss({now(), summary.lost_bytes, summary.silent})
            .window_bytes;
  }
  Refresh(sender, path);
}

void PathEdge::Settle(uint32_t peer) {
  // A message that ends may begin others, whose paths settle nothing yet.
  SettledList settled;
  settled.swap(settled_);
  for (const Settled& one : settled) {
    Sender& sender = senders_[peer];
    if (one.cargo.kind != wire::CargoKind::kData) continue;
    if (one.fate == Fate::kLost) {
      sender.lost.Push(one.cargo);
      sender.lost.back().resend = true;
      continue;
    }
    const uint32_t message = one.cargo.message.value;
    uint64_t place = 0;
    while (sender.messages[place].message != message) {
      HAWSER_CHECK(++place < sender.messages.size());
    }
    Outgoing& outgoing = sender.messages[place];
    outgoing.settled_bytes += one.cargo.length;
    if (outgoing.settled_bytes < progress_.workload().messages[message].bytes) {
      continue;
    }
    sender.messages.Take(place);
    arriving_[message] = {};
    if (sender.messages.empty() && peers_[sender.from].size() > kManyPeers) {
      std::vector<Path>().swap(sender.paths);
      sender.entropies.clear();
      sender.planes.clear();
      std::vector<AckTracker>().swap(receivers_[peer].trackers);
    }
    const auto released = progress_.OnFinished(message, fabric_.now());
    for (const uint32_t next :
         std::vector<uint32_t>(released.begin(), released.end())) {
      Begin(next);
    }
  }
  settled.clear();
  if (settled_.empty()) settled_.swap(settled);
}

// --- Time -------------------------------------------------------------------

void PathEdge::OnTimer(uint32_t what) {
  const uint32_t which = what & ~kTimerMask;
  switch (what & kTimerMask) {
    case kBegin:
      return Begin(which);
    case kAckDue: {
      Receiver& receiver = receivers_[which];
      receiver.timer = false;
      if (receiver.waiting_packets == 0 || receiver.trackers.empty()) return;
      const Duration waited = now() - receiver.waiting_since;
      if (waited >= options_.ack_delay) return SendAcks(which);
      receiver.timer = true;
      fabric_.SetTimer(fabric_.now() + PicosOf(options_.ack_delay - waited),
                       what);
      return;
    }
    case kLook:
      return LookAfter(which);
  }
}

void PathEdge::LookAfter(uint32_t host) {
  bool any = false;
  for (size_t i = 0; i < peers_[host].size(); ++i) {
    const uint32_t peer = peers_[host][i];
    if (senders_[peer].messages.empty()) continue;
    any = true;
    if (now() < senders_[peer].look_at) continue;
    LookAfterPaths(peer);
    Settle(peer);  // More peers may come.
    Wake(peer);
  }
  looking_[host] = any;
  if (any) fabric_.SetTimer(look_line_, PicosOf(kLookEvery), kLook | host);
}

// Another entropy of the same plane takes its place.
void PathEdge::Replace(Sender& sender, const Path& path) {
  sender.entropies[path.id().value] =
      static_cast<uint16_t>(random_.Below(65'536));
}

void PathEdge::LookAfterPaths(uint32_t peer) {
  Sender& sender = senders_[peer];
  // A packet is overtaken when one that left a good while later has arrived,
  // and it is older than its path, and the paths on the mean, take by far: RACK
  // (RFC 8985) over all paths of a peer, with a round trip and more as its
  // window.
  const Duration slack = std::max(least_slack_, 4 * sender.rtt.variance());
  if (in_flight_bytes(sender) == 0 && !sender.paths.empty() &&
      now() - sender.heard >= sender.ask_pause) {
    sender.ask_pause = 2 * sender.ask_pause;
    SendProbe(peer, sender.paths[random_.Below(sender.paths.size())]);
  }
  for (uint32_t plane = 0; plane < sender.planes.size(); ++plane) {
    LookAfterPlane(peer, plane, sender.rtt.smoothed() + slack);
  }
  // Whatever leaves after this is due no sooner.
  sender.look_at = now() + options_.facts.base_rtt;
  size_t asked = 0;
  uint16_t silent = 0;
  // A path that is calm until then cannot be due, nor bring that forward; and
  // most are, so that their memory is not touched.
  const Time calm =
      HasCargo(sender)
          ? sender.look_at
          : sender.look_at + (least_slack_ - least_slack_ / kLastSlackShare);
  for (size_t p = 0; p < sender.paths.size(); ++p) {
    if (sender.calm_until[p] >= calm) continue;
    Path& path = sender.paths[p];
    const Time due = LookAfterPath(peer, path, slack);
    if (path.probe_wanted()) {
      ++asked;
      silent = path.id().value;
      SendProbe(peer, path);
    }
    sender.look_at = std::min({sender.look_at, due, path.deadline()});
  }
  // Where few paths are asked, others must be, to tell a silent path from a
  // silent host; several, for a witness may be dead as well.
  if (asked == 0 || asked >= kWitnesses) return;
  for (size_t i = 0; i < std::min(kWitnesses, sender.paths.size() - 1); ++i) {
    const size_t other = (silent + 1 + random_.Below(sender.paths.size() - 1)) %
                         sender.paths.size();
    if (sender.paths[other].CanProbe()) SendProbe(peer, sender.paths[other]);
  }
}

// A plane is a network of its own, and dies as one.
void PathEdge::LookAfterPlane(uint32_t peer, uint32_t plane,
                              Duration patience) {
  Sender& sender = senders_[peer];
  Plane& its = sender.planes[plane];
  if (!its.dark && its.in_flight_bytes > 0 && now() - its.heard > patience &&
      sender.heard - its.heard > patience && sender.newest_acked > its.heard) {
    its.dark = true;
    its.ask_pause = 4 * options_.facts.base_rtt;
    its.ask_at = now() + its.ask_pause;
  }
  if (!its.dark || now() < its.ask_at) return;
  its.ask_pause = 2 * its.ask_pause;
  its.ask_at = now() + its.ask_pause;
  const auto planes = static_cast<uint32_t>(sender.planes.size());
  const auto each = static_cast<uint32_t>(sender.paths.size()) / planes;
  Path& path = sender.paths[random_.Below(each) * planes + plane];
  Replace(sender, path);
  if (path.CanProbe()) SendProbe(peer, path);
}

// Returns when its oldest packet may count as overtaken.
Time PathEdge::LookAfterPath(uint32_t peer, Path& path, Duration slack) {
  Sender& sender = senders_[peer];
  Plane& plane = PlaneOf(sender, path);
  const uint32_t path_bytes = path.in_flight_bytes();
  Time due = Time::Never();
  if (path_bytes > 0 && sender.rtt.has_sample()) {
    const Duration usual =
        std::max(sender.rtt.smoothed(), path.response_rtt().smoothed());
    const Time oldest = now() - path.silence(now());
    // What leaves last is overtaken by nothing. Then time alone must tell, and
    // a packet in vain takes nobody's place.
    const bool last = !HasCargo(sender);
    if (last) slack = slack / kLastSlackShare;
    due = oldest + usual + slack;
    const Time overtaken =
        last ? now() - usual - slack
             : std::min(now() - usual - slack, sender.newest_acked - slack / 2);
    if (oldest < overtaken) {
      const AckSummary summary = path.OnOvertaken(overtaken, settled_, now());
      plane.in_flight_bytes -= path_bytes - path.in_flight_bytes();
      // It has nothing in flight now, so no silence will betray it: what lost
      // its packets without a word is not asked again.
      if (summary.lost_packets > 0) Replace(sender, path);
      Learn(sender, path, summary);
    }
  }
  if (path.deadline() <= now()) {
    const Path::State before = path.state();
    const uint32_t bytes = path.in_flight_bytes();
    const AckSummary summary = path.OnDeadline(sender.heard, settled_, now());
    plane.in_flight_bytes -= bytes - path.in_flight_bytes();
    if (before == Path::State::kOpen && path.state() == Path::State::kSuspect) {
      Replace(sender, path);
    }
    Learn(sender, path, summary);
  }
  return due;
}

// What will be read of a peer, and then what that leads to.
void PathEdge::Foresee(const Packet& packet, Step step) const {
  const Sender& sender = senders_[packet.connection];
  const Receiver& receiver = receivers_[packet.connection];
  if (packet.report == 0) {
    const Arriving& arriving = arriving_[packet.message];
    if (step == Step::kFar) {
      Fetch(&receiver);
      Fetch(&arriving);
    } else if (step == Step::kNear && !receiver.trackers.empty()) {
      Fetch(&receiver.trackers[packet.path]);
      Fetch(receiver.waiting.data());
      if (!arriving.packets.empty()) {
        Fetch(&arriving.packets[packet.offset / payload_bytes_ / 64]);
      }
    }
    return;
  }
  const Report& report = reports_[packet.report - 1];
  if (step == Step::kFar) {
    Fetch(&report);
    Fetch(&sender);
  } else if (step == Step::kNear) {
    report.acks.Fetch();
    Fetch(sender.planes.data());
  } else if (!sender.paths.empty()) {
    FetchBusy(*sender.planes[0].congestion);
    FetchBusy(*sender.planes[0].scheduler);
    for (size_t i = 0; i < report.news; ++i) {
      FetchBusy(sender.paths[report.acks.path(i).value]);
    }
  }
}

void PathEdge::ForeseeIdle(uint32_t host, Step step) const {
  const Ahead& ahead = ahead_[host];
  if (step == Step::kFar) return Fetch(&ahead);
  if (ahead.sender == nullptr) return;
  Fetch(&turns_[host]);
  Fetch(ahead.turn);
  Fetch(ahead.sender);
  Fetch(ahead.plane);
  FetchBusy(*ahead.scheduler);
  Fetch(ahead.window);
  Fetch(ahead.sendable);
  Fetch(ahead.calm_until);
  Fetch(ahead.entropy);
  if (ahead.path != nullptr) FetchBusy(*ahead.path);
}

}  // namespace hawser::sim
