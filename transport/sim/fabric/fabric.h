// Fabric: packets on their way through ports, queues and links.
// Knows: a topology, bytes on their way, marks, drops, faults on a schedule.
// Never: what a packet means to its hosts.
//
// Store and forward; an output queue at every port, drop-tail, in bytes, with
// the packet being sent counted in it. Control packets have a queue of their
// own that goes first. A data packet is marked as it leaves, by the bytes it
// leaves behind: never up to kmin, always from kmax on, and with linear
// probability between (RED on the instantaneous queue, Floyd and Jacobson 1993,
// as datacenter switches have it). A switch chooses among its ways up by a hash
// of the flow, the entropy and a salt of its own. A hop costs two events: the
// packet has left the port; it has reached the other end.
//
// Trimming - an overflow cuts a packet to its header instead of dropping it,
// either the newcomer or the last in the queue - is there to be compared with
// simulators that have it, and off elsewhere.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "transport/base/random.h"
#include "transport/sim/fabric/event_queue.h"
#include "transport/sim/fabric/topology.h"

namespace hawser::sim {

using PacketIndex = uint32_t;
inline constexpr PacketIndex kNoPacket = UINT32_MAX;

// What travels, a cache line of it. The fabric reads and writes the first half;
// the hosts own the second.
struct alignas(64) Packet {
  uint64_t route = 0;  // RouteOf(flow, entropy).
  uint32_t bytes = 0;
  uint32_t to = 0;  // A host.
  bool control = false, marked = false, trimmed = false;
  uint8_t plane = 0;

  bool resend = false, ack_now = false;
  uint16_t open_span = 0;
  uint32_t connection = 0;
  uint32_t report = 0;  // Of an ack: what it says, in the hosts' own store.
  uint16_t path = 0;
  uint16_t length = 0;
  uint32_t message = 0, offset = 0;
  uint32_t number = 0;
  Picos sent_at = 0;
};
static_assert(sizeof(Packet) == 64);

// What a packet's route depends on. Every switch adds its salt.
inline uint64_t RouteOf(uint32_t from, uint32_t to, uint16_t entropy) {
  return Mix64(Mix64(uint64_t{from} << 32 | to) +
               0x9e3779b97f4a7c15u * (uint64_t{entropy} + 1));
}

struct FabricOptions {
  uint32_t packet_bytes = 4150;  // A full data packet on the wire.
  uint32_t control_bytes = 64;   // What a trimmed packet keeps.
  uint32_t queue_bytes = 178'450;
  uint32_t kmin_bytes = 37'350, kmax_bytes = 145'250;
  bool trimming = false;
  bool marks_last_hop = true;  // Also at the ports from leaves to hosts.
  double loss = 0;  // Of each packet, once: on the last link to its host.
};

// How far off something is that a host may get ready for.
enum class Step : uint8_t { kFar, kNear, kSoon };

struct FabricCounts {
  uint64_t hops = 0;  // Packets that left a port, hosts' included.
  uint64_t marked = 0, trimmed = 0, dropped = 0;
  // The data queue as departing data packets saw it, over switch ports.
  uint64_t queue_samples = 0, queue_sum_bytes = 0;
  uint32_t queue_peak_bytes = 0;
};

// From `at` on the link has this share of its rate, and its queue this share of
// its limits; 0: everything sent into it is lost.
struct LinkChange {
  Picos at = 0;
  uint32_t port = 0;
  double share = 1;
};

class Fabric {
 public:
  // `topology` outlives the fabric.
  Fabric(const Topology& topology, const FabricOptions& options, uint64_t seed);

  // A. What is.
  Picos now() const { return events_.now(); }
  uint64_t events() const { return events_.popped(); }
  const FabricCounts& counts() const { return counts_; }
  const Topology& topology() const { return topology_; }
  Packet& packet(PacketIndex index) { return packets_[index]; }
  bool nic_idle(uint32_t host, uint32_t plane) const {
    return !ports_[topology_.nic_port(host, plane)].busy;
  }

