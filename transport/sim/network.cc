#include "transport/sim/network.h"

#include <algorithm>
#include <cstring>

#include "transport/base/check.h"

namespace hawser::sim {
namespace {

constexpr Duration kEchoMost = Duration::Millis(50);

}  // namespace

Time Network::next_event() const {
  return arriving_.empty() ? Time::Never() : arriving_.top().at;
}

void Network::Attach(int host, int plane, SimDatapath* datapath) {
  doors_[{host, plane}] = datapath;
  planes_[host] = std::max(planes_[host], plane + 1);
}

bool Network::Queue(Rate rate, uint32_t queue_bytes, uint32_t mark_bytes,
                    size_t bytes, Time now, Time* free_at, bool* marked) {
  const Time begin = std::max(*free_at, now);
  const uint64_t waiting =
      rate.unlimited() ? 0
                       : static_cast<uint64_t>(
                             (begin - now) / Duration::Seconds(1) *
                             static_cast<double>(rate.bits_per_second()) / 8);
  if (waiting + bytes > queue_bytes) return false;
  *marked |= waiting > mark_bytes;
  *free_at = begin + rate.TimeToSend(bytes);
  return true;
}

void Network::OnSend(const LinkId& id, std::vector<std::byte> bytes, Time now) {
  Link& link = links_[id];
  const LinkModel& model = link.model;
  ++link.counts.packets;
  ++departures_;
  if (listener_) listener_(id, bytes);
  // Every packet draws the same numbers whatever becomes of it, so that a
  // fault changes only the packets it strikes.
  const bool lost = random_.Chance(model.loss);
  bool marked = random_.Chance(model.ecn);
  const bool twice = random_.Chance(model.duplicate);
  const bool corrupt = random_.Chance(model.corrupt);
  const bool overtakes = random_.Chance(model.overtake);
  const double jitter = random_.Fraction();
  const uint64_t flips = random_.Next();
  const bool echoes = random_.Chance(model.echo);

  if (lost || model.dark || bytes.size() > model.max_bytes ||
      !Queue(model.rate, model.queue_bytes, model.mark_bytes, bytes.size(), now,
             &link.free_at, &marked)) {
    ++link.counts.dropped;
    return;
  }
  const auto part = [&](Duration whole) {
    return Duration::Nanos(
        static_cast<int64_t>(jitter * static_cast<double>(whole.nanos())));
  };
  Time at = link.free_at + model.delay + part(model.jitter);
  if (overtakes) {
    at = at + part(4 * model.delay);
  } else {
    at = link.last_arrival = std::max(at, link.last_arrival);
  }
  if (corrupt && !bytes.empty()) {
    for (uint64_t flip = 0; flip <= flips % 4; ++flip) {
      const uint64_t bit = Mix64(flips + flip) % (bytes.size() * 8);
      bytes[bit / 8] ^= std::byte{1} << bit % 8;
    }
  }
  if (twice) Schedule({at, 0, id, bytes, marked, false});
  if (echoes) {
    const auto later =
        static_cast<int64_t>(jitter * static_cast<double>(kEchoMost.nanos()));
    Schedule({at + Duration::Nanos(later), 0, id, bytes, marked, false});
  }
  Schedule({at, 0, id, std::move(bytes), marked, false});
}

void Network::Schedule(Arrival arrival) {
  arrival.order = order_++;
  arriving_.push(std::move(arrival));
}

bool Network::HoldAtPort(Arrival& arrival, int plane) {
  if (arrival.through_port || ports_.empty()) return false;
  const auto found = ports_.find({arrival.link.to, plane});
  if (found == ports_.end()) return false;
  Port& port = found->second;
  if (!Queue(port.model.rate, port.model.queue_bytes, port.model.mark_bytes,
             arrival.bytes.size(), arrival.at, &port.free_at,
             &arrival.marked)) {
    ++links_[arrival.link].counts.dropped;
    return true;
  }
  if (port.free_at <= arrival.at) return false;
  arrival.at = port.free_at;
  arrival.through_port = true;
  Schedule(std::move(arrival));
  return true;
}

void Network::OnTime(Time now, std::vector<int>& hosts) {
  while (!arriving_.empty() && arriving_.top().at <= now) {
    // Its key stays as it was until it is popped.
    Arrival arrival = std::move(const_cast<Arrival&>(arriving_.top()));
    arriving_.pop();
    const auto planes = planes_.find(arrival.link.to);
    if (planes == planes_.end()) continue;
    const int plane = arrival.link.plane % planes->second;
    if (HoldAtPort(arrival, plane)) continue;
    hash_ = Mix64(hash_ ^ static_cast<uint64_t>(arrival.at.nanos()));
    hash_ = Mix64(hash_ ^ (static_cast<uint64_t>(arrival.link.to) << 32 |
                           static_cast<uint64_t>(arrival.bytes.size())));
    for (size_t i = 0; i + 8 <= std::min<size_t>(arrival.bytes.size(), 48);
         i += 8) {
      uint64_t word;
      std::memcpy(&word, arrival.bytes.data() + i, 8);
      hash_ = Mix64(hash_ ^ word);
    }
    const auto door = doors_.find({arrival.link.to, plane});
    if (door == doors_.end()) continue;
    door->second->SetNow(now);
    door->second->OnArrival(std::move(arrival.bytes), arrival.marked);
    hosts.push_back(arrival.link.to);
  }
}

SimDatapath::SimDatapath(Network& network, int host, int plane,
                         const SimDatapathOptions& options)
    : network_(network),
      host_(host),
      plane_(plane),
      options_(options),
      room_(options.room) {
  network.Attach(host, plane, this);
}

PlaneAddress SimDatapath::address() const {
  PlaneAddress address;
  address.length = sizeof(host_);
  std::memcpy(address.bytes.data(), &host_, sizeof(host_));
  address.max_packet_bytes = options_.max_packet_bytes;
  return address;
}

bool SimDatapath::OpenPeer(PeerId peer, const PlaneAddress& there) {
  int host;
  if (there.length != sizeof(host)) return false;
  std::memcpy(&host, there.bytes.data(), sizeof(host));
  peers_[peer] = host;
  return true;
}

void SimDatapath::Send(std::span<const TxPacket> batch) {
  HAWSER_CHECK(batch.size() <= room_);
  room_ -= batch.size();
  if (options_.defers > 0 && network_.random().Chance(options_.defers)) {
    room_ = 0;
  }
  for (const TxPacket& packet : batch) {
    const auto peer = peers_.find(packet.peer);
    if (peer == peers_.end()) continue;
    HAWSER_CHECK(packet.entropy < options_.entropies);
    if (options_.max_placed_bytes > 0) {
      const Lane& lane = lanes_[{peer->second, packet.entropy}];
      Frame frame;
      frame.kind = lane.buried ? Frame::Kind::kInOrder : Frame::Kind::kFree;
      frame.entropy = packet.entropy;
      frame.generation = lane.generation;
      if (packet.target.key != 0) {
        HAWSER_CHECK(lane.buried && packet.payload.key != 0);
        frame.source = reinterpret_cast<uint64_t>(packet.payload.data);
        frame.target = packet.target.address;
        frame.placed_bytes = packet.payload.length;
        SendFrame(peer->second, packet.entropy, frame, packet.header);
        continue;
      }
      std::vector<std::byte> whole(packet.header.begin(), packet.header.end());
      whole.insert(whole.end(), packet.payload.data,
                   packet.payload.data + packet.payload.length);
      SendFrame(peer->second, packet.entropy, frame, whole);
      continue;
    }
    std::vector<std::byte> bytes(packet.header.begin(), packet.header.end());
    bytes.insert(bytes.end(), packet.payload.data,
                 packet.payload.data + packet.payload.length);
    HAWSER_CHECK(!bytes.empty() && bytes.size() <= options_.max_packet_bytes);
    network_.OnSend({host_, peer->second, plane_, packet.entropy},
                    std::move(bytes), now_);
  }
}

void SimDatapath::OnArrival(std::vector<std::byte> bytes, bool marked) {
  if (options_.max_placed_bytes > 0) return OnFrame(std::move(bytes), marked);
  mail_.push_back({std::move(bytes), marked, now_, 0});
}

std::span<RxFront> SimDatapath::Peek() {
  HAWSER_CHECK(lent_.empty());
  fronts_.clear();
  if (options_.front_bytes == 0) return {};
  constexpr size_t kMostShown = 16;
  for (const Letter& letter : mail_) {
    if (fronts_.size() == kMostShown) break;
    const std::span<const std::byte> bytes = letter.bytes;
    fronts_.push_back(
        {bytes.first(std::min<size_t>(bytes.size(), options_.front_bytes)),
         static_cast<uint32_t>(bytes.size()),
         {}});
  }
  return fronts_;
}

// As a kernel does, it writes to all places before anybody has seen the first.
size_t SimDatapath::Receive(std::span<RxPacket> out) {
  HAWSER_CHECK(lent_.empty());
  HAWSER_CHECK(out.size() >= fronts_.size());
  const size_t count = std::min(out.size(), mail_.size());
  for (size_t i = 0; i < count; ++i) {
    lent_.push_back(std::move(mail_.front()));
    mail_.pop_front();
  }
  for (size_t i = 0; i < count; ++i) {
    const std::span<const std::byte> bytes = lent_[i].bytes;
    const std::span<std::byte> place =
        i < fronts_.size() ? fronts_[i].place : std::span<std::byte>();
    HAWSER_CHECK(place.empty() || place.size() < bytes.size());
    const auto end = bytes.last(place.size());
    std::copy(end.begin(), end.end(), place.begin());
    out[i] = {bytes.first(bytes.size() - place.size()), lent_[i].marked,
              now_ - lent_[i].arrived_at, lent_[i].placed_bytes, place};
  }
  fronts_.clear();
  return count;
}

// --- What a NIC does that places payload ------------------------------------

uint64_t SimDatapath::CheckOf(const Frame& frame,
                              std::span<const std::byte> bytes) {
  uint64_t words[sizeof(Frame) / 8];
  std::memcpy(words, &frame, sizeof(frame));
  uint64_t check = bytes.size();
  for (size_t i = 1; i < std::size(words); ++i) check = Mix64(check ^ words[i]);
  for (const std::byte b : bytes) {
    check = Mix64(check ^ std::to_integer<uint64_t>(b));
  }
  return check;
}

void SimDatapath::SendFrame(int host, uint16_t entropy, Frame frame,
                            std::span<const std::byte> header) {
  frame.from = host_;
  std::vector<std::byte> bytes(sizeof(frame) + header.size() +
                               frame.placed_bytes);
  std::copy(header.begin(), header.end(), bytes.begin() + sizeof(frame));
  frame.check = CheckOf(frame, std::span(bytes).subspan(sizeof(frame)));
  std::memcpy(bytes.data(), &frame, sizeof(frame));
  network_.OnSend({host_, host, plane_, entropy}, std::move(bytes), now_);
}

void SimDatapath::OnFrame(std::vector<std::byte> bytes, bool marked) {
  Frame frame;
  HAWSER_CHECK(bytes.size() >= sizeof(frame));
  std::memcpy(&frame, bytes.data(), sizeof(frame));
  const auto rest = std::span<const std::byte>(bytes).subspan(sizeof(frame));
  if (frame.check != CheckOf(frame, rest)) return;
  switch (frame.kind) {
    case Frame::Kind::kAsk:
      return OnAsk(frame);
    case Frame::Kind::kAnswer:
      return OnAnswer(frame);
    case Frame::Kind::kInOrder:
      if (frame.generation < ears_[{frame.from, frame.entropy}]) return;
      break;
    case Frame::Kind::kFree:
      break;
  }
  if (frame.placed_bytes > 0) {
    std::memcpy(reinterpret_cast<std::byte*>(frame.target),
                reinterpret_cast<const std::byte*>(frame.source),
                frame.placed_bytes);
  }
  const auto kept = rest.first(rest.size() - frame.placed_bytes);
  mail_.push_back(
      {{kept.begin(), kept.end()}, marked, now_, frame.placed_bytes});
}

void SimDatapath::Say(int host, uint32_t way, Frame frame) {
  frame.from = host_;
  SendFrame(host, static_cast<uint16_t>(way % options_.entropies), frame, {});
  for (const auto& [peer, there] : peers_) {
    if (there != host) continue;
    PlaneControl control{.peer = peer, .length = sizeof(frame)};
    static_assert(sizeof(frame) <= PlaneControl::kMostBytes);
    std::memcpy(control.bytes.data(), &frame, sizeof(frame));
    controls_.push_back(control);
  }
}

void SimDatapath::OnAsk(const Frame& asked) {
  uint32_t& ear = ears_[{asked.from, asked.entropy}];
  ear = std::max(ear, asked.generation);
  Frame answer = asked;
  answer.kind = Frame::Kind::kAnswer;
  Say(asked.from, asked.asks, answer);
}

void SimDatapath::OnAnswer(const Frame& answer) {
  Lane& lane = lanes_[{answer.from, answer.entropy}];
  if (lane.buried || lane.generation != answer.generation) return;
  lane.buried = true;
  for (const auto& [peer, host] : peers_) {
    if (host != answer.from) continue;
    buried_.push_back({peer, static_cast<uint16_t>(answer.entropy)});
  }
}

void SimDatapath::OnControl(PeerId, std::span<const std::byte> bytes) {
  Frame frame;
  if (bytes.size() != sizeof(frame)) return;
  std::memcpy(&frame, bytes.data(), sizeof(frame));
  if (frame.kind == Frame::Kind::kAsk) OnAsk(frame);
  if (frame.kind == Frame::Kind::kAnswer) OnAnswer(frame);
}

bool SimDatapath::TakeControl(PlaneControl* control) {
  if (controls_.empty()) return false;
  *control = controls_.front();
  controls_.pop_front();
  return true;
}

bool SimDatapath::CanPlace(const Way& way, const RemoteSlice& target) const {
  if (options_.max_placed_bytes == 0 || target.key == 0) return false;
  const auto peer = peers_.find(way.peer);
  if (peer == peers_.end()) return false;
  const auto lane = lanes_.find({peer->second, way.entropy});
  return lane == lanes_.end() || lane->second.buried;
}

void SimDatapath::ShutEars(PeerId id) {
  const auto peer = peers_.find(id);
  if (peer == peers_.end()) return;
  for (uint32_t i = 0; i < options_.entropies; ++i) {
    ++ears_[{peer->second, i}];
  }
}

void SimDatapath::Bury(const Way& way) {
  const auto peer = peers_.find(way.peer);
  if (peer == peers_.end()) return;
  Lane& lane = lanes_[{peer->second, way.entropy}];
  if (lane.buried) {
    lane.buried = false;
    ++lane.generation;
  }
  Frame ask;
  ask.kind = Frame::Kind::kAsk;
  ask.entropy = way.entropy;
  ask.generation = lane.generation;
  ask.asks = ++lane.asks;
  Say(peer->second, way.entropy + lane.asks, ask);
}

void SimDatapath::Carry(uint64_t ticket, std::span<const std::byte> bytes,
                        const MemorySlice& to) {
  HAWSER_CHECK(IsGpu(to.key) && to.length == bytes.size());
  jobs_.push_back({ticket,
                   now_ + options_.carries_for,
                   {bytes.begin(), bytes.end()},
                   to.data});
}

void SimDatapath::Flush(uint64_t ticket, const MemorySlice& memory) {
  HAWSER_CHECK(IsGpu(memory.key));
  jobs_.push_back({ticket, now_ + options_.carries_for, {}, nullptr});
}

void SimDatapath::Forget(std::span<const uint64_t> tickets) {
  std::erase_if(jobs_, [&](const Job& job) {
    return std::find(tickets.begin(), tickets.end(), job.ticket) !=
           tickets.end();
  });
}

// In the order in which they were given, and no sooner than it must be.
bool SimDatapath::TakeCarried(Carried* carried) {
  if (jobs_.empty() || jobs_.front().at > now_) return false;
  const Job& job = jobs_.front();
  std::copy(job.bytes.begin(), job.bytes.end(), job.to);
  *carried = {job.ticket, true};
  jobs_.pop_front();
  return true;
}

bool SimDatapath::TakeBuried(Way* way) {
  if (buried_.empty()) return false;
  *way = buried_.front();
  buried_.pop_front();
  return true;
}

}  // namespace hawser::sim
