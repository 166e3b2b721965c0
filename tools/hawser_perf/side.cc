#include "tools/hawser_perf/side.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/datapath/interfaces.h"
#include "transport/engine/clock.h"
#include "transport/engine/config.h"

namespace hawser::perf {
namespace {

using nlohmann::json;

// How often the control line is looked at: often enough that "stop" costs
// nothing that shows in a second.
constexpr Duration kTick = Duration::Millis(10);
// Round trips before those that count: windows open, caches fill.
constexpr int kWarmups = 100;
// --blocking: one engine is waited for at a time, so long at most.
constexpr Duration kAwaitMost = Duration::Millis(1);

std::string Word(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>()
                                                     : "";
}

}  // namespace

Side::Side(Endpoint* endpoint, ControlLine* control, const Plan& plan,
           bool client)
    : endpoint_(endpoint),
      control_(control),
      plan_(plan),
      client_(client),
      series_(endpoint, plan.duration_s) {}

Duration Side::handshake_timeout() const {
  return Duration::Millis(endpoint_->config().handshake_timeout_ms);
}

Duration Side::peer_timeout() const {
  return Duration::Millis(endpoint_->config().peer_timeout_ms);
}

uint64_t Side::wrong() const {
  uint64_t wrong = 0;
  for (const auto& lane : receive_lanes_) wrong += lane->wrong();
  return wrong;
}

// --- Running ---------------------------------------------------------------

absl::Status Side::Run(const OnTick& on_tick) {
  on_tick_ = on_tick;
  absl::Status status = Begin();
  if (!status.ok()) return status;
  status = !plan_.latency ? Stream() : client_ ? PingPong() : Echo();
  // Not before: a server that has heard it answers no ping that is still under
  // way.
  if (status.ok() && client_) status = control_->Write({{"say", "stop"}});
  if (status.ok()) status = Drain();
  ended_ = MonotonicNow();
  cpu_ended_ = CpuTime::Now();
  if (!status.ok()) {
    if (!Drained()) sent_.OnNone(ended_);
    if (receives()) received_.OnNone(ended_);
  }
  series_.Sample(sent_.bytes(), received_.bytes(), ended_);
  return status;
}

absl::Status Side::Begin() {
  // Receives are posted ahead, as NCCL does.
  for (const auto& lane : receive_lanes_) {
    while (lane->Post()) {
    }
  }
  if (client_) {
    if (absl::Status said = control_->Write({{"say", "start"}}); !said.ok()) {
      return said;
    }
  } else {
    const Time until = MonotonicNow() + handshake_timeout();
    while (!far_started_) {
      if (absl::Status heard = HearControl(); !heard.ok()) return heard;
      if (MonotonicNow() > until) {
        return absl::DeadlineExceededError(
            absl::StrCat(control_->far(), " did not start in time"));
      }
      sched_yield();
    }
  }
  cpu_began_ = CpuTime::Now();
  began_ = last_tick_ = next_tick_ = MonotonicNow();
  sent_.Begin(began_);
  received_.Begin(began_);
  series_.Begin(began_);
  next_sample_ = began_ + series_.period();
  return absl::OkStatus();
}

absl::Status Side::Stream() {
  while (!stopping_) {
    const Time now = MonotonicNow();
    moved_ = false;
    for (const auto& lane : receive_lanes_) {
      if (absl::Status turn = TurnLane(*lane, true); !turn.ok()) return turn;
    }
    for (const auto& lane : send_lanes_) {
      if (absl::Status turn = TurnLane(*lane, true); !turn.ok()) return turn;
    }
    if (now >= next_tick_) {
      if (absl::Status tick = Tick(now); !tick.ok()) return tick;
    }
    moved_ ? OnMoved() : OnIdle();
  }
  return absl::OkStatus();
}

absl::Status Side::PingPong() {
  for (int i = 0; i < kWarmups && !stopping_; ++i) {
    if (absl::Status trip = RoundTrip(false); !trip.ok()) return trip;
  }
  while (!stopping_) {
    if (absl::Status trip = RoundTrip(true); !trip.ok()) return trip;
  }
  return absl::OkStatus();
}

absl::Status Side::RoundTrip(bool count) {
  Lane& ping = *send_lanes_.front();
  Lane& pong = *receive_lanes_.front();
  Time now = MonotonicNow();
  const Time posted = now;
  bool left = ping.Post();
  const uint64_t wanted = pong.done() + 1;
  // The others wait already; this one is for a later trip.
  while (pong.Post()) {
  }
  // A stop does not cut it short: what was sent is awaited.
  while (pong.done() < wanted) {
    moved_ = false;
    if (absl::Status turn = TurnLane(pong, false); !turn.ok()) return turn;
    now = MonotonicNow();
    if (pong.done() == wanted) break;
    if (absl::Status turn = TurnLane(ping, false); !turn.ok()) return turn;
    if (!left) left = ping.Post();
    if (now >= next_tick_) {
      if (absl::Status tick = Tick(now); !tick.ok()) return tick;
    }
    moved_ ? OnMoved() : OnIdle();
  }
  if (count) round_trips_.Add(now - posted);
  OnMoved();
  // Not within the time of the next one.
  if (now >= next_tick_) return Tick(now);
  return absl::OkStatus();
}

absl::Status Side::Echo() {
  Lane& ping = *receive_lanes_.front();
  Lane& pong = *send_lanes_.front();
  while (!stopping_) {
    moved_ = false;
    if (absl::Status turn = TurnLane(ping, false); !turn.ok()) return turn;
    // As many answers as there were questions; room for later ones after that.
    while (pong.posted() < ping.done() && pong.Post()) {
    }
    while (ping.Post()) {
    }
    if (absl::Status turn = TurnLane(pong, false); !turn.ok()) return turn;
    const Time now = MonotonicNow();
    if (now >= next_tick_) {
      if (absl::Status tick = Tick(now); !tick.ok()) return tick;
    }
    moved_ ? OnMoved() : OnIdle();
  }
  return absl::OkStatus();
}

bool Side::Drained() const {
  return std::all_of(
      send_lanes_.begin(), send_lanes_.end(),
      [](const auto& lane) { return lane->done() == lane->posted(); });
}

absl::Status Side::Drain() {
  bool said = false;
  while (true) {
    const Time now = MonotonicNow();
    moved_ = false;
    for (const auto& lane : send_lanes_) {
      if (absl::Status turn = TurnLane(*lane, false); !turn.ok()) return turn;
    }
    if (!said && Drained()) {
      said = true;
      drained_at_ = now;
      const absl::Status written =
          control_->Write({{"say", "done"}, {"messages", sent_.messages()}});
      if (!written.ok()) return written;
    }
    // Looked at first: a flow whose far half is done may be closed.
    if (said && far_sent_ && received_.messages() >= *far_sent_) break;
    for (const auto& lane : receive_lanes_) {
      if (absl::Status turn = TurnLane(*lane, true); !turn.ok()) return turn;
    }
    // While messages are under way, Hawser knows whether the peer lives. When
    // only the control line is silent, it may be on a path that is dark.
    const Duration patience =
        peer_timeout() + 4 * std::max(received_.longest_gap(), kTick);
    if (said && now - std::max(drained_at_, received_.last()) > patience) {
      return absl::DeadlineExceededError(
          absl::StrCat(control_->far(), " did not say that it is done"));
    }
    if (now >= next_tick_) {
      if (absl::Status tick = Tick(now); !tick.ok()) return tick;
    }
    moved_ ? OnMoved() : OnIdle();
  }
  if (received_.messages() != far_sent_) {
    return absl::DataLossError(
        absl::StrCat(received_.messages(), " messages came from ",
                     control_->far(), ", which sent ", *far_sent_));
  }
  return absl::OkStatus();
}

absl::Status Side::TurnLane(Lane& lane, bool posting) {
  const bool sender = lane.direction() == Direction::kSend;
  uint64_t done = 0;
  Lane::Fate fate;
  while ((fate = lane.TestOldest()) == Lane::Fate::kDone) {
    ++done;
    if (posting) lane.Post();
    if (done == kDepthMax) break;  // The others want a turn.
  }
  if (done > 0) {
    (sender ? sent_ : received_)
        .OnMessages(done, done * plan_.size_bytes, sender, MonotonicNow());
    moved_ = true;
  }
  if (fate == Lane::Fate::kFailed) return lane.failure();
  while (posting && lane.Post()) moved_ = true;
  return absl::OkStatus();
}

absl::Status Side::Tick(Time now) {
  last_tick_ = now;
  next_tick_ = now + kTick;
  if (now >= next_sample_) {
    series_.Sample(sent_.bytes(), received_.bytes(), now);
    next_sample_ = next_sample_ + series_.period();
    // After a stall the series has a hole, and not a heap of samples.
    if (next_sample_ < now) next_sample_ = now + series_.period();
  }
  if (absl::Status heard = HearControl(); !heard.ok()) return heard;
  const bool early = on_tick_();
  if (client_ && (early || Seconds(now - began_) >= plan_.duration_s)) {
    stopping_ = true;
  }
  return absl::OkStatus();
}

absl::Status Side::HearControl() {
  while (true) {
    auto heard = control_->TryRead();
    if (!heard.ok()) return heard.status();
    if (!*heard) return absl::OkStatus();
    const json& line = **heard;
    const std::string word = Word(line, "say");
    if (word == "ready") {
      far_ready_ = true;
    } else if (word == "start" && !client_) {
      far_started_ = true;
    } else if (word == "stop" && !client_) {
      stopping_ = true;
    } else if (word == "done" && line.contains("messages") &&
               line["messages"].is_number_unsigned()) {
      far_sent_ = line["messages"].get<uint64_t>();
    } else if (word == "report" && client_ && line.contains("report")) {
      far_report_ = line["report"];
    } else if (word == "failed") {
      return absl::UnavailableError(
          absl::StrCat(control_->far(), " says: ", Word(line, "why")));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(control_->far(), " said what does not belong here"));
    }
  }
}