  // B. What is to happen.
  void Schedule(const LinkChange& change);
  // The edge's OnTimer(what) is called then.
  void SetTimer(Picos at, uint32_t what) { events_.PushAt(at, kTimer, what); }
  // The same, for a delay that is used again and again.
  void SetTimer(EventQueue::Line line, Picos delay, uint32_t what) {
    Put(line, delay, kTimer, what);
  }
  EventQueue::Line LineFor(Picos delay) { return events_.LineFor(delay); }
  PacketIndex NewPacket();  // Its fields are as Packet{}.
  void Free(PacketIndex index);
  // Puts it into the host's port of packet.plane. Nothing is lost there.
  void Send(uint32_t host, PacketIndex index);

  // C. Runs until the edge is done or nothing is left to happen; false: the
  // latter, or `until` has come. An Edge has
  //   bool done();
  //   void OnArrival(uint32_t host, PacketIndex);  // Frees it, in the end.
  //   void OnNicIdle(uint32_t host, uint32_t plane);  // May Send.
  //   void OnTimer(uint32_t what);
  //   void OnSwallowed(const Packet&);  // By a link that is dark.
  //   void Foresee(const Packet&, Step);  // Will arrive; may fetch.
  //   void ForeseeIdle(uint32_t host, Step);  // First kFar, then kNear.
  template <class Edge>
  bool Run(Edge& edge, Picos until) {
    while (!edge.done()) {
      if (events_.empty() || events_.now() > until) return false;
      const Event event = events_.Pop();
      switch (event.kind % kKinds) {
        case kDepart:
          FetchDeparting(edge);
          if (OnDepart(event.what)) continue;
          if (swallowed_ != kNoPacket) {
            edge.OnSwallowed(packets_[swallowed_]);
            Free(std::exchange(swallowed_, kNoPacket));
          }
          if (ports_[event.what].busy || !ports_[event.what].nic) continue;
          edge.OnNicIdle(HostOf(event.what), event.what % topology_.planes());
          break;
        case kArrive:
          FetchArriving(edge);
          Enqueue(event.kind / kKinds, event.what);
          break;
        case kReach:
          FetchArriving(edge);
          edge.OnArrival(packets_[event.what].to, event.what);
          break;
        case kTimer:
          edge.OnTimer(event.what);
          break;
        case kChange:
          Apply(changes_[event.what]);
          break;
      }
    }
    return true;
  }

 private:
  // A packet has left a port; has come to a switch, and to the port that is the
  // rest of the kind; has reached its host.
  enum Kind : uint32_t {
    kDepart,
    kArrive,
    kReach,
    kTimer,
    kChange,
    kKinds = 8
  };
  // Events of a line, ahead of what happens.
  static constexpr uint64_t kFetchEvents = 56;
  static constexpr uint64_t kFetchFirst = 44, kFetchFar = 32, kFetchNear = 20,
                            kFetchSoon = 10;

  // Of a packet, what queueing it takes: much smaller than the packet, so that
  // these stay in the cache, and a switch looks at the packet itself only as
  // that leaves.
  struct Link {
    PacketIndex next = kNoPacket;
    uint32_t bytes : 31 = 0;
    uint32_t control : 1 = 0;
  };
  struct Queue {
    PacketIndex head = kNoPacket, tail = kNoPacket;
    uint32_t bytes = 0;  // The packet being sent included.
  };
  struct alignas(64) Port {
    double picos_per_byte = 0;
    PacketIndex sending = kNoPacket;
    uint32_t to = 0;
    Queue data, control;
    uint32_t limit_bytes = 0, kmin_bytes = 0, kmax_bytes = 0;
    uint8_t full_line = 0, control_line = 0, latency_line = 0;
    bool busy : 1 = false, marks : 1 = false, to_host : 1 = false,
                nic : 1 = false, dark : 1 = false;
    uint32_t latency_nanos = 0;
  };
  static_assert(sizeof(Port) == 64);

