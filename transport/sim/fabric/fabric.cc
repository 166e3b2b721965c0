#include "transport/sim/fabric/fabric.h"

#include <algorithm>
#include <cmath>

#include "transport/base/check.h"

namespace hawser::sim {
namespace {

// An overflow of a trimming switch cuts the newcomer or the last in line with
// equal chances, so that no flow is always the one that is cut.
constexpr double kTrimNewcomer = 0.5;
// Control packets may fill so many times the data queue's limit.
constexpr uint32_t kControlShare = 2;

Picos PicosFor(uint32_t bytes, double picos_per_byte) {
  return std::llround(bytes * picos_per_byte);
}

uint32_t Share(uint32_t bytes, double share) {
  return static_cast<uint32_t>(std::llround(bytes * share));
}

}  // namespace

Fabric::Fabric(const Topology& topology, const FabricOptions& options,
               uint64_t seed)
    : topology_(topology),
      options_(options),
      nics_(topology.hosts() * topology.planes()),
      random_(Mix64(seed)) {
  ports_.resize(topology.ports().size());
  for (uint32_t p = 0; p < ports_.size(); ++p) {
    const PortPlace& place = topology.ports()[p];
    Port& port = ports_[p];
    port.to = place.to;
    HAWSER_CHECK(place.latency_picos % 1000 == 0 &&
                 place.latency_picos / 1000 <= UINT32_MAX);
    port.latency_nanos = static_cast<uint32_t>(place.latency_picos / 1000);
    port.latency_line = LineOf(place.latency_picos);
    port.to_host = place.to_host;
    port.nic = p < nics_;
    port.marks = !port.nic && (options.marks_last_hop || !port.to_host);
    Apply({0, p, 1});
  }
  salts_.reserve(topology.nodes());
  for (uint32_t n = 0; n < topology.nodes(); ++n) {
    salts_.push_back(random_.Next());
  }
}

void Fabric::Schedule(const LinkChange& change) {
  changes_.push_back(change);
  events_.PushAt(change.at, kChange,
                 static_cast<uint32_t>(changes_.size() - 1));
}

PacketIndex Fabric::NewPacket() {
  if (free_ == kNoPacket) {
    packets_.emplace_back();
    links_.emplace_back();
    return static_cast<PacketIndex>(packets_.size() - 1);
  }
  const PacketIndex index = free_;
  free_ = links_[index].next;
  packets_[index] = Packet{};
  return index;
}

void Fabric::Free(PacketIndex index) {
  links_[index].next = free_;
  free_ = index;
}

void Fabric::Send(uint32_t host, PacketIndex index) {
  const Packet& packet = packets_[index];
  links_[index].bytes = packet.bytes;
  links_[index].control = packet.control;
  Enqueue(topology_.nic_port(host, packet.plane), index);
}

void Fabric::Enqueue(uint32_t at, PacketIndex index) {
  Port& port = ports_[at];
  const Link& link = links_[index];
  if (link.control) {
    if (!port.nic &&
        port.control.bytes + link.bytes > kControlShare * port.limit_bytes) {
      ++counts_.dropped;
      return Free(index);
    }
    Push(port.control, index);
  } else {
    if (!port.nic && port.data.bytes + link.bytes > port.limit_bytes) {
      Overflow(port, index);
    } else {
      Push(port.data, index);
    }
    if (!port.nic) {
      counts_.queue_peak_bytes =
          std::max(counts_.queue_peak_bytes, port.data.bytes);
    }
  }
  if (!port.busy) Begin(at);
}

void Fabric::Overflow(Port& port, PacketIndex index) {
  if (!options_.trimming) {
    ++counts_.dropped;
    return Free(index);
  }
  const PacketIndex last = port.data.tail;
  if (random_.Fraction() >= kTrimNewcomer && last != kNoPacket) {
    // They change places: a queue's last cannot be unlinked, but be another.
    Link& newcomer = links_[index];
    Link& victim = links_[last];
    port.data.bytes += newcomer.bytes - victim.bytes;
    std::swap(packets_[index], packets_[last]);
    std::swap(newcomer, victim);
    std::swap(newcomer.next, victim.next);
  }
  Packet& packet = packets_[index];
  if (port.control.bytes + options_.control_bytes >
      kControlShare * port.limit_bytes) {
    ++counts_.dropped;
    return Free(index);
  }
  packet.bytes = options_.control_bytes;
  packet.control = packet.trimmed = true;
  links_[index].bytes = packet.bytes;
  links_[index].control = true;
  ++counts_.trimmed;
  Push(port.control, index);
}

void Fabric::Begin(uint32_t at) {
  Port& port = ports_[at];
  if (port.control.head != kNoPacket) {
    port.sending = Pop(port.control);
  } else if (port.data.head != kNoPacket) {
    port.sending = Pop(port.data);
  } else {
    port.busy = false;
    return;
  }
  port.busy = true;
  const uint32_t bytes = links_[port.sending].bytes;
  const EventQueue::Line line = bytes == options_.packet_bytes ? port.full_line
                                : bytes == options_.control_bytes
                                    ? port.control_line
                                    : EventQueue::kNoLine;
  if (line != EventQueue::kNoLine) {
    events_.Push(line, kDepart, at);
  } else {
    // It has no line in which FetchDeparting might see it coming.
    __builtin_prefetch(&packets_[port.sending], 1);
    events_.PushAt(now() + PicosFor(bytes, port.picos_per_byte), kDepart, at);
  }
}

bool Fabric::OnDepart(uint32_t at) {
  Port& port = ports_[at];
  const PacketIndex index = port.sending;
  Packet& packet = packets_[index];
  ++counts_.hops;
  if (packet.control) {
    port.control.bytes -= packet.bytes;
  } else {
    port.data.bytes -= packet.bytes;
    if (!port.nic) {
      const uint32_t behind = port.data.bytes;
      ++counts_.queue_samples;
      counts_.queue_sum_bytes += behind;
      if (port.marks && behind > port.kmin_bytes && !packet.marked &&
          (behind >= port.kmax_bytes ||
           random_.Fraction() * (port.kmax_bytes - port.kmin_bytes) <
               behind - port.kmin_bytes)) {
        packet.marked = true;
        ++counts_.marked;
      }
    }
  }
  if (port.dark) {
    ++counts_.dropped;
    swallowed_ = index;
  } else if (port.to_host && options_.loss > 0 &&
             random_.Chance(options_.loss)) {
    ++counts_.dropped;
    Free(index);
  } else {
    const uint32_t kind =
        port.to_host ? kReach : kArrive + kKinds * NextPort(port.to, packet);
    Put(port.latency_line, Picos{port.latency_nanos} * 1000, kind, index);
  }
  Begin(at);
  return swallowed_ == kNoPacket && (port.busy || !port.nic);
}

void Fabric::Apply(const LinkChange& change) {
  Port& port = ports_[change.port];
  port.dark = change.share == 0;
  if (port.dark) return;  // What is in it still leaves, at the old pace.
  port.picos_per_byte =
      topology_.ports()[change.port].picos_per_byte / change.share;
  port.limit_bytes = Share(options_.queue_bytes, change.share);
  port.kmin_bytes = Share(options_.kmin_bytes, change.share);
  port.kmax_bytes = Share(options_.kmax_bytes, change.share);
  port.full_line = LineOf(PicosFor(options_.packet_bytes, port.picos_per_byte));
  port.control_line =
      LineOf(PicosFor(options_.control_bytes, port.picos_per_byte));
}

void Fabric::Push(Queue& queue, PacketIndex index) {
  Link& link = links_[index];
  link.next = kNoPacket;
  queue.bytes += link.bytes;
  if (queue.head == kNoPacket) {
    queue.head = index;
  } else {
    links_[queue.tail].next = index;
  }
  queue.tail = index;
}

// Its bytes stay counted until it has left.
PacketIndex Fabric::Pop(Queue& queue) {
  const PacketIndex index = queue.head;
  queue.head = links_[index].next;
  if (queue.head == kNoPacket) queue.tail = kNoPacket;
  return index;
}

}  // namespace hawser::sim
