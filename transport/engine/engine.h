// The hand that turns the crank: takes what has happened, says what is next,
// waits for nothing.
// Knows: the order of work.  Never: the clock, threads, devices, NCCL.
//
// engine.cc holds the turn itself, timers and control; outbound.cc is the
// first half of a message's life, inbound.cc the second. Whoever calls holds
// the engine's turn: one thread at a time, the application's side of a
// RequestQueue and the inbox excepted.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/inbox.h"
#include "transport/base/time.h"
#include "transport/datapath/datapath.h"
#include "transport/engine/config.h"
#include "transport/engine/metrics.h"
#include "transport/engine/peer.h"
#include "transport/wire/header.h"

namespace hawser {

class Engine {
 public:
  // `planes` outlive the engine; at least one.
  Engine(const Config& config, const wire::EndpointIdentity& identity,
         uint16_t index, std::vector<Datapath*> planes, uint64_t seed);
  ~Engine();

  // A. What is.
  uint16_t index() const { return index_; }
  std::span<Datapath* const> planes() const { return planes_; }
  Inbox& inbox() { return inbox_; }
  const EngineMetrics& metrics() const { return metrics_; }
  const Peer* peer(PeerId id) const;
  std::span<const std::unique_ptr<Peer>> peers() const { return peers_; }
  // Nothing of ours is in flight, no ack is owed, to any peer that lives.
  bool quiet() const;
  Time last_heard() const { return last_heard_; }  // From any peer.
  bool has_peers() const;  // Any that lives and has not left.

  // One turn. `next`: when the next is due if nothing happens before then.
  // `worked`: there may be more to do at once.
  struct Turn {
    Time next;
    bool worked = false;
  };
  Turn RunOnce(Time now);

  // B. Control. A peer is (endpoint, engine there). AddPeer finds it, or makes
  // it known, so that packets from it pass. FailedPrecondition if it was lost.
  absl::StatusOr<Peer*> AddPeer(const wire::EndpointIdentity& identity,
                                uint16_t far_engine, Time now);
  // The rest of what the handshake said; nothing happens if it is open.
  // Unavailable if no plane can reach it.
  absl::Status OpenPeer(Peer& peer, const wire::Introduction& theirs,
                        Time now);
  absl::StatusOr<FlowRecord*> AddFlow(Peer& peer, Direction direction);
  void ConnectFlow(FlowRecord& record, FlowId far_id, Time now);
  // Takes the flow out, whatever is open in it; the application's memory is
  // not touched again. The far half is told.
  void CloseFlow(FlowRecord& record, Time now);
  // This endpoint ends: each peer is told, once per call.
  void SayGoodbye(Time now);

 private:
  static constexpr size_t kReceiveBatch = 64;  // Packets per plane and turn.
  static constexpr size_t kSendBatch = 64;     // Packets staged per plane.
  static constexpr size_t kTurnPackets = 256;  // Sent per turn, all peers.
  // A goodbye may overtake the last data and acks on other paths.
  static constexpr Duration kLeavingGrace = Duration::Millis(100);
  // Signs of life asked for per peer timeout.
  static constexpr int kSignsPerTimeout = 8;

  // Packets on their way to one plane; headers live here until it took them.
  struct Stage {
    size_t count = 0;
    std::array<TxPacket, kSendBatch> packets;
    std::array<std::array<std::byte, 64>, kSendBatch> headers;
  };

  // inbound.cc
  bool Receive(Time now);  // True: some came. Sets more_mail_.
  void OnPacket(uint16_t plane, const RxPacket& packet, Time now);
  void OnCargo(Peer& peer, const wire::DecodedPacket& packet, Time now);
  void OnAcks(Peer& peer, std::span<const std::byte> bytes, Duration waited,
              Time now);
  void Settle(Peer& peer, Time now);  // What is in settled_.
  void Learn(Peer& peer, Path& path, const AckSummary& summary,
             uint64_t marked);

  // outbound.cc
  bool TakeRequests(Time now);
  void DrainQueue(FlowRecord& record, Time now);
  bool SendAcks(Time now);
  void SendAcksTo(Peer& peer, Time now, bool force);
  PathId PickAckPath(Peer& peer);  // kNoPath: no plane has room.
  bool SendCargo(Time now);
  bool SendCargoTo(Peer& peer, size_t& budget, Time now);
  size_t RoomFor(const Peer& peer, const Path& path);  // For one burst.
  size_t SendBurst(Peer& peer, Path& path, size_t most, Time now);
  std::optional<wire::Cargo> NextCargo(Peer& peer, FlowRecord** record,
                                       uint32_t max_payload);
  void SendPacket(Peer& peer, const Path& path, const FlowRecord* record,
                  const wire::Cargo& cargo, const Path::Numbered& numbered,
                  bool ack_now);
  void SendProbe(Peer& peer, Path& path, Time now);
  bool HasRoom(uint16_t plane) const;  // For one more staged packet.
  uint32_t MaxPacket(const Peer& peer, const Path& path) const;
  void RefreshSendable(Peer& peer, const Path& path, Time now);
  void EncodeAndStage(const Peer& peer, const wire::PacketHeader& header,
                      MemorySlice payload);
  void StagePacket(const Peer& peer, PathId path,
                   std::span<const std::byte> header, MemorySlice payload);
  void Flush(uint16_t plane);
  void FlushAll();

  // engine.cc
  bool FireTimers(Time now);
  void LookAfter(Peer& peer, Time now);  // Its timers that are due.
  void LosePeer(Peer& peer, std::string cause, Time now);
  void Touch(Peer& peer);
  void UpdateBusy(FlowRecord& record, Time now);
  Time DeadlineOf(const Peer& peer) const;
  Time NextDeadline();

  const Config config_;
  const wire::EndpointIdentity identity_;
  const uint16_t index_;
  const std::vector<Datapath*> planes_;
  const PathOptions path_options_;
  const Duration peer_timeout_;
  const bool check_payload_;
  uint64_t seed_;

  Inbox inbox_;
  EngineMetrics metrics_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<Time> deadlines_;  // Of each peer, as of its last touch.
  absl::flat_hash_map<std::pair<uint64_t, uint16_t>, PeerId> peer_ids_;
  std::vector<Peer*> touched_;   // This turn's; their deadlines are stale.
  std::vector<Peer*> working_;   // Scratch: the touched ones being served.
  std::vector<Peer*> unserved_;  // Have cargo; budget or room ran out.
  size_t first_served_ = 0;      // Peers take turns at being first.
  SettledList settled_;
  std::vector<FlowRecord*> blocked_;  // Their flow was full; they wait.
  std::vector<std::unique_ptr<Stage>> stages_;  // One per plane.
  std::vector<std::byte> padding_;    // What a padded probe carries.
  Time last_heard_;
  bool more_mail_ = false;  // A plane had more than one batch.
};

}  // namespace hawser
