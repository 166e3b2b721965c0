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
#include "transport/base/earliest.h"
#include "transport/base/inbox.h"
#include "transport/base/random.h"
#include "transport/base/time.h"
#include "transport/datapath/datapath.h"
#include "transport/engine/admission.h"
#include "transport/engine/config.h"
#include "transport/engine/metrics.h"
#include "transport/engine/peer.h"
#include "transport/engine/stage.h"
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
  // it known, so that packets from it pass. FailedPrecondition if it was lost,
  // ResourceExhausted if there are 65535 already.
  absl::StatusOr<Peer*> AddPeer(const wire::EndpointIdentity& identity,
                                uint16_t far_engine, Time now);
  // The rest of what the handshake said; nothing happens if it is open.
  // Unavailable if no plane can reach it.
  absl::Status OpenPeer(Peer& peer, const wire::Introduction& theirs, Time now);
  // ResourceExhausted if there are 65535 already: to that peer, or from all.
  absl::StatusOr<FlowRecord*> AddFlow(Peer& peer, Direction direction);
  void ConnectFlow(FlowRecord& record, FlowId far_id, Time now);
  // Takes the flow out, whatever is open in it; the application's memory is
  // not touched again. The far half is told.
  void CloseFlow(FlowRecord& record, Time now);
  // What a receiving flow has got in memory of a GPU is there for that GPU when
  // the request is done. nullptr: there are RequestQueue::kSlots such already.
  Request* Flush(FlowRecord& record, const MemorySlice& memory);
  // This endpoint ends: each peer is told, once per call and kGoodbyes times in
  // all. False: some are still to be told, now or when there is room.
  bool SayGoodbye(Time now);

 private:
  static constexpr size_t kReceiveBatch = 64;  // Packets per plane and turn.
  static constexpr size_t kTurnPackets = 64;   // Sent per turn, all peers.
  // Grants of one flow that are out, of the eight receives that NCCL posts:
  // with so many, more may wait for one another; with fewer than these few, not
  // even for data to go with.
  static constexpr uint64_t kManyGrants = 4, kFewGrants = 2;
  // After so many times of patience they leave alone. No sooner: a deadline
  // that is near costs whoever sleeps until then a timer.
  static constexpr int kGrantSpans = 40;
  // An ack that is due waits so long for cargo to go with, while packets keep
  // coming: as long as a turn takes that is full of work.
  static constexpr Duration kAckPatience = Duration::Micros(20);
  // What is small waits for data for this part of the delay that counts as
  // none: 100 us, unless it is said otherwise. A small all-reduce of a few
  // ranks comes round in less, and nobody misses the end of a send for so long.
  static constexpr int kPatienceParts = 10;
  // Of packets with more payload no two go into one datagram, nor into one
  // train of them, so there is no need for the short one to be the last.
  static constexpr uint32_t kHalfDatagram = 32 << 10;
  // Silence is not judged with mail unread, which may be what was missed; but
  // others may send without end.
  static constexpr Duration kMailPatience = Duration::Millis(1);
  // A path on which nothing came for so long, while others brought something,
  // is not trusted with acks.
  static constexpr Duration kArrivingSpan = Duration::Millis(5);
  // Copies of an ack: where no path seems to work, and where they are asked
  // for.
  static constexpr size_t kAckCopies = 16;
  static constexpr size_t kAnswerCopies = 4;
  // One ack in so many takes any path that is not suspect.
  static constexpr uint64_t kBlindAcks = 8;
  // Where only suspect paths have room, an ack that is due waits so long.
  static constexpr Duration kAckGrace = Duration::Millis(1);
  // None of them is acked, so there are several, each on another path.
  static constexpr int kGoodbyes = 3;
  // A goodbye may overtake the last data and acks on other paths.
  static constexpr Duration kLeavingGrace = Duration::Millis(100);
  // So many receives are looked at beforehand after one that was worth it.
  static constexpr int kPeeks = 16;
  // A new way to a path that stays silent costs a queue pair on both sides.
  static constexpr Duration kRebirthPause = Duration::Seconds(1);
  // Signs of life asked for per peer timeout, and how many must have gone
  // unanswered before a peer is lost: a host that stood still itself for the
  // whole timeout has heard nobody, and must ask first.
  static constexpr int kSignsPerTimeout = 8;
  static constexpr int kSignsToLose = 4;

  // inbound.cc
  bool Receive(Time now);  // True: some came. Sets more_mail_.
  void FindPlaces(std::span<RxFront> fronts);
  std::span<std::byte> PlaceOf(const RxFront& front);
  // All of its payload may lie in `rest`.
  void OnPacket(std::span<const std::byte> bytes,
                std::span<const std::byte> rest, const RxPacket& datagram,
                uint16_t plane, Time now);
  AckWait AckWaitOf(const Peer& peer, const Path& path) const;
  // Whose packet it seems to be, and what it takes for granted. nullptr:
  // nobody's that we could answer.
  Peer* FindSender(const wire::Prologue& prologue, wire::Expected* expected);
  FlowRecord* FindReceive(const Peer& peer, FlowId id) const;
  void OnCargo(Peer& peer, const wire::DecodedPacket& packet, uint16_t plane,
               Time now);
  void OnAcks(Peer& peer, std::span<const std::byte> bytes, Duration waited,
              Time now);
  void Settle(Peer& peer, Time now);  // What is in settled_.
  void TakeBuried(uint16_t plane, Time now);
  // What a NIC here does for a flow, in memory that this host cannot write: it
  // puts cargo there, or flushes.
  struct Errand {
    FlowRecord* record = nullptr;  // nullptr: none.
    uint16_t plane = 0;
    FlushRequest* flush = nullptr;
    wire::Cargo cargo = {};
    bool last = false;
  };
  void OnFarClosed(FlowRecord& record, Time now);
  uint64_t AddErrand(const Errand& errand);  // Its ticket.
  void TakeCarried(uint16_t plane, Time now);
  void ForgetErrands(FlowRecord& record);
  void OnControl(Peer& peer, std::span<const std::byte> bytes, Time now);
  void Learn(Peer& peer, const Path& path, const AckSummary& summary);

  // outbound.cc
  bool TakeRequests(Time now);
  void DrainQueue(FlowRecord& record, Time now);
  // More of what it receives, if there is room for that here.
  void Admit(FlowRecord& record, Time now);
  // The same, where something has come that makes room.
  void AdmitMore(FlowRecord& record, const wire::Cargo& came, bool last,
                 Time now);
  void PushGrant(FlowRecord& record, Time now);
  bool SendAcks(bool received, Time now);
  void SendAcksOver(Peer& peer, const Path& path, Time now);
  Path* PickAckPath(Peer& peer, Time now);  // nullptr: no plane has room.
  void RepeatAcks(Peer& peer, const Path& but,
                  std::span<const std::byte> packet);
  bool SendCargo(Time now);
  bool SendCargoTo(Peer& peer, size_t& budget, Time now);
  size_t RoomFor(const Peer& peer, const Path& path);  // For one burst.
  size_t SendBurst(Peer& peer, Path& path, size_t most, Time now);
  std::optional<wire::Cargo> NextCargo(Peer& peer, const Path& path,
                                       FlowRecord** record,
                                       uint32_t max_payload, Time now);
  bool SendBound(Peer& peer, Path& path, size_t& budget, Time now);
  void SendPacket(Peer& peer, const Path& path, const FlowRecord* record,
                  const wire::Cargo& cargo, const Path::Numbered& numbered,
                  bool ack_now);
  void CarryControls();
  // A path over another plane; nullptr: there is none with room.
  const Path* PickElsewhere(const Peer& peer, uint16_t plane);
  void SendWantedProbe(Peer& peer, Path& path, Time now);
  // Padded to `bytes`, or to the most that its plane takes. False: no room.
  bool SendProbe(Peer& peer, Path& path, uint32_t bytes, Time now);
  // The most payload that the far NIC would place; 0: it places none.
  uint32_t MaxPlaced(const Peer& peer, const Path& path) const;
  // The largest packet: that the plane would take, and that is sent.
  uint32_t MostBytes(const Peer& peer, const Path& path) const {
    return MostBytes(peer, peer.places[path.id().value].plane);
  }
  uint32_t MostBytes(const Peer& peer, uint16_t plane) const;
  uint32_t MaxPacket(const Peer& peer, const Path& path) const;
  uint32_t PayloadOf(uint32_t packet_bytes) const;  // Of data, at most.
  // Of what nobody would miss by its size: acks, and packets put together.
  uint32_t SafeBytes(const Peer& peer, const Path& path) const;
  void RefreshSendable(Peer& peer, Time now);  // Where it may have changed.
  void FindOpen(Peer& peer, Time now);
  // `target`: of what is placed.
  void EncodeAndStage(Peer& peer, const wire::PacketHeader& header,
                      MemorySlice payload, const RemoteSlice& target = {});
  void StagePacket(Peer& peer, const Path& path,
                   std::span<const std::byte> header, MemorySlice payload);
  Stage& StageOf(const Peer& peer, const Path& path);
  Datapath& PlaneOf(const Peer& peer, const Path& path) const {
    return *planes_[peer.places[path.id().value].plane];
  }
  Way WayOf(const Peer& peer, const Path& path) const {
    return {peer.id, peer.places[path.id().value].entropy};
  }
  void FlushAll();

  // engine.cc
  bool FireTimers(Time now);
  void LookAfter(Peer& peer, Time now);  // Its timers that are due.
  // The path whose turn it is to be asked. With `silent`: an open path, and not
  // that one, if there is any.
  Path& NextAsked(Peer& peer, PathId silent);
  // Asks another path of the same plane.
  void AskForPlane(Peer& peer, const Path& silent, Time now);
  // Once more, if it is going on.
  void Bury(Peer& peer, Path& path, Time now);
  // No NIC may touch the flow's memory after this.
  void EndPlacing(FlowRecord& record, Time now);
  void LosePeer(Peer& peer, std::string cause, Time now);
  void Touch(Peer& peer);
  void Touch(Peer& peer, const Path& path);
  void Hear(Peer& peer, Time now);  // Something intact came from it.
  void Need(Peer& peer, Time now);  // It is about to be, for one reason more.
  void UpdateBusy(FlowRecord& record, Time now);
  void SetBusy(FlowRecord& record, bool busy, Time now);
  Time LostAt(const Peer& peer) const;  // If it stays silent; or Never.
  Time NextSignAt(const Peer& peer) const;
  Time DeadlineOf(const Peer& peer, const Path& path) const;
  Time DeadlineOf(Peer& peer, bool room, Time now);
  Time NextDeadline(Time now);

  const Config config_;
  const wire::EndpointIdentity identity_;
  const uint16_t index_;
  const std::vector<Datapath*> planes_;
  const PathOptions path_options_;
  const Duration peer_timeout_;
  const bool check_payload_;
  const uint32_t peek_bytes_;
  const uint32_t data_header_bytes_;
  uint64_t seed_;
  Random random_;

  Inbox inbox_;
  EngineMetrics metrics_;
  std::vector<std::unique_ptr<Peer>> peers_;
  FlowTable receives_;  // Of all peers: data names its flow and no peer.
  Admission admission_;
  Earliest deadlines_;  // Of each peer, as of its last touch.
  absl::flat_hash_map<std::pair<uint64_t, uint16_t>, PeerId> peer_ids_;
  std::vector<Peer*> touched_;   // This turn's; their deadlines are stale.
  std::vector<Peer*> working_;   // Scratch: the touched ones being served.
  std::vector<Peer*> unserved_;  // Have cargo; budget or room ran out.
  size_t first_served_ = 0;      // Peers take turns at being first.
  SettledList settled_;
  std::vector<Errand> errands_;  // By ticket.
  std::vector<uint64_t> free_errands_;
  std::vector<FlowRecord*> blocked_;  // Their flow was full; they wait.
  std::vector<Stage> stages_;         // One per plane.
  std::vector<std::byte> padding_;    // What a padded probe carries.
  std::array<RxPacket, kReceiveBatch> received_;  // Scratch: of one plane.
  wire::AckPacket acks_in_, acks_out_;            // Scratch.
  Time last_heard_;
  int peeks_left_ = 0;
  bool more_mail_ = false;  // A plane had more than one batch...
  Time more_mail_since_;    // ...and has had, at every turn since.
};

}  // namespace hawser
