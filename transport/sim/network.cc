#include "transport/sim/network.h"

#include <algorithm>
#include <cstring>

#include "transport/base/check.h"

namespace hawser::sim {

Time Network::next_event() const {
  return arriving_.empty() ? Time::Never() : arriving_.top().at;
}

void Network::Attach(int host, int plane, SimDatapath* datapath) {
  doors_[{host, plane}] = datapath;
}

void Network::OnSend(const LinkId& id, std::vector<std::byte> bytes,
                     Time now) {
  Link& link = links_[id];
  const LinkModel& model = link.model;
  ++link.counts.packets;
  // Every packet draws the same numbers whatever becomes of it, so that a
  // fault changes only the packets it strikes.
  const bool lost = random_.Chance(model.loss);
  bool marked = random_.Chance(model.ecn);
  const bool twice = random_.Chance(model.duplicate);
  const bool corrupt = random_.Chance(model.corrupt);
  const bool overtakes = random_.Chance(model.overtake);
  const double jitter = random_.Fraction();
  const uint64_t flips = random_.Next();

  const Time free_at = std::max(link.free_at, now);
  const uint64_t waiting =
      model.rate.unlimited()
          ? 0
          : static_cast<uint64_t>((free_at - now).nanos()) *
                static_cast<uint64_t>(model.rate.bits_per_second() / 8) /
                1'000'000'000;
  if (lost || model.dark || bytes.size() > model.max_bytes ||
      waiting + bytes.size() > model.queue_bytes) {
    ++link.counts.dropped;
    return;
  }
  marked |= waiting > model.mark_bytes;
  link.free_at = free_at + model.rate.TimeToSend(bytes.size());
  Time at = link.free_at + model.delay +
            Duration::Nanos(static_cast<int64_t>(
                jitter * static_cast<double>(model.jitter.nanos())));
  if (overtakes) {
    at = at + Duration::Nanos(static_cast<int64_t>(
                  4 * jitter * static_cast<double>(model.delay.nanos())));
  } else {
    at = link.last_arrival = std::max(at, link.last_arrival);
  }
  if (corrupt && !bytes.empty()) {
    for (uint64_t flip = 0; flip <= flips % 4; ++flip) {
      const uint64_t bit = Mix64(flips + flip) % (bytes.size() * 8);
      bytes[bit / 8] ^= std::byte{1} << bit % 8;
    }
  }
  if (twice) Schedule(id, link, bytes, marked, at);
  Schedule(id, link, std::move(bytes), marked, at);
}

void Network::Schedule(const LinkId& id, Link&, std::vector<std::byte> bytes,
                       bool marked, Time at) {
  arriving_.push({at, order_++, id, std::move(bytes), marked});
}

void Network::OnTime(Time now, std::vector<int>& hosts) {
  while (!arriving_.empty() && arriving_.top().at <= now) {
    Arrival arrival = arriving_.top();
    arriving_.pop();
    ++arrivals_;
    hash_ = Mix64(hash_ ^ static_cast<uint64_t>(arrival.at.nanos()));
    hash_ = Mix64(hash_ ^ (static_cast<uint64_t>(arrival.link.to) << 32 |
                           static_cast<uint64_t>(arrival.bytes.size())));
    for (size_t i = 0; i + 8 <= std::min<size_t>(arrival.bytes.size(), 48);
         i += 8) {
      uint64_t word;
      std::memcpy(&word, arrival.bytes.data() + i, 8);
      hash_ = Mix64(hash_ ^ word);
    }
    const auto door = doors_.find({arrival.link.to, arrival.link.plane});
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
  for (const TxPacket& packet : batch) {
    const auto peer = peers_.find(packet.peer);
    if (peer == peers_.end()) continue;
    HAWSER_CHECK(packet.entropy < options_.entropies);
    std::vector<std::byte> bytes(packet.header.begin(), packet.header.end());
    bytes.insert(bytes.end(), packet.payload.data,
                 packet.payload.data + packet.payload.length);
    HAWSER_CHECK(!bytes.empty() && bytes.size() <= options_.max_packet_bytes);
    network_.OnSend({host_, peer->second, plane_, packet.entropy},
                    std::move(bytes), now_);
  }
}

void SimDatapath::OnArrival(std::vector<std::byte> bytes, bool marked) {
  mail_.push_back({std::move(bytes), marked, now_});
}

size_t SimDatapath::Receive(std::span<RxPacket> out) {
  HAWSER_CHECK(lent_.empty());
  const size_t count = std::min(out.size(), mail_.size());
  for (size_t i = 0; i < count; ++i) {
    lent_.push_back(std::move(mail_.front()));
    mail_.pop_front();
  }
  for (size_t i = 0; i < count; ++i) {
    out[i] = {lent_[i].bytes, lent_[i].marked, now_ - lent_[i].arrived_at};
  }
  return count;
}

}  // namespace hawser::sim
