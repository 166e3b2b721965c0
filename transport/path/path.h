// One way to one peer: numbers packets, learns their fate, keeps to its window.
// Knows: numbers, times, bytes.  Never: messages, memory, sockets.
//
// kOpen --silent for about 4 RTT while its host speaks--> kSuspect
// kSuspect --an answer--> kOpen
//
// A suspect path carries no cargo. It is probed with growing pauses and is
// open again when it answers to a packet as large as those it lost; so neither
// a silent path can attract anything, nor one that lets only small packets
// through. If it answers to those alone, smaller ones are tried.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/congestion/congestion_control.h"
#include "transport/path/ack_tracker.h"
#include "transport/path/loss_detector.h"
#include "transport/path/packet_size.h"
#include "transport/path/path_state.h"
#include "transport/path/rtt.h"
#include "transport/path/sent_log.h"
#include "transport/path/window.h"
#include "transport/wire/header.h"

namespace hawser {

struct PathOptions {
  uint32_t ack_every = 16;
  Duration ack_delay;                           // HAWSER_ACK_DELAY_US.
  Duration rto_min;                             // HAWSER_RTO_MIN_US.
  Duration rto_initial = Duration::Millis(30);  // Before the first RTT sample.
  Duration probe_pause_max = Duration::Millis(200);
};

class alignas(64) Path {
 public:
  // Its first so many are all that sending and acks touch of a healthy path.
  static constexpr size_t kBusyBytes = 384;

  using State = PathState;

  // With a window of its own, or one that it shares.
  Path(PathId id, std::unique_ptr<CongestionControl> congestion,
       const PathOptions& options);
  Path(PathId id, std::shared_ptr<Window> window, const PathOptions& options);

  // A. What is.
  PathId id() const { return id_; }
  State state() const { return state_; }
  // It is open, and remembers few enough packets to send one more.
  bool has_room() const;
  // And its window lets it go. A lone packet may exceed that.
  bool CanSend(uint32_t bytes, Time now) const;
  // When OnDeadline has something to do, or a blocked pacer lets go. The ack
  // that may be due is not in it: see ack_deadline().
  Time deadline() const;
  Time ack_deadline() const { return acks_.deadline(); }
  // A probe is to be sent when there is room, and padded to this; 0: bare.
  bool probe_wanted() const { return probe_wanted_; }
  bool CanProbe() const { return !log_.full(); }
  uint32_t probe_bytes() const;
  // Larger packets die here.
  uint32_t max_packet_bytes() const { return size_.limit_bytes(); }
  // Several packets may share a datagram of up to this: if it dies, they do so
  // together, and nobody can tell by their own sizes that it was too large.
  uint32_t safe_bytes() const { return size_.safe_bytes(); }
  // The size of a probe that would show whether larger packets arrive again, or
  // what is safe where more is wanted; up to `ceiling_bytes`; 0: none is due.
  uint32_t larger_probe_bytes(uint32_t ceiling_bytes, Time now) const;
  const Window& window() const { return *window_; }
  // Its share of the window.
  uint32_t window_bytes() const { return window_->bytes() / window_->paths(); }
  uint32_t in_flight_bytes() const { return log_.in_flight_bytes(); }
  // Host waits taken out: what the network adds.
  const RttEstimator& network_rtt() const { return network_rtt_; }
  // From send until the ack is read, everything included.
  const RttEstimator& response_rtt() const { return response_rtt_; }
  // How long the oldest packet in flight has waited; 0 if none is.
  Duration silence(Time now) const;
  Duration rto() const;
  const PathCounts& counts() const { return counts_; }
  PacketNumber expected() const { return acks_.expected(); }
  // So numbered, a packet would be the first.
  bool IsNew(PacketNumber number) const { return acks_.IsNew(number); }
  PacketNumber ExpandAck(uint32_t low) const;
  // Where a packet is remembered, for whoever wants it at hand.
  const SentPacket* place(PacketNumber n) const { return log_.place(n); }

  // B. What happened. Cargo whose fate is now known is appended to `out`.
  // `arrived_at` is when the ack reached this host; `arrived_at` <= now.
  AckSummary OnAck(const wire::Ack& ack, Time arrived_at, SettledList& out,
                   Time now);
  // Packets sent before `sent_before` have been overtaken by so much on other
  // paths of the peer that they are taken for lost.
  AckSummary OnOvertaken(Time sent_before, SettledList& out, Time now);
  // `host_heard` is when anything last came from the far host, on any path.
  AckSummary OnDeadline(Time host_heard, SettledList& out, Time now);
  Arrival OnPacket(const wire::PacketHeader& header, bool ecn_marked,
                   Time arrived_at, AckWait wait = {});
  // Packets would have shared a datagram, had it been safe.
  void OnSizeWanted() { size_.OnWanted(); }
  // The peer is gone: whatever is open is lost, without a word to congestion
  // control.
  void OnPeerLost(SettledList& out);

  // C. What next. Send numbers the packet, remembers it and says what the
  // header must carry. A kProbe may be sent in any state; cargo only where
  // CanSend.
  struct Numbered {
    PacketNumber number;
    uint16_t open_span = 0;
  };
  Numbered Send(const wire::Cargo& cargo, uint32_t wire_bytes, Time now);
  std::optional<wire::Ack> TakeAck(Time now) { return acks_.TakeAck(now); }

 private:
  Time ProbeAt() const;  // When a silent path is asked for a sign.
  Duration ReorderTime() const;
  void Trim();
  void Count(const AckSummary& summary);
  uint16_t TakeMarks(const wire::Ack& ack);
  void OnProgress(Time now);
  void OnWhisper(Time now);
  void OnSilence(AckSummary& summary, SettledList& out, Time now);

  // With hundreds of paths to each of many peers, none is in a cache when it is
  // needed. So what a healthy path needs of itself comes first, in the order in
  // which sending and then acks need it: kBusyBytes. The rest it never touches.
  PathId id_;
  uint16_t ecn_marked_seen_ = 0;  // The peer's free-running count, last heard.
  State state_ = State::kOpen;
  bool probe_wanted_ = false;
  bool tail_probed_ = false;      // Since the latest progress.
  bool bare_probe_next_ = false;  // While suspect.
  std::shared_ptr<Window> window_;
  Time latest_;  // The latest `now` heard: what lies before is no deadline.
  Time quiet_since_;  // The latest progress, or the first send after it.
  SentLog log_;
  RttEstimator network_rtt_, response_rtt_;
  LossDetector losses_;
  PacketNumber largest_heard_;  // In any ack.
  PacketSize size_;
  Duration rto_min_, ack_delay_;
  PathCounts counts_;  // Those of packets sent, delivered and lost come first.
  Duration rto_initial_, probe_pause_max_;
  AckTracker acks_;
  Time probed_at_;  // If tail_probed_: then...
  Time judge_at_;   // ...and when it is next asked whether that was answered.
  bool witnessed_ = false;           // Its host was heard since the probe.
  Time next_probe_ = Time::Never();  // While suspect.
  Duration probe_pause_;
  // While suspect: an answer to so large a packet opens it again...
  uint32_t lost_bytes_ = 0;
  // ...and, since it answered to a smaller one, so many more are tried.
  int large_probes_left_ = 0;
};

}  // namespace hawser
