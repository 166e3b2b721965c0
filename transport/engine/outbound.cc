// A message's life, first half: from the application to the wire.
//
// Each step asks before it acts: is there cargo, is there room at the door,
// which way? Only then are bytes cut off a message, numbered and written, so
// that nothing is ever done that would have to be undone.
#include <algorithm>

#include "transport/base/check.h"
#include "transport/base/copy_lines.h"
#include "transport/engine/engine.h"

namespace hawser {

// --- Requests --------------------------------------------------------------

bool Engine::TakeRequests(Time now) {
  bool any = false;
  // Flows that were full and have room again.
  for (size_t i = 0; i < blocked_.size();) {
    FlowRecord* record = blocked_[i];
    if (record->full()) {
      ++i;
      continue;
    }
    blocked_[i] = blocked_.back();
    blocked_.pop_back();
    DrainQueue(*record, now);
    any = true;
  }
  for (InboxEntry* entry = inbox_.TakeAll(); entry != nullptr;) {
    InboxEntry* next = entry->next;
    Inbox::Answered(entry);
    auto* queue = static_cast<RequestQueue*>(entry);
    DrainQueue(*static_cast<FlowRecord*>(queue->owner), now);
    entry = next;
    any = true;
  }
  return any;
}

void Engine::DrainQueue(FlowRecord& record, Time now) {
  Peer& peer = *record.peer;
  uint8_t slot;
  while (!record.full()) {
    if (!record.queue.submitted.Pop(&slot)) break;
    Request* request = &record.queue.slots[slot];
    record.send ? record.send->OnSubmitted(request)
                : record.receive->OnPosted(request);
  }
  if (record.full() &&
      std::find(blocked_.begin(), blocked_.end(), &record) == blocked_.end()) {
    blocked_.push_back(&record);
  }
  UpdateBusy(record, now);
  if (record.receive) Admit(record, now);
  if (record.ready() && peer.alive()) {
    record.send ? peer.ready_sends.Push(&record) : PushGrant(record, now);
  }
  Touch(peer);
}

void Engine::Admit(FlowRecord& record, Time now) {
  ReceiveFlow& flow = *record.receive;
  if (!flow.wants_admission()) return;
  metrics_.grants_raised.Add(flow.Admit(admission_.AheadOf(record, now)));
}

void Engine::AdmitMore(FlowRecord& record, const wire::Cargo& came, bool last,
                       Time now) {
  if (!last || came.offset != 0) admission_.OnData(record, now);
  Admit(record, now);
  if (!record.ready()) return;
  PushGrant(record, now);
  Touch(*record.peer);  // What was carried came without a packet.
}

// The far side is not short of grants while several are out that it has not
// used up: so for half of the time that is nobody's loss they wait for others
// to go in the same packet, and then for data to go in the same datagram, or
// for the acks of what uses grants up. When there are few, they go along with
// the next data, but not before the application had its chance to answer. What
// the far side needs to go on with a message does not wait.
void Engine::PushGrant(FlowRecord& record, Time now) {
  Peer& peer = *record.peer;
  const ReceiveFlow& flow = *record.receive;
  if (peer.ready_receives.empty()) {
    peer.grants_with_data = now + peer.patience.span() / 2;
    peer.grants_alone = now + kGrantSpans * peer.patience.span();
  }
  if (flow.granted() < kManyGrants || flow.wants_admission()) {
    peer.grants_with_data = now;
  }
  if (flow.granted() < kFewGrants || flow.owes_grants()) {
    peer.grants_with_data = peer.grants_alone = now;
  }
  peer.ready_receives.Push(&record);
}

// --- Acks ------------------------------------------------------------------

// Cargo took along the acks that went its way. The rest leave by themselves as
// soon as a turn brings nothing new: the application has then had its chance
// to answer, and its answer would have carried them.
bool Engine::SendAcks(bool received, Time now) {
  const Time by = received ? now - kAckPatience : now;
  bool any = false;
  for (Peer* peer : touched_) {
    if (!peer->alive() || peer->acks_by > by) continue;
    const Path* path = PickAckPath(*peer, now);
    if (path == nullptr) continue;
    SendAcksOver(*peer, *path, now);
    peer->patience.OnAlone(now);
    any = true;
  }
  if (any) FlushAll();
  return any;
}

// One is due, so all that wait go along: the packet is paid for.
void Engine::SendAcksOver(Peer& peer, const Path& path, Time now) {
  if (!StageOf(peer, path).MakeRoom()) return;
  wire::AckPacket& packet = acks_out_;
  packet.count = 0;
  packet.peer = peer.far_id;
  const auto leave = [&] {
    std::array<std::byte, wire::kMaxAckPacketBytes> bytes;
    const uint32_t room =
        std::min<uint32_t>(wire::kMaxAckPacketBytes, SafeBytes(peer, path));
    while (packet.count > 0 && StageOf(peer, path).MakeRoom()) {
      size_t written = 0;
      const size_t size = wire::EncodeAcks(
          packet, peer.tx_key, std::span(bytes).first(room), &written);
      HAWSER_CHECK(written > 0);
      StagePacket(peer, path, std::span(bytes).first(size), {});
      metrics_.acks_sent.Add(1);
      RepeatAcks(peer, path, std::span(bytes).first(size));
      std::move(packet.acks + written, packet.acks + packet.count, packet.acks);
      packet.count = static_cast<uint8_t>(packet.count - written);
    }
    // What found no room is as good as lost: a later ack says it again.
    packet.count = 0;
  };
  peer.ack_waiting.ForEach([&](size_t p) {
    const auto ack = peer.paths[p].TakeAck(now);
    if (!ack) return;
    packet.acks[packet.count++] = *ack;
    if (packet.count == wire::kMaxAcksPerPacket) leave();
  });
  if (packet.count > 0) leave();
  peer.ack_waiting.Clear();
  peer.acks_by = Time::Never();
}

// Where no path seems to work, none is better than another, and acks go over
// many. Where the far side does nothing but ask, again and again, its answers
// may be lost on a path that seems to work only because nothing numbered was
// sent over it: so the more it asks, the more paths carry the answer.
void Engine::RepeatAcks(Peer& peer, const Path& but,
                        std::span<const std::byte> bytes) {
  size_t copies =
      peer.probes_in_a_row > 1
          ? std::min<size_t>(peer.probes_in_a_row - 1, kAnswerCopies)
          : 0;
  if (but.state() == Path::State::kSuspect) copies = kAckCopies;
  if (copies == 0) return;
  const size_t count = peer.paths.size();
  const size_t first = random_.Below(count);
  for (size_t i = 0; i < count && copies > 0; ++i) {
    const Path& path = peer.paths[(first + i) % count];
    if (path.id() == but.id() || !StageOf(peer, path).MakeRoom() ||
        bytes.size() > SafeBytes(peer, path)) {
      continue;
    }
    StagePacket(peer, path, bytes, {});
    metrics_.acks_sent.Add(1);
    --copies;
  }
}

// Acks go over paths on which packets arrive: one that is dead both ways is so
// left out, although nobody sends cargo from here to find out. But it may be
// dead in this direction alone, so one ack in many takes any path that is not
// suspect. Which one is drawn, and not counted out: whatever else comes in turn
// may keep step with a count, and then the same ack of every attempt is lost.
//
// Suspect paths come last, and not as long as another one lacks nothing but
// room.
Path* Engine::PickAckPath(Peer& peer, Time now) {
  const size_t count = peer.paths.size();
  const size_t first = random_.Below(count);
  const bool any = random_.Below(kBlindAcks) == 0;
  Path* way = nullptr;
  int best = -1;
  bool room = true;
  for (size_t tries = 0; tries < count && best < 2; ++tries) {
    const size_t p = (first + tries) % count;
    Path& path = peer.paths[p];
    if (!StageOf(peer, path).MakeRoom()) {
      room = false;
      continue;
    }
    int rank = 0;
    if (path.state() == Path::State::kOpen) {
      const bool arrives = peer.arriving.Has(p) || peer.arrived_before.Has(p);
      rank = any || arrives ? 2 : 1;
    }
    if (rank <= best) continue;
    best = rank;
    way = &path;
  }
  if (best == 0 && !room && peer.acks_by > now - kAckGrace) return nullptr;
  return way;
}

// --- Cargo -----------------------------------------------------------------

bool Engine::SendCargo(Time now) {
  for (Peer* peer : unserved_) Touch(*peer);
  unserved_.clear();
  // Peers take turns at being first, and so at having all of the budget.
  working_.assign(touched_.begin(), touched_.end());
  if (working_.size() > 1) {
    std::rotate(working_.begin(),
                working_.begin() + first_served_++ % working_.size(),
                working_.end());
  }
  size_t budget = kTurnPackets;
  bool sent = false;
  for (Peer* peer : working_) sent |= SendCargoTo(*peer, budget, now);
  FlushAll();
  return sent;
}

bool Engine::SendCargoTo(Peer& peer, size_t& budget, Time now) {
  if (!peer.alive()) return false;
  if (peer.probes_wanted) {
    peer.probes_wanted = false;
    for (Path& path : peer.paths) SendWantedProbe(peer, path, now);
  }
  bool sent = false;
  if (peer.placing) {
    for (Path& path : peer.paths) {
      PathBond& bond = peer.bonds[path.id().value];
      // In a plane that is black nothing that is bound to a path gets away.
      const bool stuck = !bond.lost.empty() && path.window().shut();
      if (!bond.burying &&
          (stuck || PlaneOf(peer, path).broken(WayOf(peer, path)))) {
        Bury(peer, path, now);
      }
      sent |= SendBound(peer, path, budget, now);
    }
  }
  // An ack that leaves anyway takes them along.
  if (peer.acks_by <= now) peer.grants_with_data = peer.grants_alone = now;
  bool sent_data = sent;
  while (budget > 0 && peer.HasDueCargo(now)) {
    RefreshSendable(peer, now);
    FindOpen(peer, now);
    const PathId id =
        peer.scheduler->Pick({peer.paths, peer.open.words()}, now);
    if (id == kNoPath) break;
    Path& path = peer.paths[id.value];
    sent_data |= !peer.closes.empty() || !peer.ready_sends.empty();
    if (peer.acks_by <= now + peer.patience.span()) {
      SendAcksOver(peer, path, now);
    }
    const size_t count =
        SendBurst(peer, path, std::min(budget, RoomFor(peer, path)), now);
    budget -= count;
    sent |= count > 0;
    if (const uint32_t larger =
            path.larger_probe_bytes(MostBytes(peer, path), now)) {
      SendProbe(peer, path, larger, now);
    }
  }
  if (sent) {
    sent_data ? peer.patience.OnData(now) : peer.patience.OnAlone(now);
  }
  // Windows and pacers call again by acks and deadlines; a spent budget and a
  // full NIC do not.
  const bool no_room =
      std::any_of(stages_.begin(), stages_.end(),
                  [](Stage& stage) { return !stage.MakeRoom(); });
  if (peer.HasDueCargo(now) && (budget == 0 || no_room)) {
    unserved_.push_back(&peer);
  }
  return sent;
}

size_t Engine::RoomFor(const Peer& peer, const Path& path) {
  Stage& stage = StageOf(peer, path);
  const Datapath& plane = *planes_[peer.places[path.id().value].plane];
  const size_t burst =
      std::min<size_t>(plane.burst_packets(peer.id), Stage::kCapacity);
  // A burst is one train to the datapath: it is staged whole.
  if (stage.left() < burst) stage.Flush();
  return std::min(burst, stage.room());
}

size_t Engine::SendBurst(Peer& peer, Path& path, size_t most, Time now) {
  const uint32_t full = MaxPacket(peer, path);
  const uint32_t max_payload = PayloadOf(full);
  size_t count = 0;
  Touch(peer, path);
  while (count < most) {
    FlowRecord* record = nullptr;
    const auto cargo = NextCargo(peer, path, &record, max_payload, now);
    if (!cargo) break;
    ++count;
    const Path::Numbered numbered =
        path.Send(*cargo,
                  cargo->kind == wire::CargoKind::kData
                      ? data_header_bytes_ + cargo->length
                      : static_cast<uint32_t>(wire::HeaderBytes(cargo->kind)),
                  now);
    const bool goes_on = path.CanSend(full, now) && peer.HasDueCargo(now);
    // The receiver need not wait for more of this path where a train ends. The
    // ack of a grant has time: the data that it calls for says as much.
    const bool last = !goes_on || (count == most && most > 1);
    SendPacket(peer, path, record, *cargo, numbered,
               last && cargo->kind != wire::CargoKind::kGrant);
    if (!goes_on) break;
  }
  return count;
}

// What is bound to a path leaves over it, behind its first copy.
bool Engine::SendBound(Peer& peer, Path& path, size_t& budget, Time now) {
  PathBond& bond = peer.bonds[path.id().value];
  const uint32_t full = MaxPacket(peer, path);
  const uint32_t max_payload =
      (full - data_header_bytes_) / kLineBytes * kLineBytes;
  bool sent = false;
  while (budget > 0 && !bond.burying && !bond.lost.empty() &&
         StageOf(peer, path).MakeRoom() && path.CanSend(full, now)) {
    wire::Cargo& oldest = bond.lost.front();
    FlowRecord* record = peer.sends.Find(oldest.flow);
    // It may have failed, or been received by way of another copy.
    const bool open = record != nullptr && record->send->open(oldest.message);
    wire::Cargo cargo = oldest;
    cargo.resend = true;
    cargo.length = std::min(cargo.length, max_payload);
    oldest.offset += cargo.length;
    oldest.length -= cargo.length;
    if (!open || oldest.length == 0) bond.lost.erase(bond.lost.begin());
    if (!open) continue;
    const Path::Numbered numbered =
        path.Send(cargo, data_header_bytes_ + cargo.length, now);
    Touch(peer, path);
    SendPacket(peer, path, record, cargo, numbered, bond.lost.empty());
    --budget;
    sent = true;
  }
  if (!bond.lost.empty() && !bond.burying &&
      (budget == 0 || !StageOf(peer, path).MakeRoom())) {
    unserved_.push_back(&peer);
  }
  return sent;
}

std::optional<wire::Cargo> Engine::NextCargo(Peer& peer, const Path& path,
                                             FlowRecord** record,
                                             uint32_t max_payload, Time now) {
  *record = nullptr;
  if (!peer.closes.empty()) {
    const wire::Cargo close = peer.closes.front();
    peer.closes.pop_front();
    return close;
  }
  while (peer.HasDueGrants(now)) {
    *record = peer.ready_receives.Pop();
    auto grant = (*record)->receive->Next();
    if ((*record)->ready()) peer.ready_receives.Push(*record);
    if (grant) return grant;
  }
  while (!peer.ready_sends.empty()) {
    *record = peer.ready_sends.Pop();
    SendFlow& flow = *(*record)->send;
    const RemoteSlice target = peer.placing ? flow.NextTarget() : RemoteSlice{};
    const uint32_t max_placed = target.key == 0 ? 0 : MaxPlaced(peer, path);
    const bool place = max_placed > 0 &&
                       PlaneOf(peer, path).CanPlace(WayOf(peer, path), target);
    // What acks and grants leave of their datagram has room for a short one.
    auto cargo = flow.Next(place ? max_placed : max_payload,
                           !place && max_payload > kHalfDatagram);
    if (cargo && place) {
      // To a GPU there is no other way that is not longer.
      const uint32_t least =
          IsGpu(target.key)
              ? 1
              : std::min(ReceiveFlow::kLeastPlacedBytes, max_payload);
      cargo->placed = cargo->length >= least;
    }
    if ((*record)->ready()) peer.ready_sends.Push(*record);
    if (cargo) return cargo;
  }
  return std::nullopt;
}

void Engine::SendPacket(Peer& peer, const Path& path, const FlowRecord* record,
                        const wire::Cargo& cargo,
                        const Path::Numbered& numbered, bool ack_now) {
  wire::PacketHeader header;
  header.peer = peer.far_id;
  header.path = path.id();
  header.number = numbered.number;
  header.open_span = numbered.open_span;
  header.ack_now = ack_now;
  header.cargo = cargo;
  header.cargo.placed = cargo.placed && !cargo.resend;
  MemorySlice payload;
  // A close carries the far end's id already: our half may be gone.
  if (record != nullptr) header.cargo.flow = record->far_id;
  if (cargo.kind == wire::CargoKind::kGrant) {
    header.grant = record->receive->Describe(cargo);
    if (const uint32_t key = header.grant.target.key; key != 0) {
      for (Datapath* plane : planes_) plane->Offer(peer.id, key);
    }
  } else if (cargo.kind == wire::CargoKind::kData) {
    payload = record->send->Payload(cargo);
    header.last = record->send->IsLast(cargo);
    if (check_payload_) {
      header.payload_checked = true;
      header.payload_check =
          wire::CheckOf({payload.data, payload.length}, peer.tx_key);
    }
  }
  EncodeAndStage(
      peer, header, payload,
      header.cargo.placed ? record->send->Target(cargo) : RemoteSlice{});
  if (cargo.resend) metrics_.packets_resent.Add(1);
}

// --- Between planes --------------------------------------------------------

// What finds no way is as good as lost: the plane will say it again.
void Engine::CarryControls() {
  static_assert(PlaneControl::kMostBytes == wire::kMaxControlBytes);
  PlaneControl control;
  std::array<std::byte, wire::kPrologueBytes + wire::kMaxControlBytes> bytes;
  for (uint16_t i = 0; i < planes_.size(); ++i) {
    while (planes_[i]->TakeControl(&control)) {
      Peer& peer = *peers_[control.peer.value];
      const Path* path = peer.alive() ? PickElsewhere(peer, i) : nullptr;
      if (path == nullptr) continue;
      const size_t size = wire::EncodeControl(
          {peer.far_id, static_cast<uint8_t>(i % peer.far_planes),
           control.view()},
          peer.tx_key, bytes);
      StagePacket(peer, *path, std::span(bytes).first(size), {});
      metrics_.controls_sent.Add(1);
    }
  }
}

// One that is open, if any is; another one each time.
const Path* Engine::PickElsewhere(const Peer& peer, uint16_t plane) {
  const Path* any = nullptr;
  const size_t count = peer.paths.size();
  const size_t first = random_.Below(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t p = (first + i) % count;
    const Path& path = peer.paths[p];
    if (peer.places[p].plane == plane || !StageOf(peer, path).MakeRoom()) {
      continue;
    }
    if (path.state() == Path::State::kOpen) return &path;
    if (any == nullptr) any = &path;
  }
  return any;
}

void Engine::SendWantedProbe(Peer& peer, Path& path, Time now) {
  if (!path.probe_wanted() || SendProbe(peer, path, path.probe_bytes(), now)) {
    return;
  }
  // Room calls again, where a deadline would not.
  peer.probes_wanted = true;
  unserved_.push_back(&peer);
}

bool Engine::SendProbe(Peer& peer, Path& path, uint32_t bytes, Time now) {
  if (!StageOf(peer, path).MakeRoom()) return false;
  wire::PacketHeader header;
  header.peer = peer.far_id;
  header.path = path.id();
  header.ack_now = true;
  header.cargo.kind = wire::CargoKind::kProbe;
  MemorySlice payload;
  constexpr auto kBare = static_cast<uint32_t>(wire::kProbeHeaderBytes);
  if (bytes > 0) {
    header.padded = true;
    payload = {padding_.data(), std::min(bytes, MostBytes(peer, path)) - kBare,
               0};
  }
  const Path::Numbered numbered =
      path.Send(header.cargo, kBare + payload.length, now);
  Touch(peer, path);
  header.number = numbered.number;
  header.open_span = numbered.open_span;
  EncodeAndStage(peer, header, payload);
  metrics_.probes_sent.Add(1);
  return true;
}

void Engine::EncodeAndStage(Peer& peer, const wire::PacketHeader& header,
                            MemorySlice payload, const RemoteSlice& target) {
  metrics_.packets_sent.Add(1);
  const PathPlace& place = peer.places[header.path.value];
  Stage& stage = stages_[place.plane];
  if (header.cargo.placed || stage.MayBegin(peer.id, place.entropy, payload)) {
    const auto bytes = stage.Begin(peer.id, place.entropy, payload, target);
    stage.End(wire::EncodePacket(header, peer.tx_key, bytes));
    return;
  }
  std::array<std::byte, wire::kMaxHeaderBytes> bytes;
  const size_t size = wire::EncodePacket(header, peer.tx_key, bytes);
  StagePacket(peer, peer.paths[header.path.value], std::span(bytes).first(size),
              payload);
}

// --- The door --------------------------------------------------------------

uint32_t Engine::MaxPlaced(const Peer& peer, const Path& path) const {
  // A check over the payload would have to be made by the host, which does not
  // see it come.
  if (check_payload_ || path.state() != Path::State::kOpen) return 0;
  const uint32_t most = PlaneOf(peer, path).max_placed_bytes(peer.id);
  return (std::min(most + data_header_bytes_, path.max_packet_bytes()) -
          data_header_bytes_) /
         kLineBytes * kLineBytes;
}

uint32_t Engine::MaxPacket(const Peer& peer, const Path& path) const {
  return std::min(MostBytes(peer, path), path.max_packet_bytes());
}

uint32_t Engine::SafeBytes(const Peer& peer, const Path& path) const {
  return std::min(MaxPacket(peer, path), path.safe_bytes());
}

uint32_t Engine::MostBytes(const Peer& peer, uint16_t plane) const {
  return std::min<uint32_t>(
      planes_[plane]->max_packet_bytes(peer.id),
      static_cast<uint32_t>(config_.packet_bytes) + data_header_bytes_);
}

// Large ones are whole lines, which are copied faster and never wait for one
// another; to small ones the rest of a line is worth more.
uint32_t Engine::PayloadOf(uint32_t packet_bytes) const {
  constexpr uint32_t kManyLines = 128;
  const uint32_t room = packet_bytes - data_header_bytes_;
  const uint32_t cut =
      room >= kManyLines * kLineBytes ? kLineBytes : wire::kCutBytes;
  return room / cut * cut;
}

void Engine::RefreshSendable(Peer& peer, Time now) {
  peer.stale_sendable.ForEach([&](size_t p) {
    const Path& path = peer.paths[p];
    peer.sendable.Put(p, path.window().paths() > 1
                             ? path.has_room()
                             : path.CanSend(MaxPacket(peer, path), now));
  });
  peer.stale_sendable.Clear();
}

void Engine::FindOpen(Peer& peer, Time now) {
  peer.open = peer.sendable;
  for (uint16_t p = 0; p < peer.planes.size(); ++p) {
    const PlanePaths& plane = peer.planes[p];
    if (plane.paths.empty()) continue;
    if (!stages_[p].MakeRoom() ||
        (plane.window != nullptr &&
         !plane.window->CanSend(MostBytes(peer, p), now))) {
      peer.open.Remove(plane.paths);
    }
  }
}

void Engine::StagePacket(Peer& peer, const Path& path,
                         std::span<const std::byte> header,
                         MemorySlice payload) {
  const size_t wanted = StageOf(peer, path)
                            .Add(peer.id, peer.places[path.id().value].entropy,
                                 header, payload, SafeBytes(peer, path));
  if (wanted > 0 && wanted <= MaxPacket(peer, path)) {
    peer.paths[path.id().value].OnSizeWanted();
  }
}

Stage& Engine::StageOf(const Peer& peer, const Path& path) {
  return stages_[peer.places[path.id().value].plane];
}

void Engine::FlushAll() {
  for (Stage& stage : stages_) stage.Flush();
}

}  // namespace hawser
