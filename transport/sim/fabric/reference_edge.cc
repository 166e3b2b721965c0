#include "transport/sim/fabric/reference_edge.h"

#include <algorithm>

#include "transport/base/check.h"
#include "transport/spray/schedulers.h"

namespace hawser::sim {
namespace {

// A timer's `what`: a message that begins, or one whose silence is judged.
constexpr uint32_t kJudge = 1u << 31;

Time TimeOf(Picos at) { return Time::FromNanos(at / 1000); }

}  // namespace

ReferenceEdge::ReferenceEdge(Fabric& fabric, Progress& progress,
                             const ReferenceOptions& options, uint64_t seed)
    : fabric_(fabric),
      progress_(progress),
      options_(options),
      seed_(seed),
      payload_bytes_(options.facts.packet_bytes - options.header_bytes),
      sendable_((options.paths + 63) / 64, ~uint64_t{0}),
      senders_(progress.workload().messages.size()),
      receivers_(senders_.size()),
      turns_(fabric.topology().hosts()) {
  if (options.paths % 64 != 0) {
    sendable_.back() = (uint64_t{1} << options.paths % 64) - 1;
  }
}

void ReferenceEdge::Start() {
  const auto& messages = progress_.workload().messages;
  for (uint32_t m = 0; m < messages.size(); ++m) {
    if (messages[m].waits_for == 0) fabric_.SetTimer(messages[m].start, m);
  }
}

void ReferenceEdge::OnTimer(uint32_t what) {
  if ((what & kJudge) == 0) return Begin(what);
  const uint32_t message = what & ~kJudge;
  if (progress_.finished_at(message) != kNeverPicos) return;
  Sender& sender = senders_[message];
  for (uint32_t n = 0; n < sender.next; ++n) {
    Sender::Sent& sent = sender.sent[n];
    if (!sent.open || fabric_.now() - sent.at < options_.rto) continue;
    sent.open = false;
    const uint32_t bytes = LengthOf(message, n) + options_.header_bytes;
    sender.in_flight_bytes -= bytes;
    sender.again.Push(n);
    sender.scheduler->OnFeedback({sent.path}, PathFeedback::kSilent, 1, {});
    sender.window_bytes =
        sender.congestion->OnLoss({TimeOf(fabric_.now()), bytes, true})
            .window_bytes;
  }
  const uint32_t host = progress_.workload().messages[message].from;
  List(host, message);
  if (fabric_.nic_idle(host, 0)) SendOne(host);
  fabric_.SetTimer(fabric_.now() + options_.rto / 4, what);
}

void ReferenceEdge::Begin(uint32_t message) {
  const MessagePlan& plan = progress_.workload().messages[message];
  Sender& sender = senders_[message];
  sender.scheduler =
      MakeScheduler(options_.scheduler, static_cast<uint16_t>(options_.paths),
                    Mix64(++seed_));
  sender.congestion = MakeCongestion(options_.congestion, options_.facts);
  sender.window_bytes = sender.congestion->initial().window_bytes;
  sender.packets =
      static_cast<uint32_t>((plan.bytes + payload_bytes_ - 1) / payload_bytes_);
  sender.sent.resize(sender.packets);
  receivers_[message].arrived.resize(sender.packets);
  progress_.OnStarted(message, fabric_.now());
  List(plan.from, message);
  if (fabric_.nic_idle(plan.from, 0)) SendOne(plan.from);
  fabric_.SetTimer(fabric_.now() + options_.rto, message | kJudge);
}

uint32_t ReferenceEdge::LengthOf(uint32_t message, uint32_t number) const {
  const uint64_t bytes = progress_.workload().messages[message].bytes;
  const uint64_t offset = uint64_t{number} * payload_bytes_;
  return static_cast<uint32_t>(
      std::min<uint64_t>(payload_bytes_, bytes - offset));
}

bool ReferenceEdge::HasCargo(const Sender& sender) const {
  return (!sender.again.empty() || sender.next < sender.packets) &&
         sender.in_flight_bytes + options_.facts.packet_bytes <=
             sender.window_bytes;
}

void ReferenceEdge::List(uint32_t host, uint32_t message) {
  Sender& sender = senders_[message];
  if (sender.listed || !HasCargo(sender)) return;
  sender.listed = true;
  turns_[host].Push(message);
}

void ReferenceEdge::OnNicIdle(uint32_t host, uint32_t) { SendOne(host); }

bool ReferenceEdge::SendOne(uint32_t host) {
  Fifo<uint32_t>& turns = turns_[host];
  while (!turns.empty()) {
    const uint32_t message = turns.Pop();
    Sender& sender = senders_[message];
    sender.listed = false;
    while (!sender.again.empty() && sender.sent[sender.again.front()].acked) {
      sender.again.Pop();
    }
    if (!HasCargo(sender)) continue;
    const bool resend = !sender.again.empty();
    const uint32_t number = resend ? sender.again.Pop() : sender.next++;
    const MessagePlan& plan = progress_.workload().messages[message];
    const PathView view{{}, sendable_, options_.paths};
    const PathId path = sender.scheduler->Pick(view, TimeOf(fabric_.now()));
    const PacketIndex index = fabric_.NewPacket();
    Packet& packet = fabric_.packet(index);
    packet.length = static_cast<uint16_t>(LengthOf(message, number));
    packet.bytes = packet.length + options_.header_bytes;
    packet.to = plan.to;
    packet.message = message;
    packet.number = number;
    packet.path = path.value;
    packet.route = RouteOf(host + (message << 16), plan.to, path.value);
    packet.sent_at = fabric_.now();
    sender.sent[number].at = packet.sent_at;
    sender.sent[number].path = path.value;
    sender.sent[number].open = true;
    sender.in_flight_bytes += packet.bytes;
    packet.ack_now = (sender.next == sender.packets && sender.again.empty()) ||
                     sender.in_flight_bytes + options_.facts.packet_bytes >
                         sender.window_bytes;
    ++counts_.packets;
    counts_.data_bytes += packet.bytes;
    if (resend) {
      ++counts_.resent;
      counts_.resent_bytes += packet.bytes;
    }
    fabric_.Send(host, index);
    List(host, message);
    return true;
  }
  return false;
}

void ReferenceEdge::OnArrival(uint32_t host, PacketIndex index) {
  const Packet packet = fabric_.packet(index);
  fabric_.Free(index);
  if (packet.report != 0) return OnReport(packet);
  OnData(host, packet);
}

void ReferenceEdge::OnData(uint32_t host, const Packet& packet) {
  if (packet.trimmed) return SendReport(host, packet, true);
  Receiver& receiver = receivers_[packet.message];
  const bool is_new = !receiver.arrived[packet.number];
  if (is_new) {
    receiver.arrived[packet.number] = true;
    ++receiver.packets;
    receiver.unacked_bytes += packet.bytes;
  }
  receiver.unacked.push_back(packet.number);
  if (!is_new || packet.marked || packet.ack_now || receiver.packets == 1 ||
      receiver.packets == receiver.arrived.size() ||
      receiver.unacked_bytes >= options_.ack_every_bytes) {
    SendReport(host, packet, false);
  }
}

void ReferenceEdge::SendReport(uint32_t host, const Packet& about,
                               bool trimmed) {
  if (free_reports_.empty()) {
    free_reports_.push_back(static_cast<uint32_t>(reports_.size()));
    reports_.emplace_back();
  }
  const uint32_t report = free_reports_.back();
  free_reports_.pop_back();
  Receiver& receiver = receivers_[about.message];
  reports_[report].clear();
  if (trimmed) {
    reports_[report].push_back(about.number);
  } else {
    reports_[report].swap(receiver.unacked);
    receiver.unacked_bytes = 0;
  }
  const PacketIndex index = fabric_.NewPacket();
  Packet& packet = fabric_.packet(index);
  packet.bytes = options_.header_bytes;
  packet.control = true;
  packet.trimmed = trimmed;
  packet.to = progress_.workload().messages[about.message].from;
  packet.message = about.message;
  packet.number = about.number;
  packet.marked = false;
  packet.ack_now = about.marked;  // The echo of the mark.
  packet.path = about.path;
  packet.route = RouteOf(host, packet.to, about.path);
  packet.sent_at = about.sent_at;
  packet.report = report + 1;
  ++counts_.acks;
  fabric_.Send(host, index);
}

void ReferenceEdge::OnReport(const Packet& packet) {
  const uint32_t report = packet.report - 1;
  Sender& sender = senders_[packet.message];
  const Time now = TimeOf(fabric_.now());
  const Duration rtt = Duration::Nanos((fabric_.now() - packet.sent_at) / 1000);
  const uint32_t host = packet.to;
  if (packet.trimmed) {
    Sender::Sent& sent = sender.sent[packet.number];
    if (sent.open && !sent.acked) {
      sent.open = false;
      const uint32_t bytes =
          LengthOf(packet.message, packet.number) + options_.header_bytes;
      sender.in_flight_bytes -= bytes;
      sender.again.Push(packet.number);
      sender.scheduler->OnFeedback({packet.path}, PathFeedback::kLost, 1, {});
      sender.window_bytes =
          sender.congestion->OnLoss({now, bytes, false}).window_bytes;
    }
  } else {
    uint32_t acked_bytes = 0;
    const uint32_t in_flight_bytes = sender.in_flight_bytes;
    for (const uint32_t number : reports_[report]) {
      Sender::Sent& sent = sender.sent[number];
      if (sent.acked) continue;
      const uint32_t bytes =
          LengthOf(packet.message, number) + options_.header_bytes;
      if (sent.open) sender.in_flight_bytes -= bytes;
      sent.acked = true;
      sent.open = false;
      ++sender.acked;
      acked_bytes += bytes;
    }
    const bool marked = packet.ack_now;
    sender.scheduler->OnFeedback(
        {packet.path}, marked ? PathFeedback::kMarked : PathFeedback::kGood, 1,
        rtt);
    sender.window_bytes =
        sender.congestion
            ->OnAck({now, std::max(rtt, Duration::Nanos(1)), acked_bytes,
                     in_flight_bytes, static_cast<uint16_t>(marked)})
            .window_bytes;
  }
  free_reports_.push_back(report);
  if (sender.acked == sender.packets &&
      progress_.finished_at(packet.message) == kNeverPicos) {
    for (const uint32_t next :
         progress_.OnFinished(packet.message, fabric_.now())) {
      Begin(next);
    }
    sender.sent = {};
    receivers_[packet.message] = {};
  }
  List(host, packet.message);
  if (fabric_.nic_idle(host, 0)) SendOne(host);
}

}  // namespace hawser::sim
