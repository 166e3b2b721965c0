// PathEdge: end hosts made of the project's own paths, schedulers and
// congestion control.
// Knows: messages, the paths to each peer, whose turn it is.
// Never: bytes of messages, threads, how a path decides.
//
// It is to a host of thousands what Engine is to a process: the same Path and
// AckTracker number, ack and judge packets, the same PathScheduler picks, the
// same CongestionControl allows; what an engine does beside that - requests,
// memory, handshakes, keys - is left out, because it moves no packet in time
// (docs/decisions says what that costs and saves). A receive is taken to be
// posted before its message is sent, as NCCL does it, so what it admits is
// known to the sender when it begins.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "transport/base/fifo.h"
#include "transport/path/ack_tracker.h"
#include "transport/path/path.h"
#include "transport/sim/fabric/ack_list.h"
#include "transport/sim/fabric/fabric.h"
#include "transport/sim/fabric/policy.h"
#include "transport/sim/fabric/workload.h"
#include "transport/spray/path_scheduler.h"

namespace hawser::sim {

struct PathEdgeOptions {
  std::string scheduler = "adaptive";
  std::string congestion = "nscc";
  uint32_t paths = 64;         // Per peer and plane; 1024 at most in all.
  uint32_t header_bytes = 64;  // Of a data packet on the wire.
  // An ack packet is due after so many packets on all paths of a peer
  // together, and this long after the first that waits.
  uint32_t ack_every = 8;
  Duration ack_delay = Duration::Micros(4);
  // Receiver-driven admission: see `credit` in the .cc file.
  bool admission = true;
  PathFacts facts;
  PathOptions path;
};

struct PathEdgeCounts {
  uint64_t packets = 0, data_bytes = 0;  // The first time and again.
  uint64_t resent = 0, resent_bytes = 0;
  uint64_t spurious = 0;  // Of those, not lost after all.
  uint64_t acks = 0, ack_bytes = 0, probes = 0, suspects = 0;
  // The longest time from when a dark link swallowed bytes until they arrived.
  Picos longest_recovery = 0;
};

class PathEdge {
 public:
  // All outlive it.
  PathEdge(Fabric& fabric, Progress& progress, const PathEdgeOptions& options,
           uint64_t seed);

  PathEdgeCounts counts() const;
  void Start();  // Messages that wait for nothing.

  // What a Fabric calls.
  bool done() const { return progress_.done(); }
  void OnArrival(uint32_t host, PacketIndex index);
  void OnNicIdle(uint32_t host, uint32_t plane) { SendOne(host, plane); }
  void OnTimer(uint32_t what);
  void OnSwallowed(const Packet& packet);
  void Foresee(const Packet& packet, Step step) const;
  void ForeseeIdle(uint32_t host, Step step) const;

 private:
  struct Outgoing {  // A message, or what is left of it.
    uint32_t message = 0;
    uint64_t cut_bytes = 0, settled_bytes = 0;
  };
  // What all paths of a peer in one plane have in common.
  struct Plane {
    std::unique_ptr<PathScheduler> scheduler;
    std::unique_ptr<CongestionControl> congestion;
    uint32_t window_bytes = 0, in_flight_bytes = 0;
    Time heard;  // When an ack last told of an arrival here.
    // Nothing comes through it, while the peer is heard by others: it carries
    // probes only, and is asked again then.
    bool dark = false;
    Time ask_at;
    Duration ask_pause;
  };
  // The sending half of a peer.
  struct Sender {
    Sender() = default;
    Sender(Sender&&) = default;  // Paths cannot be copied.

    uint32_t from = 0, to = 0;
    std::vector<Path> paths;          // Path p is of plane p mod planes.
    std::shared_ptr<Window> unbound;  // Of all: what binds is a plane's.
    std::vector<uint64_t> sendable;
    // Until when each path needs no look; Never: nothing is in flight on it.
    std::vector<Time> calm_until;
    Time look_at;  // All are, before.
    std::vector<Plane> planes;
    Fifo<Outgoing> messages;          // Open ones, oldest first.
    Fifo<wire::Cargo> lost;           // To be sent again, oldest first.
    std::vector<uint16_t> entropies;  // Of each path.
    uint64_t begun_bytes = 0;         // Of all messages, ever.
    uint64_t cut_bytes = 0;           // Of these.
    uint64_t credit_bytes = 0;        // Up to which cutting is admitted.
    Time heard;
    Duration ask_pause;      // Until it asks, should no credit come.
    Time newest_acked;       // When the newest packet that was acked had left.
    RttEstimator rtt;        // Over all paths.
    uint32_t next_turn = 0;  // Of the ack that would have missed none.
    bool listed = false;
    bool background = false;
  };
  struct Arriving {  // A message at its receiver: which packets came.
    std::vector<uint64_t> packets;  // One bit each.
    uint32_t missing = 0;
  };
  // The receiving half.
  struct Receiver {
    std::vector<AckTracker> trackers;
    std::vector<uint64_t> waiting;  // One bit per path.
    uint32_t waiting_packets = 0;
    Time waiting_since;
    bool timer = false;
    uint64_t expected_bytes = 0;  // Of all messages that were begun.
    uint64_t received_bytes = 0;
    uint64_t granted_bytes = 0;  // Ever, and...
    uint64_t told_bytes = 0;     // ...how much of it the sender has heard of.
    bool in_turn = false;
    // Acks take turns over these; all are drawn anew when data comes again
    // that was acked, for that ack has died.
    std::array<uint16_t, 4> ack_entropies = {};
    uint32_t ack_turn = 0;
    uint8_t plane = 0;          // By which data came last, and acks leave.
    uint32_t repeat_until = 0;  // This turn, each ack repeats the last one.
    AckList said;               // By the latest ack, the first time.
    Time said_at;
  };
  // The receiving side of a host.
  struct Port {
    uint32_t active = 0;         // Senders that it expects something of.
    Fifo<uint32_t> turn;         // Of these, those that want a grant.
    uint64_t granted_bytes = 0;  // Of which nothing has come yet.
  };