void Side::OnIdle() {
  if (!plan_.blocking) {
    sched_yield();
    return;
  }
  // Flows share engines: whoever is asked first, they all get on.
  const auto& lanes = receive_lanes_.empty() ? send_lanes_ : receive_lanes_;
  lanes[idle_turns_++ % lanes.size()]->Await(
      std::min(next_tick_, MonotonicNow() + kAwaitMost));
}

// --- Telling ---------------------------------------------------------------

absl::Status Side::TellReport() {
  const absl::Status told =
      control_->Write({{"say", "report"}, {"report", Report()}});
  if (!told.ok()) return told;
  // Were the flows closed now, the client might find its receives closed
  // before it has seen that it needs them no more.
  while (true) {
    const auto heard = control_->Read(peer_timeout());
    if (absl::IsAborted(heard.status())) return absl::OkStatus();
    if (!heard.ok()) return heard.status();
  }
}

absl::StatusOr<json> Side::AwaitReport() {
  const Time until = MonotonicNow() + peer_timeout();
  while (!far_report_) {
    if (absl::Status heard = HearControl(); !heard.ok()) return heard;
    if (MonotonicNow() > until) {
      return absl::DeadlineExceededError(
          absl::StrCat(control_->far(), " sent no report"));
    }
    OnIdle();
  }
  return *std::move(far_report_);
}

json Side::Report() const {
  json interfaces = json::array();
  for (const Interface& one : endpoint_->interfaces()) {
    interfaces.push_back({{"name", one.name},
                          {"address", ToString(one.address)},
                          {"mtu", one.mtu}});
  }
  json config = json::object();
  for (const ConfigRow& row : ConfigRows()) {
    config[row.name] = row.show(endpoint_->config());
  }
  json received = received_.ToJson();
  received["wrong_messages"] = wrong();
  json report = {
      {"host", endpoint_->host()},
      {"interfaces", interfaces},
      {"config", config},
      {"seconds", Seconds(ended_ - began_)},
      {"cpu",
       {{"user_s", cpu_ended_.user_s - cpu_began_.user_s},
        {"system_s", cpu_ended_.system_s - cpu_began_.system_s}}},
      {"sent", sends() ? sent_.ToJson() : json()},
      {"received", receives() ? received : json()},
      {"series", series_.SeriesJson()},
      {"paths", series_.PathsJson()},
      {"endpoint", json::parse(endpoint_->ReportJson(), nullptr, false)}};
  if (plan_.latency && client_) report["round_trip"] = round_trips_.ToJson();
  return report;
}

}  // namespace hawser::perf
