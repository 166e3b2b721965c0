// Why silence and not a retransmission timer: a timer per packet asks when that
// packet is late; we ask whether the path still speaks. Packets behind a gap
// are found by the acks of those after it, so only the last ones of a burst,
// and a path that died, need time at all. For the first there is the tail loss
// probe (RFC 8985 section 7): at two thirds of the timeout the path is asked
// for a sign. For the second the state kSuspect: after the whole timeout all
// that is in flight goes to other paths, and this one carries nothing but
// probes until it answers.
//
// A path is silent, and so is a host that is not scheduled, and only one of the
// two is helped by sending everything again. They are told apart by the other
// paths: a path is suspected when the far host has been heard on any of them
// since the probe left, and again a third of a timeout later, which is time
// enough to answer for all that waited in its sockets. If nothing at all is
// heard, the timeout is several times as long.
#include "transport/path/path.h"

#include <algorithm>
#include <utility>

#include "transport/base/check.h"

namespace hawser {
namespace {

// How many of the newest numbers a lost packet is remembered for: twice the
// most reordering that LossDetector will believe in. Whatever comes later than
// that teaches nothing, and would only make acks long and the log full.
constexpr uint64_t kRememberPackets = 2 * LossDetector::kMaxReorder;

// Room that cargo leaves in the log for probes. One silence sends one.
constexpr uint64_t kProbeRoomPackets = 8;

// How many timeouts a path may be silent while its host is as well.
constexpr int64_t kHostPauseTimeouts = 8;

}  // namespace

Path::Path(PathId id, std::unique_ptr<CongestionControl> congestion,
           const PathOptions& options)
    : Path(id, std::make_shared<Window>(std::move(congestion)), options) {}

Path::Path(PathId id, std::shared_ptr<Window> window,
           const PathOptions& options)
    : id_(id),
      window_(std::move(window)),
      rto_min_(options.rto_min),
      ack_delay_(options.ack_delay),
      rto_initial_(options.rto_initial),
      probe_pause_max_(options.probe_pause_max),
      acks_(id, options.ack_every, options.ack_delay) {
  window_->OnJoined();
}

bool Path::has_room() const {
  const uint64_t remembered = log_.end().value - log_.begin().value;
  return state_ == State::kOpen &&
         remembered + kProbeRoomPackets < wire::kAckWindow;
}

bool Path::CanSend(uint32_t bytes, Time now) const {
  return has_room() && window_->CanSend(bytes, now);
}

Time Path::deadline() const {
  if (state_ == State::kSuspect) return next_probe_;
  Time due = Time::Never();
  if (log_.open_packets() > 0) due = tail_probed_ ? judge_at_ : ProbeAt();
  return std::min(due, window_->deadline(latest_));
}

Duration Path::silence(Time now) const {
  if (log_.open_packets() == 0) return Duration();
  return std::max(now - log_.oldest_open_sent_at(), Duration());
}

// Three round trips: one for the answer, one for the probe's, one for luck.
Duration Path::rto() const {
  if (!response_rtt_.has_sample()) {
    return std::max(rto_initial_, rto_min_) + ack_delay_;
  }
  const Duration smoothed = response_rtt_.smoothed();
  return std::max({rto_min_, 3 * smoothed,
                   smoothed + 4 * response_rtt_.variance()}) +
         ack_delay_;
}

PacketNumber Path::ExpandAck(uint32_t low) const {
  return wire::ExpandNumber(low, 32, log_.end());
}

// A tail probe asks for nothing but a sign. A suspect path must show that it
// carries what it lost; in turn with that, it is asked whether it carries
// anything at all.
uint32_t Path::probe_bytes() const {
  return state_ == State::kOpen || bare_probe_next_ ? 0 : size_.limit_bytes();
}

uint32_t Path::larger_probe_bytes(uint32_t ceiling_bytes, Time now) const {
  if (!size_.may_try(now)) return 0;
  const bool limited = size_.limit_bytes() < ceiling_bytes;
  const bool wanted = size_.wanted() && size_.safe_bytes() < ceiling_bytes;
  if (!limited && !wanted) return 0;
  const uint32_t bytes =
      limited ? std::min(size_.larger_bytes(), ceiling_bytes) : ceiling_bytes;
  return CanSend(bytes, now) ? bytes : 0;
}

AckSummary Path::OnAck(const wire::Ack& ack, Time arrived_at, SettledList& out,
                       Time now) {
  latest_ = std::max(latest_, now);
  const uint32_t in_flight_bytes = window_->in_flight_bytes();
  AckSummary summary = losses_.OnAck(ack, log_, id_, ReorderTime(), out);
  if (!summary.valid) return summary;
  Count(summary);
  const uint16_t marked = TakeMarks(ack);
  summary.marked_packets = marked;
  Trim();
  if (summary.lost_packets > 0) size_.OnLoss();
  if (summary.progress) {
    size_.OnDelivered(summary.largest_acked_bytes, now);
    if (state_ == State::kOpen || summary.largest_acked_bytes >= lost_bytes_) {
      OnProgress(now);
    } else {
      OnWhisper(now);
    }
    const Duration response = now - summary.newest_sent_at;
    response_rtt_.OnSample(response);
    // `held` speaks of the largest only. And a packet that arrived before it
    // was sent says that a clock was set, and nothing about the network.
    const Duration network = arrived_at - summary.newest_sent_at - ack.held;
    if (summary.newest_is_largest && network > Duration()) {
      network_rtt_.OnSample(network);
    }
    const Duration rtt =
        network_rtt_.has_sample() ? network_rtt_.latest() : response;
    window_->OnAck({now, std::max(rtt, Duration::Nanos(1)), summary.acked_bytes,
                    in_flight_bytes, marked});
  }
  if (summary.largest_lost_bytes > summary.largest_acked_bytes) {
    size_.OnLost(summary.largest_lost_bytes, now);
  }
  // A probe may have been too large for the path; that is no congestion.
  if (summary.lost_packets > summary.lost_probes) {
    window_->OnLoss({now, summary.lost_bytes, false});
  }
  return summary;
}

AckSummary Path::OnOvertaken(Time sent_before, SettledList& out, Time now) {
  latest_ = std::max(latest_, now);
  if (state_ == State::kSuspect) return {};  // What is open there are probes.
  const AckSummary summary = losses_.OnOvertaken(sent_before, log_, id_, out);
  if (summary.lost_packets == 0) return summary;
  Count(summary);
  Trim();
  if (summary.lost_packets > summary.lost_probes) {
    window_->OnLoss({now, summary.lost_bytes, false});
  }
  return summary;
}

AckSummary Path::OnDeadline(Time host_heard, SettledList& out, Time now) {
  latest_ = std::max(latest_, now);
  AckSummary summary;
  if (state_ == State::kSuspect) {
    if (now < next_probe_) return summary;
    // The earlier probes are given up, so that no outage can fill the log.
    summary = losses_.OnSilence(log_, id_, out);
    Count(summary);
    Trim();
    if (large_probes_left_ > 0 && !bare_probe_next_) {
      // It speaks, but not of this.
      size_.OnLost(summary.largest_lost_bytes, now);
      bare_probe_next_ = --large_probes_left_ == 0;
    } else {
      bare_probe_next_ = !bare_probe_next_;
    }
    next_probe_ = Time::Never();  // Until this one has left.
    probe_wanted_ = true;
    return summary;
  }
  if (log_.open_packets() == 0) return summary;
  if (!tail_probed_) {
    if (now < ProbeAt()) return summary;
    // If we come so late that the path would be suspect already, it is we who
    // were away, not the path: the probe still gets its third of the timeout.
    quiet_since_ = std::max(quiet_since_, now - rto() * 2 / 3);
    tail_probed_ = true;
    probed_at_ = now;
    witnessed_ = false;
    judge_at_ = std::max(quiet_since_ + rto(), now + rto() / 3);
    probe_wanted_ = !log_.full();
  } else if (now >= judge_at_) {
    const bool host_speaks = host_heard > probed_at_;
    if ((host_speaks && witnessed_) ||
        now >= quiet_since_ + kHostPauseTimeouts * rto()) {
      OnSilence(summary, out, now);
    } else {
      witnessed_ = host_speaks;
      judge_at_ = now + rto() / 3;
    }
  }
  return summary;
}

Arrival Path::OnPacket(const wire::PacketHeader& header, bool ecn_marked,
                       Time arrived_at, AckWait wait) {
  const Arrival arrival = acks_.OnPacket(header, ecn_marked, arrived_at, wait);
  ++(arrival == Arrival::kNew ? counts_.packets_received
                              : counts_.packets_duplicate);
  return arrival;
}

void Path::OnPeerLost(SettledList& out) {
  Count(losses_.OnSilence(log_, id_, out));
  Trim();
  probe_wanted_ = false;
  next_probe_ = Time::Never();
}

Path::Numbered Path::Send(const wire::Cargo& cargo, uint32_t wire_bytes,
                          Time now) {
  const bool probe = cargo.kind == wire::CargoKind::kProbe;
  HAWSER_CHECK(probe || state_ == State::kOpen);
  latest_ = std::max(latest_, now);
  if (log_.open_packets() == 0) {
    quiet_since_ = now;
    tail_probed_ = false;
  }
  Trim();
  const PacketNumber number = log_.Add(cargo, wire_bytes, now);
  if (state_ == State::kOpen) window_->OnSent(wire_bytes, now);
  ++counts_.packets_sent;
  counts_.bytes_sent += wire_bytes;
  if (cargo.resend) ++counts_.packets_resent;
  if (probe) {
    ++counts_.probes_sent;
    if (state_ == State::kOpen && wire_bytes > size_.safe_bytes()) {
      size_.OnTried(wire_bytes, now);
    } else if (state_ == State::kSuspect && probe_wanted_) {
      if (!bare_probe_next_) lost_bytes_ = wire_bytes;
      next_probe_ = now + probe_pause_;
      if (large_probes_left_ == 0) {
        probe_pause_ = std::min(2 * probe_pause_, probe_pause_max_);
      }
    }
    probe_wanted_ = false;
  }
  return {number, static_cast<uint16_t>(number.value - log_.begin().value)};
}

Time Path::ProbeAt() const { return quiet_since_ + rto() * 2 / 3; }

// A quarter of a round trip (RFC 8985 section 6.2), more as the path proves to
// reorder, and no more than a whole one: a tail probe leaves two later.
Duration Path::ReorderTime() const {
  if (!response_rtt_.has_sample()) return Duration::Max();
  const Duration smoothed = response_rtt_.smoothed();
  return std::min(smoothed, smoothed * losses_.reorder_packets() /
                                (4 * LossDetector::kMinReorder));
}

void Path::Trim() {
  const uint64_t end = log_.end().value;
  log_.Trim({end - std::min(end, kRememberPackets)});
}

// Probes of a suspect path are outside of its window: who shares that need not
// wait for them.
void Path::Count(const AckSummary& summary) {
  if (state_ == State::kOpen) {
    window_->OnSettled(summary.acked_bytes + summary.lost_bytes);
  }
  counts_.packets_delivered += summary.acked_packets;
  counts_.bytes_delivered += summary.acked_bytes;
  counts_.packets_lost += summary.lost_packets;
  counts_.packets_spurious += summary.spurious_packets;
}

// The count only moves forward with the newest ack: acks may come out of order,
// and an older one carries an older count.
uint16_t Path::TakeMarks(const wire::Ack& ack) {
  if (ack.largest < largest_heard_) return 0;
  const auto marked = static_cast<uint16_t>(ack.ecn_marked - ecn_marked_seen_);
  // Of two acks with the same largest, either may be the newer.
  if (ack.largest == largest_heard_ && marked > INT16_MAX) return 0;
  largest_heard_ = ack.largest;
  ecn_marked_seen_ = ack.ecn_marked;
  if (marked > 0) counts_.ecn_marked += marked;
  return marked;
}

void Path::OnProgress(Time now) {
  if (state_ == State::kSuspect) {
    window_->OnSent(log_.in_flight_bytes(), now);
    state_ = State::kOpen;
    next_probe_ = Time::Never();
  }
  quiet_since_ = now;
  tail_probed_ = false;
  probe_wanted_ = false;
}

void Path::OnSilence(AckSummary& summary, SettledList& out, Time now) {
  summary = losses_.OnSilence(log_, id_, out);
  Count(summary);
  Trim();
  window_->OnSilence(quiet_since_, {now, summary.lost_bytes, true});
  state_ = State::kSuspect;
  ++counts_.times_suspect;
  size_.OnLoss();
  lost_bytes_ = summary.largest_lost_bytes;
  large_probes_left_ = 0;
  bare_probe_next_ = false;
  probe_pause_ = std::min(rto(), probe_pause_max_);
  next_probe_ = Time::Never();
  probe_wanted_ = true;
}

// It answered to less than it lost: it lives, and is asked at once for more.
void Path::OnWhisper(Time now) {
  if (large_probes_left_ > 0) return;  // It is being asked.
  // Nothing smaller is left to try: it is asked now and then, as a dead one.
  if (size_.limit_bytes() <= PacketSize::kLeastBytes) return;
  large_probes_left_ = PacketSize::kStrikes;
  probe_pause_ = std::min(rto(), probe_pause_max_);
  if (!bare_probe_next_ && !probe_wanted_) {  // The question is on its way.
    next_probe_ = std::min(next_probe_, now + probe_pause_);
    return;
  }
  bare_probe_next_ = false;
  next_probe_ = Time::Never();
  probe_wanted_ = true;
}

}  // namespace hawser