  // Where that is which a host's next packet will probably need: asked for
  // ahead, and never read. All in one place, for one thing leads to another,
  // and nobody can wait for each.
  struct alignas(64) Ahead {
    const Sender* sender = nullptr;
    const Plane* plane = nullptr;
    const PathScheduler* scheduler = nullptr;
    const Path* path = nullptr;
    const Window* window = nullptr;
    const uint64_t* sendable = nullptr;
    const Time* calm_until = nullptr;
    const uint16_t* entropy = nullptr;
    const uint32_t* turn = nullptr;
  };

  void Begin(uint32_t message);
  uint32_t PeerFor(const MessagePlan& plan);
  void Open(uint32_t peer);
  void Expect(uint32_t message);
  void Grant(uint32_t host, uint32_t but);
  void Refresh(Sender& sender, const Path& path);
  bool HasCargo(const Sender& sender) const;
  bool HasRoom(const Plane& plane) const;
  bool MaySend(const Sender& sender) const;
  Plane& PlaneOf(Sender& sender, const Path& path) {
    return sender.planes[path.id().value % sender.planes.size()];
  }
  uint32_t in_flight_bytes(const Sender& sender) const;
  void Wake(uint32_t peer);
  void NoteAhead(uint32_t host, uint32_t plane);
  void SendOne(uint32_t host, uint32_t plane);
  bool SendFrom(uint32_t peer, uint32_t plane);
  void SendProbe(uint32_t peer, Path& path);
  wire::Cargo NextCargo(Sender& sender);
  void Launch(uint32_t peer, Path& path, const wire::Cargo& cargo);
  void OnData(const Packet& packet);
  static uint64_t PlaceOf(const Packet& packet);
  void Recovered(const Packet& packet);
  void OnAckLost(Receiver& receiver);
  void DrawAckEntropies(Receiver& receiver);
  void SendAcks(uint32_t peer);
  void OnAcks(const Packet& packet);
  void Learn(Sender& sender, Path& path, const AckSummary& summary);
  void Settle(uint32_t peer);
  void LookAfter(uint32_t host);
  void LookAfterPaths(uint32_t peer);
  void LookAfterPlane(uint32_t peer, uint32_t plane, Duration patience);
  Time LookAfterPath(uint32_t peer, Path& path, Duration slack);
  void Replace(Sender& sender, const Path& path);
  Time now() const { return Time::FromNanos(fabric_.now() / 1000); }

  Fabric& fabric_;
  Progress& progress_;
  const PathEdgeOptions options_;
  Random random_;
  const uint32_t payload_bytes_;
  const uint64_t most_lone_bytes_, most_shared_bytes_;  // That a port grants.
  const Duration least_slack_;  // Of a packet that may count as overtaken.
  EventQueue::Line ack_line_, look_line_;
  std::vector<Sender> senders_;               // By peer.
  std::vector<Receiver> receivers_;           // By peer.
  std::vector<std::vector<uint32_t>> peers_;  // Of each host, as a sender.
  std::unordered_map<uint64_t, uint32_t> peer_of_;  // By (from, to).
  std::vector<Arriving> arriving_;                  // Each message.
  std::vector<Fifo<uint32_t>> turns_;  // Of each host: who may send.
  std::vector<Ahead> ahead_;           // Of each host.
  std::vector<bool> looking_;          // Each host's timer is set.
  std::vector<Port> ports_;
  struct Report {
    AckList acks;
    size_t news = 0;  // The first so many; the rest repeats the report before.
    uint32_t turn = 0;
    uint64_t granted_bytes = 0;
  };
  std::vector<Report> reports_;
  std::vector<uint32_t> free_reports_;
  std::vector<uint64_t> spoken_;  // Of which paths the ack in hand has news.
  SettledList settled_;
  std::unordered_map<uint64_t, Picos> swallowed_at_;  // By message and offset.
  PathEdgeCounts counts_;
};

}  // namespace hawser::sim