  // A network of thousands of hosts is larger than any cache, and what an event
  // needs is not there when it comes: nearly all of a run was waiting for
  // memory. But what comes is known long before, in its order, so it is asked
  // for in steps, each of which needs what the one before has fetched.
  template <class Edge>
  void FetchDeparting(Edge& edge) {
    const Fifo<Event>& coming = events_.coming();
    if (coming.size() <= kFetchEvents) return;  // All of it is at hand.
    // Delays may be alike by chance, so anything may be in a line.
    if (const Event& far = coming[kFetchFar]; far.kind == kDepart) {
      __builtin_prefetch(&ports_[far.what], 1);
      if (far.what < nics_) edge.ForeseeIdle(HostOf(far.what), Step::kFar);
    }
    if (const Event& near = coming[kFetchNear]; near.kind == kDepart) {
      const Port& port = ports_[near.what];
      __builtin_prefetch(&packets_[port.sending], 1);
      if (port.data.head != kNoPacket) {
        __builtin_prefetch(&links_[port.data.head], 1);
      }
      if (port.nic) edge.ForeseeIdle(HostOf(near.what), Step::kNear);
    }
  }
  template <class Edge>
  void FetchArriving(Edge& edge) {
    const Fifo<Event>& coming = events_.coming();
    if (coming.size() <= kFetchEvents) return;
    if (const Event& first = coming[kFetchFirst]; first.kind == kReach) {
      __builtin_prefetch(&packets_[first.what], 1);
    }
    if (const Event& far = coming[kFetchFar]; far.kind == kReach) {
      edge.Foresee(packets_[far.what], Step::kFar);
    }
    if (const Event& near = coming[kFetchNear]; near.kind == kReach) {
      edge.Foresee(packets_[near.what], Step::kNear);
    } else if (near.kind % kKinds == kArrive) {
      __builtin_prefetch(&ports_[near.kind / kKinds], 1);
      __builtin_prefetch(&links_[near.what], 1);
    }
    if (const Event& soon = coming[kFetchSoon]; soon.kind == kReach) {
      edge.Foresee(packets_[soon.what], Step::kSoon);
    }
  }
  uint32_t HostOf(uint32_t nic_port) const {
    return nic_port / topology_.planes();
  }
  uint32_t NextPort(uint32_t node, const Packet& packet) const {
    // One round of mixing: `route` is well mixed already.
    return topology_.Route(node, packet.to, Mix64(packet.route ^ salts_[node]));
  }
  void Put(EventQueue::Line line, Picos delay, uint32_t kind, uint32_t what) {
    if (line != EventQueue::kNoLine) {
      events_.Push(line, kind, what);
    } else {
      events_.PushAt(events_.now() + delay, kind, what);
    }
  }
  uint8_t LineOf(Picos delay) {
    return static_cast<uint8_t>(events_.LineFor(delay));
  }
  void Enqueue(uint32_t at, PacketIndex index);
  void Overflow(Port& port, PacketIndex index);
  void Begin(uint32_t at);
  // False: a host's port has nothing more, or its packet was swallowed.
  bool OnDepart(uint32_t at);
  void Apply(const LinkChange& change);
  void Push(Queue& queue, PacketIndex index);
  PacketIndex Pop(Queue& queue);

  const Topology& topology_;
  const FabricOptions options_;
  const uint32_t nics_;  // The first so many ports are those of hosts.
  Random random_;
  EventQueue events_;
  std::vector<Port> ports_;
  std::vector<uint64_t> salts_;  // Of each node.
  std::vector<Packet> packets_;
  std::vector<Link> links_;  // Of each packet.
  PacketIndex free_ = kNoPacket;
  PacketIndex swallowed_ = kNoPacket;  // By a dark link, just now.
  std::vector<LinkChange> changes_;
  FabricCounts counts_;
};

}  // namespace hawser::sim
