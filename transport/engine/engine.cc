// The turn. Its stages follow one another and none reaches back: what came in
// is understood before silence is judged, and acks wait for cargo that goes the
// same way, but not for long. Everything a turn did to a peer marks it
// as touched; only touched peers are looked at when the turn sends and when
// the next deadline is computed, so an idle peer costs one comparison.
#include "transport/engine/engine.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "transport/base/check.h"
#include "transport/spray/schedulers.h"

namespace hawser {
namespace {

constexpr char kEnded[] = "its endpoint ended";

// What an engine may take of its host's ports.
Rate PortOf(const Config& config) {
  if (config.admission == "off") return Rate::Unlimited();
  return Rate::BitsPerSecond(int64_t{1'000'000} * config.port_mbps /
                             config.engines);
}

}  // namespace

Engine::Engine(const Config& config, const wire::EndpointIdentity& identity,
               uint16_t index, std::vector<Datapath*> planes, uint64_t seed)
    : config_(config),
      identity_(identity),
      index_(index),
      planes_(std::move(planes)),
      path_options_{
          .ack_delay = Duration::Micros(config.ack_delay_us),
          .rto_min = Duration::Micros(config.rto_min_us),
      },
      peer_timeout_(Duration::Millis(config.peer_timeout_ms)),
      check_payload_(config.checksum == "payload"),
      peek_bytes_(static_cast<uint32_t>(config.peek_bytes)),
      data_header_bytes_(static_cast<uint32_t>(
          wire::kDataHeaderBytes +
          (check_payload_ ? wire::kPayloadWordBytes : 0))),
      seed_(seed),
      random_(Mix64(seed)),
      admission_(PortOf(config)),
      padding_(PlaneAddress::kMostPacketBytes) {
  HAWSER_CHECK(!planes_.empty());
  settled_.reserve(4 * wire::kAckWindow);
  stages_.reserve(planes_.size());
  for (Datapath* plane : planes_) stages_.emplace_back(*plane);
}

Engine::~Engine() = default;

bool Engine::quiet() const {
  for (const auto& peer : peers_) {
    if (!peer->alive()) continue;
    if (peer->HasCargo()) return false;
    for (const Path& path : peer->paths) {
      if (path.in_flight_bytes() > 0 && path.state() == Path::State::kOpen) {
        return false;
      }
      if (path.ack_deadline() != Time::Never()) return false;
    }
    for (const PathBond& bond : peer->bonds) {
      if (!bond.lost.empty()) return false;
    }
  }
  return true;
}

bool Engine::has_peers() const {
  return std::any_of(peers_.begin(), peers_.end(), [](const auto& peer) {
    return peer->state == Peer::State::kOpen;
  });
}

Engine::Turn Engine::RunOnce(Time now) {
  metrics_.turns.Add(1);
  const bool received = Receive(now);  // wire  -> paths -> flows -> application
  bool worked = received;
  worked |= FireTimers(now);          // clock -> paths -> flows
  worked |= TakeRequests(now);        // application -> flows
  CarryControls();                    // planes -> paths of other planes
  worked |= SendCargo(now);           // flows -> spray -> paths -> wire
  worked |= SendAcks(received, now);  // paths -> wire, what did not go along
  return {NextDeadline(now), worked};
}

// --- Control ---------------------------------------------------------------

absl::StatusOr<Peer*> Engine::AddPeer(const wire::EndpointIdentity& identity,
                                      uint16_t far_engine, Time now) {
  const auto found = peer_ids_.find({identity.id, far_engine});
  if (found != peer_ids_.end()) {
    Peer& peer = *peers_[found->second.value];
    if (peer.state == Peer::State::kLost ||
        peer.state == Peer::State::kLeaving) {
      return absl::FailedPreconditionError(
          absl::StrCat("peer ", peer.name, " was lost earlier in this run (",
                       peer.state == Peer::State::kLost ? peer.cause : kEnded,
                       "); it can come back under a new endpoint, "
                       "that is, after both sides have finalized"));
    }
    return &peer;
  }
  if (peers_.size() == kNoPeer.value) {
    return absl::ResourceExhaustedError("an engine has at most 65535 peers");
  }
  auto peer = std::make_unique<Peer>(Duration::Micros(config_.target_delay_us) /
                                     kPatienceParts);
  peer->id = PeerId{static_cast<uint16_t>(peers_.size())};
  peer->identity = identity;
  peer->name = "(unnamed)";
  peer->tx_key = DeriveKey(identity_, index_, identity, far_engine);
  peer->rx_key = DeriveKey(identity, far_engine, identity_, index_);
  peer->last_heard = now;
  peer_ids_[{identity.id, far_engine}] = peer->id;
  peers_.push_back(std::move(peer));
  deadlines_.Grow(peers_.size());
  return peers_.back().get();
}

absl::Status Engine::OpenPeer(Peer& peer, const wire::Introduction& theirs,
                              Time now) {
  if (peer.state != Peer::State::kNew) return absl::OkStatus();
  // Plane i of ours meets plane i of theirs: the planes of a multi-plane
  // fabric are not connected with one another.
  std::vector<uint16_t> usable;
  for (uint16_t i = 0; i < planes_.size(); ++i) {
    if (planes_[i]->OpenPeer(peer.id,
                             theirs.planes[i % theirs.planes.size()])) {
      usable.push_back(i);
    }
  }
  if (usable.empty()) {
    return absl::UnavailableError(absl::StrCat(
        "none of the ", planes_.size(), " planes here can reach ", theirs.host,
        "; expected addresses of one family on both sides, and "
        "a route"));
  }
  peer.far_id = theirs.peer;
  peer.name = theirs.host;
  peer.far_planes = static_cast<uint8_t>(theirs.planes.size());
  const auto count =
      static_cast<uint16_t>(std::min<int>(config_.paths, theirs.paths));
  peer.paths.reserve(count);
  std::vector<std::shared_ptr<Window>> windows(planes_.size());
  for (uint16_t p = 0; p < count; ++p) {
    const uint16_t plane = usable[p % usable.size()];
    const auto entropy =
        static_cast<uint16_t>(p / usable.size() % planes_[plane]->entropies());
    peer.places.push_back({plane, entropy});
    if (windows[plane] == nullptr || config_.window_per == "path") {
      windows[plane] = std::make_shared<Window>(MakeCongestionControl(
          config_, planes_[plane]->max_packet_bytes(peer.id)));
    }
    peer.paths.emplace_back(PathId{p}, windows[plane], path_options_);
  }
  peer.bonds.resize(count);
  for (const uint16_t plane : usable) {
    peer.placing |= planes_[plane]->max_placed_bytes(peer.id) > 0;
  }
  for (Bitmap* paths :
       {&peer.sendable, &peer.open, &peer.stale_sendable, &peer.stale_deadline,
        &peer.ack_waiting, &peer.arriving, &peer.arrived_before}) {
    *paths = Bitmap(count);
  }
  peer.planes.resize(planes_.size());
  for (uint16_t p = 0; p < count; ++p) {
    PlanePaths& plane = peer.planes[peer.places[p].plane];
    if (plane.paths.empty()) plane.paths = Bitmap(count);
    plane.paths.Add(p);
    const Window& window = peer.paths[p].window();
    if (window.paths() > 1) plane.window = &window;
  }
  peer.deadlines = Earliest(count);
  for (const Path& path : peer.paths) Touch(peer, path);
  peer.scheduler = MakeScheduler(config_.scheduler, count, ++seed_);
  peer.state = Peer::State::kOpen;
  peer.last_heard = now;
  return absl::OkStatus();
}

absl::StatusOr<FlowRecord*> Engine::AddFlow(Peer& peer, Direction direction) {
  auto record = std::make_unique<FlowRecord>();
  FlowRecord* raw = record.get();
  raw->peer = &peer;
  raw->queue.owner = raw;
  const bool sends = direction == Direction::kSend;
  const FlowId id = (sends ? peer.sends : receives_).Add(std::move(record));
  if (id == kNoFlow) {
    return absl::ResourceExhaustedError(
        sends ? absl::StrCat("65535 flows to peer ", peer.name,
                             " are open already")
              : "65535 flows to this engine are open already");
  }
  if (sends) {
    raw->send = std::make_unique<SendFlow>(id);
  } else {
    raw->receive = std::make_unique<ReceiveFlow>(id);
  }
  return raw;
}

void Engine::ConnectFlow(FlowRecord& record, FlowId far_id, Time now) {
  record.far_id = far_id;
  DrainQueue(record, now);
}

void Engine::CloseFlow(FlowRecord& record, Time now) {
  Peer& peer = *record.peer;
  // Nobody may find the record in the inbox after this.
  TakeRequests(now);
  std::erase(blocked_, &record);
  const bool sends = record.send != nullptr;
  (sends ? peer.ready_sends : peer.ready_receives).Remove(&record);
  EndPlacing(record, now);
  SetBusy(record, false, now);
  admission_.OnClosed(record);
  if (peer.alive() && record.far_id != kNoFlow && !record.far_closed) {
    wire::Cargo close;
    close.kind = wire::CargoKind::kClose;
    close.from_sender = sends;
    close.flow = record.far_id;
    // A close may overtake the acks for what came last.
    if (!sends) close.message = record.receive->first_open();
    Need(peer, now);
    ++peer.open_closes;
    peer.closes.push_back(close);
  }
  (sends ? peer.sends : receives_).Remove(record.id);
  Touch(peer);
}

bool Engine::SayGoodbye(Time now) {
  bool all_told = true;
  std::array<std::byte, wire::kMaxHeaderBytes> bytes;
  for (auto& peer : peers_) {
    if (!peer->alive() || peer->goodbyes_said == kGoodbyes) continue;
    all_told = false;
    const size_t size = wire::EncodeGoodbye(peer->far_id, peer->tx_key, bytes);
    const Path& path =
        peer->paths[peer->next_probe_path++ % peer->paths.size()];
    SendAcksOver(*peer, path, now);
    if (!StageOf(*peer, path).MakeRoom()) continue;
    StagePacket(*peer, path, std::span(bytes).first(size), {});
    ++peer->goodbyes_said;
  }
  FlushAll();
  return all_told;
}

// --- Timers ----------------------------------------------------------------

bool Engine::FireTimers(Time now) {
  const bool judges = !more_mail_ || now - more_mail_since_ >= kMailPatience;
  bool fired = false;
  deadlines_.ForEachDue(now, [&](size_t i) {
    Peer& peer = *peers_[i];
    fired = true;
    // In any case: its acks may be due, or its pacers let go.
    Touch(peer);
    if (!peer.alive()) return;
    peer.deadlines.ForEachDue(now,
                              [&](size_t p) { Touch(peer, peer.paths[p]); });
    if (judges) LookAfter(peer, now);
  });
  return fired;
}

void Engine::LookAfter(Peer& peer, Time now) {
  if (peer.state == Peer::State::kLeaving && peer.leaving_at <= now) {
    LosePeer(peer, kEnded, now);
    return;
  }
  size_t asked = 0;  // Open paths that have fallen silent.
  PathId silent = kNoPath;
  const auto look = [&](size_t p) {
    Path& path = peer.paths[p];
    const PathBond& bond = peer.bonds[p];
    if (!peer.needed() && path.state() == Path::State::kSuspect) return;
    if (path.deadline() <= now) {
      const Path::State before = path.state();
      const AckSummary summary =
          path.OnDeadline(peer.last_heard, settled_, now);
      if (before == Path::State::kOpen &&
          path.state() == Path::State::kSuspect) {
        metrics_.paths_suspected.Add(1);
      }
      Learn(peer, path, summary);
      Settle(peer, now);
      // Its way may be wedged; and as long as it is silent, each new one is
      // another chance.
      if (peer.placing && path.state() == Path::State::kSuspect &&
          !bond.burying && (!bond.lost.empty() || bond.rest_until <= now)) {
        Bury(peer, path, now);
      }
    }
    if (bond.burying && bond.ask_at <= now) Bury(peer, path, now);
    if (path.probe_wanted() && path.state() == Path::State::kOpen) {
      ++asked;
      silent = path.id();
    }
    if (path.probe_wanted() && path.window().shut()) {
      AskForPlane(peer, path, now);
    }
    SendWantedProbe(peer, path, now);
  };
  if (peer.probes_wanted) {
    // Those that found no room for theirs are asked as well.
    for (size_t p = 0; p < peer.paths.size(); ++p) look(p);
  } else {
    peer.deadlines.ForEachDue(now, look);
  }
  if (!peer.needed()) return;
  // Where one path alone is asked, another must be, to tell a silent path from
  // a silent host.
  const bool needs_witness = asked == 1;
  if (LostAt(peer) <= now) {
    const Time heard = std::max(peer.last_heard, peer.needed_since);
    size_t suspects = 0;
    for (const Path& path : peer.paths) {
      suspects += path.state() == Path::State::kSuspect;
    }
    std::string last = "never";
    if (peer.last_heard_path != kNoPath) {
      const PathPlace& place = peer.places[peer.last_heard_path.value];
      last =
          absl::StrCat("last on path ", peer.last_heard_path.value, " (plane ",
                       place.plane, ", entropy ", place.entropy, ")");
    }
    LosePeer(
        peer,
        absl::StrCat("nothing was heard for ", (now - heard).millis(), " ms, ",
                     last, "; ", suspects, " of ", peer.paths.size(),
                     " paths silent (HAWSER_PEER_TIMEOUT_MS=",
                     config_.peer_timeout_ms, ")"),
        now);
    return;
  }
  // Only what is asked at a measured pace says that it is silent for long.
  const bool sign_due = NextSignAt(peer) <= now;
  if (sign_due) {
    peer.last_sign = now;
    ++peer.signs_unanswered;
  }
  if (sign_due || needs_witness) {
    Path& path = NextAsked(peer, needs_witness ? silent : kNoPath);
    if (path.CanProbe()) SendProbe(peer, path, /*bytes=*/0, now);
  }
}

// Any path may bring a sign of life, so all take turns. But a witness that is
// dead itself would clear every path that is silent.
Path& Engine::NextAsked(Peer& peer, PathId silent) {
  const auto next = [&]() -> Path& {
    return peer.paths[peer.next_probe_path++ % peer.paths.size()];
  };
  for (size_t i = 0; silent != kNoPath && i < peer.paths.size(); ++i) {
    Path& path = next();
    if (path.id() != silent && path.state() == Path::State::kOpen) return path;
  }
  return next();
}

// Where all of a plane is taken for silent, because one path is and the others
// had nothing to say, any of those may show that it lives.
void Engine::AskForPlane(Peer& peer, const Path& silent, Time now) {
  for (size_t i = 0; i < peer.paths.size(); ++i) {
    Path& path = peer.paths[peer.next_probe_path++ % peer.paths.size()];
    if (&path.window() == &silent.window() && path.CanProbe() &&
        path.state() == Path::State::kOpen) {
      SendProbe(peer, path, /*bytes=*/0, now);
      return;
    }
  }
}

void Engine::Bury(Peer& peer, Path& path, Time now) {
  PathBond& bond = peer.bonds[path.id().value];
  if (!bond.burying) {
    metrics_.paths_buried.Add(1);
    bond.rest_until = now + kRebirthPause;
  }
  bond.burying = true;
  bond.ask_at = now + path.rto();
  Touch(peer, path);
  PlaneOf(peer, path).Bury(WayOf(peer, path));
}

void Engine::EndPlacing(FlowRecord& record, Time now) {
  ForgetErrands(record);
  Peer& peer = *record.peer;
  if (!peer.alive()) return;
  if (record.receive) {
    if (!record.receive->exposed()) return;
    for (Datapath* plane : planes_) plane->ShutEars(peer.id);
  } else if (peer.placing && !record.idle()) {
    for (Path& path : peer.paths) {
      if (!peer.bonds[path.id().value].burying) Bury(peer, path, now);
    }
  }
}

void Engine::LosePeer(Peer& peer, std::string cause, Time now) {
  for (Path& path : peer.paths) path.OnPeerLost(settled_);
  settled_.clear();
  peer.last_report = ReportPaths(peer);
  peer.state = Peer::State::kLost;
  peer.cause = absl::StrCat("peer ", peer.name, " is lost: ", cause);
  if (peer.busy_flows > 0) metrics_.peers_lost.Add(1);
  // Before anybody is told that memory is free again.
  for (Datapath* plane : planes_) plane->ClosePeer(peer.id);
  peer.bonds = std::vector<PathBond>();
  // Peers are never forgotten, for whoever comes back must be told; a process
  // that outlives many may not keep all that they needed.
  peer.paths = std::vector<Path>();
  peer.places = std::vector<PathPlace>();
  peer.scheduler = nullptr;
  for (Bitmap* paths :
       {&peer.sendable, &peer.open, &peer.stale_sendable, &peer.stale_deadline,
        &peer.ack_waiting, &peer.arriving, &peer.arrived_before}) {
    *paths = Bitmap();
  }
  peer.planes = std::vector<PlanePaths>();
  peer.deadlines = Earliest();
  peer.closes.clear();
  peer.open_closes = 0;
  const auto fail = [&](FlowRecord& record) {
    ForgetErrands(record);
    record.OnFailed(Request::Outcome::kPeerLost);
    UpdateBusy(record, now);
  };
  peer.sends.ForEach(fail);
  receives_.ForEach([&](FlowRecord& record) {
    if (record.peer == &peer) fail(record);
  });
  while (!peer.ready_sends.empty()) peer.ready_sends.Pop();
  while (!peer.ready_receives.empty()) peer.ready_receives.Pop();
  Touch(peer);
}

// --- Bookkeeping -----------------------------------------------------------

void Engine::Touch(Peer& peer) {
  if (peer.touched) return;
  peer.touched = true;
  touched_.push_back(&peer);
}

void Engine::Touch(Peer& peer, const Path& path) {
  Touch(peer);
  peer.stale_sendable.Add(path.id().value);
  peer.stale_deadline.Add(path.id().value);
}

void Engine::Hear(Peer& peer, Time now) {
  peer.last_heard = last_heard_ = now;
  peer.signs_unanswered = 0;
  Touch(peer);
}

void Engine::Need(Peer& peer, Time now) {
  if (peer.needed()) return;
  peer.needed_since = now;
  peer.signs_unanswered = 0;
}

void Engine::UpdateBusy(FlowRecord& record, Time now) {
  SetBusy(record, !record.idle(), now);
}

void Engine::SetBusy(FlowRecord& record, bool busy, Time now) {
  if (busy == record.busy) return;
  record.busy = busy;
  Peer& peer = *record.peer;
  if (busy) {
    Need(peer, now);
    ++peer.busy_flows;
    if (record.receive && peer.busy_receives++ == 0) admission_.OnExpected();
  } else {
    --peer.busy_flows;
    if (record.receive && --peer.busy_receives == 0) admission_.OnUnexpected();
  }
}

Time Engine::LostAt(const Peer& peer) const {
  if (peer.signs_unanswered < kSignsToLose) return Time::Never();
  return std::max(peer.last_heard, peer.needed_since) + peer_timeout_;
}

Time Engine::NextSignAt(const Peer& peer) const {
  const Duration pause =
      std::min(peer_timeout_ / kSignsPerTimeout, Duration::Seconds(1));
  return std::max({peer.last_heard, peer.needed_since, peer.last_sign}) + pause;
}

Time Engine::DeadlineOf(const Peer& peer, const Path& path) const {
  if (!peer.needed()) {
    return path.state() == Path::State::kSuspect ? Time::Never()
                                                 : path.deadline();
  }
  const PathBond& bond = peer.bonds[path.id().value];
  return bond.burying ? std::min(path.deadline(), bond.ask_at)
                      : path.deadline();
}

Time Engine::DeadlineOf(Peer& peer, bool room, Time now) {
  if (!peer.alive()) return Time::Never();
  if (peer.needed() != peer.deadlines_while_needed) {
    peer.deadlines_while_needed = peer.needed();
    for (const Path& path : peer.paths) {
      if (path.state() == Path::State::kSuspect || peer.placing) {
        peer.stale_deadline.Add(path.id().value);
      }
    }
  }
  peer.stale_deadline.ForEach([&](size_t p) {
    peer.deadlines.Set(p, DeadlineOf(peer, peer.paths[p]));
  });
  peer.stale_deadline.Clear();
  Time next = std::min(peer.leaving_at, peer.deadlines.first());
  if (!peer.ready_receives.empty() && peer.grants_alone > now) {
    next = std::min(next, peer.grants_alone);
  }
  for (const PlanePaths& plane : peer.planes) {
    if (plane.window != nullptr) {
      next = std::min(next, plane.window->deadline(now));
    }
  }
  if (room) next = std::min(next, peer.acks_by);
  if (peer.needed()) next = std::min({next, LostAt(peer), NextSignAt(peer)});
  return next;
}

Time Engine::NextDeadline(Time now) {
  // An ack that is due would call at once, and again, where no plane takes
  // it. The planes tell when they have room; all whose acks may wait for that
  // are then served.
  const bool room =
      std::any_of(planes_.begin(), planes_.end(),
                  [](const Datapath* plane) { return plane->tx_room() > 0; });
  if (!room) {
    unserved_.insert(unserved_.end(), touched_.begin(), touched_.end());
  }
  for (Peer* peer : touched_) {
    peer->touched = false;
    deadlines_.Set(peer->id.value, DeadlineOf(*peer, room, now));
  }
  touched_.clear();
  return deadlines_.first();
}

}  // namespace hawser
