// One side of a test, client or server: opens the flows, drives them the way
// NCCL drives a plugin, and tells what it saw.
// Knows: lanes, the order of a test.  Never: command lines, tables.
//
// The control line carries, after the plan and the handles of the flows:
// "ready" (my flows are open), "start" (client), "stop" (client: post no more),
// "done" (all that I sent has arrived; its number), "report". Either side may
// say "failed", with the reason, at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/hawser_perf/control.h"
#include "tools/hawser_perf/lane.h"
#include "tools/hawser_perf/plan.h"
#include "tools/hawser_perf/samples.h"
#include "transport/base/time.h"
#include "transport/engine/endpoint.h"
#include "transport/engine/rendezvous.h"

namespace hawser::perf {

// One device over the interfaces and with the settings that the environment
// asks for. Its warnings, and with `verbose` its remarks, go to stderr.
absl::StatusOr<std::unique_ptr<Endpoint>> MakeEndpoint(bool verbose);

class Side {
 public:
  // All that it is given outlives it.
  Side(Endpoint* endpoint, ControlLine* control, const Plan& plan, bool client);

  // A. What is, for a live line.
  Duration elapsed() const { return last_tick_ - began_; }
  const Tally& sent() const { return sent_; }
  const Tally& received() const { return received_; }
  const PathSeries& series() const { return series_; }
  const RoundTrips& round_trips() const { return round_trips_; }
  uint64_t wrong() const;
  // All that this side saw, for the other side and for humans.
  nlohmann::json Report() const;

  // B. The steps of a test, in this order.
  // Takes the memory for all buffers.
  absl::Status MakeLanes();
  // The handles of the flows that will come here.
  absl::StatusOr<nlohmann::json> Listen();
  // All flows, on both sides; `handles` as the far side's Listen gave them.
  absl::Status Open(const nlohmann::json& handles);
  // From the start until every message has arrived, on both sides. `on_tick`
  // is called every 10 ms or so; true: the test shall stop early.
  using OnTick = std::function<bool()>;
  absl::Status Run(const OnTick& on_tick);
  // The server, last: tells the client what it saw, and stays within reach
  // until that was read.
  absl::Status TellReport();
  // The client: what the server told.
  absl::StatusOr<nlohmann::json> AwaitReport();

 private:
  bool sends() const { return client_ ? plan_.forward : plan_.backward; }
  bool receives() const { return client_ ? plan_.backward : plan_.forward; }
  Duration handshake_timeout() const;
  Duration peer_timeout() const;

  absl::Status OpenLanes(const nlohmann::json& handles);
  absl::Status Begin();
  absl::Status Stream();
  absl::Status PingPong();
  absl::Status Echo();
  absl::Status Drain();
  bool Drained() const;
  // One message back and forth, not counted if `count` is false.
  absl::Status RoundTrip(bool count);

  // Reaps what is done, posts receives again, and while `posting` sends.
  absl::Status TurnLane(Lane& lane, bool posting);
  // What is due by the clock: samples, the control line, on_tick.
  absl::Status Tick(Time now);
  absl::Status HearControl();
  void OnMoved() { idle_turns_ = 0; }
  void OnIdle();

  Endpoint* const endpoint_;
  ControlLine* const control_;
  const Plan plan_;
  const bool client_;

  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Lane>> send_lanes_, receive_lanes_;

  OnTick on_tick_;
  Tally sent_, received_;
  PathSeries series_;
  RoundTrips round_trips_;
  CpuTime cpu_began_, cpu_ended_;
  Time began_, ended_, last_tick_, next_tick_, next_sample_;
  bool moved_ = false;     // In this turn of the loop.
  bool stopping_ = false;  // Nothing more is posted.
  bool far_ready_ = false;
  bool far_started_ = false;
  std::optional<uint64_t> far_sent_;  // The messages that it sent, when done.
  std::optional<nlohmann::json> far_report_;
  uint64_t idle_turns_ = 0;
  Time drained_at_ = Time::Never();
};

}  // namespace hawser::perf
