// Time jumps from event to event: an arrival, a turn that is due, a fault. A
// turn takes no time but the next one of the same host follows kTurnTime
// later, so that a host that always has work still lets time pass.
#include "transport/sim/simulator.h"

#include <algorithm>

#include "transport/base/check.h"

namespace hawser::sim {
namespace {

constexpr Duration kTurnTime = Duration::Micros(1);
// A NIC takes another batch this long after the last.
constexpr Duration kRefillTime = Duration::Micros(4);

}  // namespace

Simulator::Simulator(uint64_t seed)
    : random_(Mix64(seed)), network_(Mix64(seed + 1)) {}

Simulator::~Simulator() = default;

int Simulator::AddHost(const HostOptions& options) {
  const int index = static_cast<int>(hosts_.size());
  auto host = std::make_unique<Host>();
  host->config = options.config;
  host->options = options.datapath;
  host->identity = {random_.Next(), random_.Next()};
  std::vector<Datapath*> planes;
  for (int plane = 0; plane < options.planes; ++plane) {
    host->planes.push_back(std::make_unique<SimDatapath>(network_, index, plane,
                                                         options.datapath));
    planes.push_back(host->planes.back().get());
  }
  host->engine =
      std::make_unique<Engine>(options.config, host->identity,
                               /*index=*/0, std::move(planes), random_.Next());
  hosts_.push_back(std::move(host));
  return index;
}

void Simulator::ForEachLink(int from, int to,
                            const std::function<void(LinkModel&)>& change) {
  const Host& host = *hosts_[from];
  for (int plane = 0; plane < static_cast<int>(host.planes.size()); ++plane) {
    for (int entropy = 0; entropy < host.options.entropies; ++entropy) {
      change(network_.link({from, to, plane, entropy}));
    }
  }
}

SimFlow Simulator::Connect(int from, int to) {
  const auto introduce = [&](int host, Peer& peer, FlowId flow) {
    wire::Introduction words;
    words.identity = hosts_[host]->identity;
    words.peer = peer.id;
    words.flow = flow;
    words.paths = static_cast<uint16_t>(hosts_[host]->config.paths);
    for (const auto& plane : hosts_[host]->planes) {
      words.planes.push_back(plane->address());
    }
    words.host = "host" + std::to_string(host);
    return words;
  };
  Engine& a = *hosts_[from]->engine;
  Engine& b = *hosts_[to]->engine;
  Peer* b_at_a = *a.AddPeer(hosts_[to]->identity, 0, now_);
  Peer* a_at_b = *b.AddPeer(hosts_[from]->identity, 0, now_);
  SimFlow flow{from, to, *a.AddFlow(*b_at_a, Direction::kSend),
               *b.AddFlow(*a_at_b, Direction::kReceive)};
  const auto from_b = introduce(to, *a_at_b, flow.receive->id);
  const auto from_a = introduce(from, *b_at_a, flow.send->id);
  HAWSER_CHECK(a.OpenPeer(*b_at_a, from_b, now_).ok());
  HAWSER_CHECK(b.OpenPeer(*a_at_b, from_a, now_).ok());
  a.ConnectFlow(*flow.send, flow.receive->id, now_);
  b.ConnectFlow(*flow.receive, flow.send->id, now_);
  Due(from, now_);
  Due(to, now_);
  return flow;
}

void Simulator::Close(FlowRecord* record, int host) {
  for (auto& plane : hosts_[host]->planes) plane->SetNow(now_);
  hosts_[host]->engine->CloseFlow(*record, now_);
  Due(host, now_);
}

void Simulator::Goodbye(int host) {
  for (auto& plane : hosts_[host]->planes) plane->SetNow(now_);
  hosts_[host]->engine->SayGoodbye(now_);
}

void Simulator::At(Time when, std::function<void()> what) {
  // Before those of the same time: they were said first, and the last is next.
  const auto place = std::lower_bound(
      faults_.begin(), faults_.end(), when,
      [](const Fault& fault, Time at) { return fault.at > at; });
  faults_.insert(place, {when, std::move(what)});
}

void Simulator::Pause(int host, Time until) {
  hosts_[host]->paused_until = until;
  Due(host, until);
}

Request* Simulator::Send(const SimFlow& flow,
                         std::span<const std::byte> bytes) {
  return Submit(flow.send, flow.from,
                {const_cast<std::byte*>(bytes.data()), bytes.size()});
}

Request* Simulator::Receive(const SimFlow& flow, std::span<std::byte> bytes,
                            bool watched) {
  return Submit(flow.receive, flow.to, bytes, watched);
}

Request* Simulator::Flush(const SimFlow& flow, std::span<std::byte> bytes) {
  for (auto& plane : hosts_[flow.to]->planes) plane->SetNow(now_);
  Due(flow.to, now_);
  return hosts_[flow.to]->engine->Flush(
      *flow.receive,
      {bytes.data(), static_cast<uint32_t>(bytes.size()), KeyAt(flow.to)});
}

// It is registered where that makes a difference.
uint32_t Simulator::KeyAt(int host) const {
  const SimDatapathOptions& options = hosts_[host]->options;
  return (options.max_placed_bytes > 0 ? 1u : 0u) |
         (options.gpu ? kGpuKey : 0u);
}

Request* Simulator::Submit(FlowRecord* record, int host,
                           std::span<std::byte> bytes, bool watched) {
  Request* request = record->queue.Submit(
      {bytes.data(), static_cast<uint32_t>(bytes.size()), KeyAt(host)},
      watched);
  if (request == nullptr) return nullptr;
  hosts_[host]->engine->inbox().Ring(&record->queue);
  Due(host, now_);
  return request;
}

void Simulator::Due(int host, Time at) {
  Host& one = *hosts_[host];
  one.next_turn = std::min(one.next_turn, at);
}

void Simulator::Turn(Host& host) {
  for (auto& plane : host.planes) {
    plane->SetNow(now_);
    if (host.refill_at <= now_) plane->Refill();
  }
  if (host.refill_at <= now_) host.refill_at = Time::Never();
  const Engine::Turn turn = host.engine->RunOnce(now_);
  host.next_turn = turn.worked ? now_ + kTurnTime : turn.next;
  // A deadline in the past would stop time.
  host.next_turn = std::max(host.next_turn, now_ + kTurnTime);
  for (const auto& plane : host.planes) {
    if (plane->has_mail()) host.next_turn = now_ + kTurnTime;
    if (plane->tx_room() == 0 && host.refill_at == Time::Never()) {
      host.refill_at = now_ + kRefillTime;
    }
  }
  host.next_turn = std::min(host.next_turn, host.refill_at);
}

bool Simulator::RunUntil(const std::function<bool()>& done, Duration limit) {
  const Time end = now_ + limit;
  while (!done()) {
    Time next = network_.next_event();
    if (!faults_.empty()) next = std::min(next, faults_.back().at);
    for (const auto& host : hosts_) {
      next = std::min(next, std::max(host->next_turn, host->paused_until));
    }
    if (next == Time::Never() || next > end) {
      now_ = end;
      return false;
    }
    now_ = std::max(now_, next);
    while (!faults_.empty() && faults_.back().at <= now_) {
      const Fault fault = std::move(faults_.back());
      faults_.pop_back();
      fault.what();
    }
    woken_.clear();
    network_.OnTime(now_, woken_);
    for (const int host : woken_) Due(host, now_);
    for (const auto& host : hosts_) {
      if (std::max(host->next_turn, host->paused_until) <= now_) Turn(*host);
    }
  }
  return true;
}

}  // namespace hawser::sim
