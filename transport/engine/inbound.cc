// A message's life, second half: from the wire to the application.
//
// A packet is judged from the outside in: is it whole, is it from a peer we
// know and under its key, is its number new; only then is its cargo opened.
// Whatever fails is dropped and counted, never answered and never logged.
#include <algorithm>
#include <array>
#include <utility>

#include "transport/engine/engine.h"
#include "transport/wire/bundle.h"

namespace hawser {

bool Engine::Receive(Time now) {
  bool any = false;
  if (!std::exchange(more_mail_, false)) more_mail_since_ = now;
  for (uint16_t i = 0; i < planes_.size(); ++i) {
    Datapath* const plane = planes_[i];
    if (peeks_left_ > 0) FindPlaces(plane->Peek());
    const size_t count = plane->Receive(received_);
    if (count > 0 && peeks_left_ > 0) --peeks_left_;
    for (const RxPacket& datagram : std::span(received_).first(count)) {
      wire::BundleReader packets(datagram.bytes, datagram.rest.size());
      while (const auto packet = packets.Next()) {
        OnPacket(*packet,
                 packets.at_last() ? datagram.rest : std::span<std::byte>(),
                 datagram, i, now);
      }
    }
    plane->Recycle();
    TakeCarried(i, now);
    TakeBuried(i, now);
    any |= count > 0;
    more_mail_ |= count == received_.size();
  }
  return any;
}

// Two copies may wait side by side, and are both new as long as none has been
// received.
void Engine::FindPlaces(std::span<RxFront> fronts) {
  for (size_t i = 0; i < fronts.size(); ++i) {
    const std::span<std::byte> place = PlaceOf(fronts[i]);
    const bool taken = std::any_of(
        fronts.begin(), fronts.begin() + static_cast<ptrdiff_t>(i),
        [place](const RxFront& before) {
          return before.place.data() < place.data() + place.size() &&
                 place.data() < before.place.data() + before.place.size();
        });
    if (!taken) fronts[i].place = place;
  }
}

// The judgement of OnPacket, before any byte has been touched, on what has
// arrived and not been received.
std::span<std::byte> Engine::PlaceOf(const RxFront& front) {
  if (front.length < peek_bytes_) return {};
  const size_t rest_bytes = front.length - front.bytes.size();
  wire::BundleReader packets(front.bytes, rest_bytes);
  std::span<const std::byte> last;
  while (const auto packet = packets.Next()) last = *packet;
  const auto prologue = wire::DecodePrologue(last);
  if (!prologue || prologue->kind != wire::PacketKind::kData) return {};
  wire::Expected expected;
  const Peer* const peer = FindSender(*prologue, &expected);
  if (peer == nullptr || prologue->path.value >= peer->paths.size()) return {};
  const Path& path = peer->paths[prologue->path.value];
  expected.number = path.expected();
  const auto header =
      wire::DecodeFront(last, *prologue, peer->rx_key, expected, rest_bytes);
  if (!header || header->cargo.placed || !path.IsNew(header->number)) return {};
  const FlowRecord* record = FindReceive(*peer, header->cargo.flow);
  if (record == nullptr) return {};
  return record->receive->PlaceOf(header->cargo, header->last);
}

void Engine::OnPacket(std::span<const std::byte> bytes,
                      std::span<const std::byte> rest, const RxPacket& datagram,
                      uint16_t plane, Time now) {
  const auto prologue = wire::DecodePrologue(bytes);
  if (!prologue) return metrics_.packets_malformed.Add(1);
  wire::Expected expected;
  Peer* const sender = FindSender(*prologue, &expected);
  if (sender == nullptr) return metrics_.packets_foreign.Add(1);
  Peer& peer = *sender;

  if (prologue->kind == wire::PacketKind::kAck) {
    return OnAcks(peer, bytes, datagram.waited, now);
  }
  if (prologue->kind == wire::PacketKind::kGoodbye) {
    if (!wire::DecodeGoodbye(bytes, peer.rx_key)) {
      return metrics_.packets_malformed.Add(1);
    }
    if (peer.state == Peer::State::kOpen) {
      peer.state = Peer::State::kLeaving;
      peer.leaving_at = now + kLeavingGrace;
      Touch(peer);
    }
    return;
  }
  if (prologue->kind == wire::PacketKind::kControl) {
    return OnControl(peer, bytes, now);
  }
  if (prologue->path.value >= peer.paths.size()) {
    return metrics_.packets_malformed.Add(1);
  }
  Path& path = peer.paths[prologue->path.value];
  expected.number = path.expected();
  const auto decoded =
      wire::DecodePacket(bytes, *prologue, peer.rx_key, expected, rest);
  if (!decoded ||
      // What the packet says of its payload, and what the NIC did.
      (decoded->header.cargo.placed ? decoded->header.cargo.length : 0) !=
          datagram.placed_bytes) {
    return metrics_.packets_malformed.Add(1);
  }
  const Arrival arrival =
      path.OnPacket(decoded->header, datagram.ecn_marked, now - datagram.waited,
                    AckWaitOf(peer, path));
  const uint16_t bit = path.id().value;
  peer.ack_waiting.Add(bit);
  peer.acks_by = std::min(peer.acks_by, path.ack_deadline());
  if (now - peer.arriving_since > kArrivingSpan) {
    peer.arriving_since = now;
    std::swap(peer.arriving, peer.arrived_before);
    peer.arriving.Clear();
  }
  peer.arriving.Add(bit);
  peer.last_heard_path = path.id();
  Hear(peer, now);
  if (arrival != Arrival::kNew) return metrics_.packets_duplicate.Add(1);
  metrics_.packets_received.Add(1);
  if (decoded->header.cargo.kind == wire::CargoKind::kProbe) {
    ++peer.probes_in_a_row;
  } else {
    peer.probes_in_a_row = 0;
  }
  OnCargo(peer, *decoded, plane, now);
}

// Acks that the sender did not ask for need not come more often than four times
// a round trip (Li et al., TACK, SIGCOMM 2020: beta is 4), queues and all: it
// asks where it waits for one. A path that carries nothing from here has the
// round trip of the others, which may be a longer one; so the sender's patience
// is a limit, as far as it is our own.
AckWait Engine::AckWaitOf(const Peer& peer, const Path& path) const {
  constexpr int kAcksPerRoundTrip = 4;
  constexpr int kMostOfTimeout = 4;
  const Duration patience = peer.patience.span();
  const Duration round_trip = path.network_rtt().has_sample()
                                  ? path.network_rtt().smoothed()
                                  : peer.latest_rtt;
  const Duration unasked = std::min(round_trip / kAcksPerRoundTrip,
                                    path_options_.rto_min / kMostOfTimeout);
  return {patience, std::max(patience, unasked)};
}

// A closed flow still tells whose it was, so that what comes late for it is
// acked as any other packet: its path has done nothing wrong.
Peer* Engine::FindSender(const wire::Prologue& prologue,
                         wire::Expected* expected) {
  Peer* peer = nullptr;
  if (prologue.kind == wire::PacketKind::kData) {
    const FlowTable::Slot* slot = receives_.At(prologue.flow_slot);
    if (slot == nullptr) return nullptr;
    peer = slot->peer;
    expected->flow = slot->id;
    expected->message =
        slot->record ? slot->record->receive->first_open() : slot->oldest;
  } else {
    if (prologue.peer.value >= peers_.size()) return nullptr;
    peer = peers_[prologue.peer.value].get();
  }
  // A peer that we cannot answer yet will send again what it sends now.
  return peer->alive() ? peer : nullptr;
}

FlowRecord* Engine::FindReceive(const Peer& peer, FlowId id) const {
  FlowRecord* record = receives_.Find(id);
  return record != nullptr && record->peer == &peer ? record : nullptr;
}

void Engine::OnCargo(Peer& peer, const wire::DecodedPacket& packet,
                     uint16_t plane, Time now) {
  const wire::Cargo& cargo = packet.header.cargo;
  switch (cargo.kind) {
    case wire::CargoKind::kData: {
      FlowRecord* record = FindReceive(peer, cargo.flow);
      if (record == nullptr) return metrics_.packets_unexpected.Add(1);
      const bool last = packet.header.last;
      switch (cargo.placed
                  ? record->receive->OnPlaced(cargo, last)
                  : record->receive->OnData(cargo, last, packet.payload)) {
        case ReceiveFlow::Placed::kNew:
          metrics_.bytes_received.Add(cargo.length);
          if (packet.home) metrics_.bytes_placed.Add(cargo.length);
          if (cargo.length >= peek_bytes_ && !record->receive->watched()) {
            peeks_left_ = kPeeks;
          }
          UpdateBusy(*record, now);
          AdmitMore(*record, cargo, last, now);
          return;
        case ReceiveFlow::Placed::kDuplicate:
          return metrics_.packets_duplicate.Add(1);
        case ReceiveFlow::Placed::kUnexpected:
          return metrics_.packets_unexpected.Add(1);
        case ReceiveFlow::Placed::kCarry:
          metrics_.bytes_carried.Add(cargo.length);
          planes_[plane]->Carry(AddErrand({.record = record,
                                           .plane = plane,
                                           .cargo = cargo,
                                           .last = last}),
                                packet.payload, record->receive->Place(cargo));
          return;
      }
      return;
    }
    case wire::CargoKind::kGrant: {
      FlowRecord* record = peer.sends.Find(cargo.flow);
      if (record == nullptr) return metrics_.packets_unexpected.Add(1);
      if (!record->send->OnGrant(cargo, packet.header.grant)) {
        metrics_.packets_unexpected.Add(1);
      }
      if (record->ready()) peer.ready_sends.Push(record);
      return;
    }
    case wire::CargoKind::kClose: {
      FlowRecord* record = cargo.from_sender ? FindReceive(peer, cargo.flow)
                                             : peer.sends.Find(cargo.flow);
      if (record == nullptr) return;  // Both halves closed at once.
      record->far_closed = true;
      if (!cargo.from_sender) record->send->OnReceived(cargo.message);
      OnFarClosed(*record, now);
      return;
    }
    case wire::CargoKind::kProbe:
      return;  // Being acked is all it asks.
  }
}

// What has arrived, and was acked, may still be on its way to its place.
void Engine::OnFarClosed(FlowRecord& record, Time now) {
  if (record.errands > 0) return;
  EndPlacing(record, now);
  record.OnFailed(Request::Outcome::kClosed);
  UpdateBusy(record, now);
}

void Engine::OnAcks(Peer& peer, std::span<const std::byte> bytes,
                    Duration waited, Time now) {
  if (!wire::DecodeAcks(bytes, peer.rx_key, &acks_in_)) {
    return metrics_.packets_malformed.Add(1);
  }
  Hear(peer, now);
  for (wire::Ack& ack : std::span(acks_in_.acks, acks_in_.count)) {
    if (ack.path.value >= peer.paths.size()) {
      metrics_.packets_malformed.Add(1);
      continue;
    }
    Path& path = peer.paths[ack.path.value];
    ack.largest = path.ExpandAck(static_cast<uint32_t>(ack.largest.value));
    const Path::State before = path.state();
    const AckSummary summary = path.OnAck(ack, now - waited, settled_, now);
    Touch(peer, path);
    if (!summary.valid) {
      metrics_.packets_malformed.Add(1);
      continue;
    }
    metrics_.acks_received.Add(1);
    if (summary.progress) {
      peer.last_heard_path = path.id();
      if (path.network_rtt().has_sample()) {
        peer.latest_rtt = path.network_rtt().latest();
        admission_.OnRtt(peer, peer.latest_rtt);
      }
    }
    if (path.probe_wanted()) peer.probes_wanted = true;
    if (before == Path::State::kSuspect && path.state() == Path::State::kOpen) {
      metrics_.paths_reopened.Add(1);
    }
    Learn(peer, path, summary);
    Settle(peer, now);
  }
}

void Engine::Learn(Peer& peer, const Path& path, const AckSummary& summary) {
  metrics_.packets_lost.Add(summary.lost_packets);
  metrics_.packets_spurious.Add(summary.spurious_packets);
  Tell(*peer.scheduler, path, summary);
}

void Engine::Settle(Peer& peer, Time now) {
  for (const Settled& settled : settled_) {
    const bool delivered = settled.fate == Fate::kDelivered;
    const wire::Cargo& cargo = settled.cargo;
    switch (cargo.kind) {
      case wire::CargoKind::kData:
        if (!delivered && cargo.placed) {
          peer.bonds[settled.path.value].lost.push_back(cargo);
          break;
        }
        if (FlowRecord* record = peer.sends.Find(cargo.flow)) {
          if (delivered) metrics_.bytes_delivered.Add(cargo.length);
          record->send->OnSettled(cargo, delivered);
          if (record->ready()) peer.ready_sends.Push(record);
          UpdateBusy(*record, now);
        }
        break;
      case wire::CargoKind::kGrant:
        if (FlowRecord* record = FindReceive(peer, cargo.flow)) {
          record->receive->OnSettled(cargo, delivered);
          if (record->ready()) PushGrant(*record, now);
        }
        break;
      case wire::CargoKind::kClose:
        if (delivered) {
          --peer.open_closes;
        } else {
          peer.closes.push_front(cargo);
          peer.closes.front().resend = true;
        }
        break;
      case wire::CargoKind::kProbe:
        break;
    }
  }
  settled_.clear();
}

void Engine::OnControl(Peer& peer, std::span<const std::byte> bytes, Time now) {
  const auto packet = wire::DecodeControl(bytes, peer.rx_key);
  if (!packet || packet->plane >= planes_.size()) {
    return metrics_.packets_malformed.Add(1);
  }
  Hear(peer, now);
  metrics_.controls_received.Add(1);
  planes_[packet->plane]->OnControl(peer.id, packet->content);
}

// A way has gone, on both sides: what was bound to its path may go anywhere.
void Engine::TakeBuried(uint16_t plane, Time now) {
  Way way;
  while (planes_[plane]->TakeBuried(&way)) {
    if (way.peer.value >= peers_.size()) continue;
    Peer& peer = *peers_[way.peer.value];
    for (size_t p = 0; p < peer.paths.size(); ++p) {
      PathBond& bond = peer.bonds[p];
      const PathPlace& place = peer.places[p];
      if (!bond.burying || place.plane != plane ||
          place.entropy != way.entropy) {
        continue;
      }
      bond.burying = false;
      Touch(peer, peer.paths[p]);
      for (wire::Cargo& cargo : bond.lost) {
        cargo.placed = false;
        settled_.push_back({cargo, peer.paths[p].id(), Fate::kLost});
      }
      bond.lost.clear();
      Settle(peer, now);
    }
    Touch(peer);
  }
}

// --- Errands ---------------------------------------------------------------

uint64_t Engine::AddErrand(const Errand& errand) {
  ++errand.record->errands;
  if (free_errands_.empty()) {
    free_errands_.push_back(errands_.size());
    errands_.emplace_back();
  }
  const uint64_t ticket = free_errands_.back();
  free_errands_.pop_back();
  errands_[ticket] = errand;
  return ticket;
}

// Where a NIC cannot write into its own host's memory, that was unregistered,
// or the NIC is gone. The bytes are acked by now, so their flow is beyond help.
void Engine::TakeCarried(uint16_t plane, Time now) {
  Carried carried;
  while (planes_[plane]->TakeCarried(&carried)) {
    const Errand errand = std::exchange(errands_[carried.ticket], {});
    free_errands_.push_back(carried.ticket);
    FlowRecord& record = *errand.record;
    --record.errands;
    if (FlushRequest* flush = errand.flush) {
      flush->ok &= carried.ok;
      if (--flush->planes == 0) {
        flush->request.Finish(
            flush->ok ? Request::Outcome::kOk : Request::Outcome::kStuck, 0);
      }
    } else if (!carried.ok) {
      EndPlacing(record, now);
      record.OnFailed(Request::Outcome::kStuck);
    } else if (record.receive->OnCarried(errand.cargo, errand.last) ==
               ReceiveFlow::Placed::kNew) {
      metrics_.bytes_received.Add(errand.cargo.length);
      AdmitMore(record, errand.cargo, errand.last, now);
    }
    if (record.far_closed) OnFarClosed(record, now);
    UpdateBusy(record, now);
  }
}

void Engine::ForgetErrands(FlowRecord& record) {
  if (record.errands == 0) return;
  for (uint16_t plane = 0; plane < planes_.size(); ++plane) {
    std::vector<uint64_t> tickets;
    for (uint64_t ticket = 0; ticket < errands_.size(); ++ticket) {
      Errand& errand = errands_[ticket];
      if (errand.record != &record || errand.plane != plane) continue;
      tickets.push_back(ticket);
      errand = {};
    }
    if (!tickets.empty()) planes_[plane]->Forget(tickets);
    free_errands_.insert(free_errands_.end(), tickets.begin(), tickets.end());
  }
  record.errands = 0;
  if (record.flushes == nullptr) return;
  for (FlushRequest& flush : *record.flushes) {
    if (std::exchange(flush.planes, 0) > 0) {
      flush.request.Finish(Request::Outcome::kClosed, 0);
    }
  }
}

Request* Engine::Flush(FlowRecord& record, const MemorySlice& memory) {
  if (record.flushes == nullptr) {
    record.flushes = std::make_unique<FlowRecord::Flushes>();
  }
  for (size_t i = 0; i < record.flushes->size(); ++i) {
    FlushRequest& flush = (*record.flushes)[i];
    if (!flush.request.Start(static_cast<uint8_t>(i), memory,
                             /*is_watched=*/false)) {
      continue;
    }
    flush.planes = planes_.size();
    flush.ok = true;
    for (uint16_t plane = 0; plane < planes_.size(); ++plane) {
      planes_[plane]->Flush(
          AddErrand({.record = &record, .plane = plane, .flush = &flush}),
          memory);
    }
    return &flush.request;
  }
  return nullptr;
}

}  // namespace hawser
