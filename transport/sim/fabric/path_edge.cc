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
#include "transport/congestion/fixed_window.h"

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

// How many other paths are asked where one is silent.
constexpr size_t kWitnesses = 3;

// One path's own window never binds: that of the peer does.
constexpr uint32_t kOpenWindow = 1u << 30;

Picos PicosOf(Duration duration) { return duration.nanos() * 1000; }

}  // namespace

PathEdge::PathEdge(Fabric& fabric, Progress& progress,
                   const PathEdgeOptions& options, uint64_t seed)
    : fabric_(fabric),
      progress_(progress),
      options_(options),
      random_(Mix64(seed)),
      payload_bytes_(options.facts.packet_bytes - options.header_bytes),
      ack_line_(fabric.LineFor(PicosOf(options.ack_delay))),
      look_line_(fabric.LineFor(PicosOf(kLookEvery))),
      peers_(fabric.topology().hosts()),
      arrived_(progress.workload().messages.size()),
      turns_(fabric.topology().hosts()),
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
  const uint32_t count =
      sender.background ? planes : std::max(options_.paths, planes);
  for (uint32_t plane = 0; plane < planes; ++plane) {
    sender.schedulers.push_back(
        MakeScheduler(sender.background ? "round_robin" : options_.scheduler,
                      static_cast<uint16_t>(count), random_.Next()));
  }
  sender.congestion = MakeCongestion(options_.congestion, options_.facts);
  sender.window_bytes = sender.congestion->initial().window_bytes;
  sender.sendable.assign((count + 63) / 64, 0);
  sender.paths.reserve(count);
  Receiver& receiver = receivers_[peer];
  DrawAckEntropies(receiver);
  receiver.trackers.reserve(count);
  receiver.waiting.assign((count + 63) / 64, 0);
  for (uint32_t p = 0; p < count; ++p) {
    const PathId id{static_cast<uint16_t>(p)};
    sender.paths.emplace_back(id, std::make_unique<FixedWindow>(kOpenWindow),
                              options_.path);
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
  arrived_[message].assign((plan.bytes + payload_bytes_ - 1) / payload_bytes_,
                           false);
  if (receiver.received_bytes == receiver.expected_bytes) ++port.active;
  receiver.expected_bytes += plan.bytes;
  if (!receiver.in_turn) {
    receiver.in_turn = true;
    port.turn.push_back(peer);
  }
}

void PathEdge::Begin(uint32_t message) {
  const MessagePlan& plan = progress_.workload().messages[message];
  if (plan.waits_for > 0 || plan.start > 0) Expect(message);
  const uint32_t peer = PeerFor(plan);
  progress_.OnStarted(message, fabric_.now());
  senders_[peer].messages.push_back({message, 0, 0});
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
  const auto bdp = static_cast<double>(options_.facts.bdp_bytes);
  const auto most =
      static_cast<uint64_t>((shared ? kSharedBdps : kLoneBdps) * bdp);
  const uint64_t each = std::max<uint64_t>(most / std::max(port.active, 1u),
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
    port.turn.pop_front();
    receiver.granted_bytes += grant;
    port.granted_bytes += grant;
    receiver.in_turn = receiver.granted_bytes < receiver.expected_bytes;
    if (receiver.in_turn) port.turn.push_back(peer);
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
}

bool PathEdge::HasCargo(const Sender& sender) const {
  if (!sender.lost.empty()) return true;
  if (sender.cut_bytes >= sender.credit_bytes) return false;
  const Outgoing* last =
      sender.messages.empty() ? nullptr : &sender.messages.back();
  return last != nullptr &&
         last->cut_bytes < progress_.workload().messages[last->message].bytes;
}

bool PathEdge::MaySend(const Sender& sender) const {
  return HasCargo(sender) &&
         (sender.in_flight_bytes == 0 ||
          sender.in_flight_bytes + options_.facts.packet_bytes <=
              sender.window_bytes);
}

void PathEdge::Wake(uint32_t peer) {
  Sender& sender = senders_[peer];
  if (!sender.listed && MaySend(sender)) {
    sender.listed = true;
    turns_[sender.from].push_back(peer);
  }
  for (uint32_t plane = 0; plane < fabric_.topology().planes(); ++plane) {
    if (fabric_.nic_idle(sender.from, plane)) SendOne(sender.from, plane);
  }
}

void PathEdge::SendOne(uint32_t host, uint32_t plane) {
  std::deque<uint32_t>& turns = turns_[host];
  for (size_t left = turns.size(); left > 0; --left) {
    const uint32_t peer = turns.front();
    turns.pop_front();
    const bool sent = MaySend(senders_[peer]) && SendFrom(peer, plane);
    if (MaySend(senders_[peer])) {
      turns.push_back(peer);
    } else {
      senders_[peer].listed = false;
    }
    if (sent) return;
  }
}

bool PathEdge::SendFrom(uint32_t peer, uint32_t plane) {
  Sender& sender = senders_[peer];
  const uint32_t planes = fabric_.topology().planes();
  PathId id;
  if (planes == 1) {
    id = sender.schedulers[0]->Pick({sender.paths, sender.sendable}, now());
  } else {
    // Path p is of plane p mod planes.
    uint64_t of_plane = 0;
    for (uint32_t bit = plane; bit < 64; bit += planes) {
      of_plane |= uint64_t{1} << bit;
    }
    uint64_t masked[16];
    for (size_t w = 0; w < sender.sendable.size(); ++w) {
      masked[w] = sender.sendable[w] & of_plane;
    }
    id = sender.schedulers[plane]->Pick(
        {sender.paths, std::span(masked, sender.sendable.size())}, now());
  }
  if (id == kNoPath) return false;
  Launch(peer, sender.paths[id.value], NextCargo(sender));
  return true;
}

wire::Cargo PathEdge::NextCargo(Sender& sender) {
  if (!sender.lost.empty()) {
    const wire::Cargo cargo = sender.lost.front();
    sender.lost.pop_front();
    return cargo;
  }
  for (Outgoing& outgoing : sender.messages) {
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
  sender.in_flight_bytes += packet.bytes;
  packet.number = numbered.number.value;
  packet.open_span = numbered.open_span;
  packet.from = sender.from;
  packet.to = sender.to;
  packet.connection = peer;
  packet.path = path.id().value;
  packet.plane =
      static_cast<uint8_t>(path.id().value % fabric_.topology().planes());
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
  header.number = {packet.number};
  header.open_span = packet.open_span;
  header.ack_now = packet.ack_now;
  header.cargo.kind =
      packet.length == 0 ? wire::CargoKind::kProbe : wire::CargoKind::kData;
  const Arrival arrival = tracker.OnPacket(header, packet.marked, now());
  receiver.waiting[packet.path / 64] |= uint64_t{1} << packet.path % 64;
  // Who asks has not heard what was said.
  if (packet.length == 0) DrawAckEntropies(receiver);
  if (receiver.waiting_packets++ == 0) receiver.waiting_since = now();
  Port& port = ports_[packet.to];
  if (arrival == Arrival::kNew && packet.length > 0 &&
      !arrived_[packet.message].empty()) {
    auto arrived =
        arrived_[packet.message].begin() + packet.offset / payload_bytes_;
    if (!*arrived) {
      *arrived = true;
      receiver.received_bytes += packet.length;
      port.granted_bytes -=
          std::min<uint64_t>(port.granted_bytes, packet.length);
      if (receiver.received_bytes == receiver.expected_bytes) --port.active;
      if (!port.turn.empty()) Grant(packet.to, kNoPacket);
    } else {
      DrawAckEntropies(receiver);
    }
  }
  if (receiver.waiting_packets == 0) return;  // A grant took them along.
  // Where no more is expected, nobody will come to fill the ack.
  if (tracker.deadline() <= now() ||
      receiver.received_bytes == receiver.expected_bytes ||
      receiver.waiting_packets >= options_.ack_every) {
    SendAcks(peer);
  } else if (!receiver.timer) {
    receiver.timer = true;
    fabric_.SetTimer(ack_line_, PicosOf(options_.ack_delay), kAckDue | peer);
  }
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
  report.acks.clear();
  uint32_t bytes = kAckFrameBytes;
  for (size_t w = 0; w < receiver.waiting.size(); ++w) {
    for (uint64_t bits = receiver.waiting[w]; bits != 0; bits &= bits - 1) {
      const size_t p = w * 64 + static_cast<size_t>(std::countr_zero(bits));
      const auto ack = receiver.trackers[p].TakeAck(now());
      if (!ack) continue;
      report.acks.push_back(*ack);
      bytes += static_cast<uint32_t>(wire::kAckBlockBytes + 8 * ack->words);
    }
    receiver.waiting[w] = 0;
  }
  receiver.waiting_packets = 0;
  report.granted_bytes = receiver.told_bytes = receiver.granted_bytes;
  const PacketIndex ack = fabric_.NewPacket();
  Packet& packet = fabric_.packet(ack);
  packet.bytes = std::max(bytes, kLeastFrameBytes);
  packet.control = true;
  packet.from = sender.to;
  packet.to = sender.from;
  packet.connection = peer;
  packet.report = index + 1;
  packet.plane =
      static_cast<uint8_t>(random_.Below(fabric_.topology().planes()));
  packet.route = RouteOf(
      packet.from, packet.to,
      receiver
          .ack_entropies[receiver.ack_turn++ % receiver.ack_entropies.size()]);
  ++counts_.acks;
  counts_.ack_bytes += packet.bytes;
  fabric_.Send(packet.from, ack);
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
  if (!sender.paths.empty()) {
    for (const wire::Ack& ack : reports_[index].acks) {
      Path& path = sender.paths[ack.path.value];
      const uint32_t in_flight_bytes = sender.in_flight_bytes;
      const uint32_t path_bytes = path.in_flight_bytes();
      const uint64_t marked_before = path.counts().ecn_marked;
      const AckSummary summary = path.OnAck(ack, now(), settled_, now());
      sender.in_flight_bytes -= path_bytes - path.in_flight_bytes();
      const uint64_t marked = path.counts().ecn_marked - marked_before;
      if (summary.progress) {
        sender.newest_acked =
            std::max(sender.newest_acked, summary.newest_sent_at);
        sender.rtt.OnSample(now() - summary.newest_sent_at);
        sender.window_bytes = sender.congestion
                                  ->OnAck({now(), path.network_rtt().latest(),
                                           summary.acked_bytes, in_flight_bytes,
                                           static_cast<uint16_t>(marked)})
                                  .window_bytes;
      }
      Learn(sender, path, summary, marked, false);
    }
    Settle(peer);
  }
  free_reports_.push_back(index);
  Wake(peer);
}

void PathEdge::Learn(Sender& sender, Path& path, const AckSummary& summary,
                     uint64_t marked, bool silent) {
  PathScheduler& scheduler =
      *sender.schedulers[path.id().value % sender.schedulers.size()];
  const auto tell = [&](PathFeedback feedback, uint64_t packets) {
    if (packets > 0) {
      scheduler.OnFeedback(path.id(), feedback, static_cast<uint32_t>(packets),
                           path.network_rtt().latest());
    }
  };
  tell(PathFeedback::kGood,
       summary.acked_packets -
           std::min<uint64_t>(summary.acked_packets, marked));
  tell(PathFeedback::kMarked, marked);
  tell(silent ? PathFeedback::kSilent : PathFeedback::kLost,
       summary.lost_packets);
  if (summary.lost_packets > summary.lost_probes) {
    sender.window_bytes =
        sender.congestion->OnLoss({now(), summary.lost_bytes, silent})
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
      sender.lost.push_back(one.cargo);
      sender.lost.back().resend = true;
      continue;
    }
    const auto outgoing = std::find_if(
        sender.messages.begin(), sender.messages.end(), [&](const Outgoing& o) {
          return o.message == one.cargo.message.value;
        });
    HAWSER_CHECK(outgoing != sender.messages.end());
    outgoing->settled_bytes += one.cargo.length;
    const uint32_t message = outgoing->message;
    if (outgoing->settled_bytes <
        progress_.workload().messages[message].bytes) {
      continue;
    }
    sender.messages.erase(outgoing);
    arrived_[message] = {};
    if (sender.messages.empty() && peers_[sender.from].size() > kManyPeers) {
      std::vector<Path>().swap(sender.paths);
      sender.entropies.clear();
      sender.in_flight_bytes = 0;
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
  const Duration slack =
      std::max(options_.facts.base_rtt * 3 / 2, 4 * sender.rtt.variance());
  if (sender.in_flight_bytes == 0 && !sender.paths.empty() &&
      now() - sender.heard >= sender.ask_pause) {
    sender.ask_pause = 2 * sender.ask_pause;
    SendProbe(peer, sender.paths[random_.Below(sender.paths.size())]);
  }
  size_t asked = 0;
  uint16_t silent = 0;
  for (Path& path : sender.paths) {
    const uint32_t path_bytes = path.in_flight_bytes();
    const Duration usual =
        std::max(sender.rtt.smoothed(), path.response_rtt().smoothed());
    const Time overtaken =
        std::min(now() - usual - slack, sender.newest_acked - slack / 2);
    if (path_bytes > 0 && sender.rtt.has_sample() &&
        now() - path.silence(now()) < overtaken) {
      const AckSummary summary = path.OnOvertaken(overtaken, settled_, now());
      sender.in_flight_bytes -= path_bytes - path.in_flight_bytes();
      // It has nothing in flight now, so no silence will betray it: what lost
      // its packets without a word is not asked again.
      if (summary.lost_packets > 0) Replace(sender, path);
      Learn(sender, path, summary, 0, false);
    }
    if (path.deadline() <= now()) {
      const Path::State before = path.state();
      const uint32_t bytes = path.in_flight_bytes();
      const AckSummary summary = path.OnDeadline(sender.heard, settled_, now());
      sender.in_flight_bytes -= bytes - path.in_flight_bytes();
      if (before == Path::State::kOpen &&
          path.state() == Path::State::kSuspect) {
        Replace(sender, path);
      }
      Learn(sender, path, summary, 0, true);
    }
    if (path.probe_wanted()) {
      ++asked;
      silent = path.id().value;
      SendProbe(peer, path);
    }
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

}  // namespace hawser::sim
