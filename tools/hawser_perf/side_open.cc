// How the flows of a test come about: the first part of Side.
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tools/hawser_perf/side.h"
#include "transport/engine/clock.h"
#include "transport/engine/config.h"
#include "transport/engine/find_devices.h"

namespace hawser::perf {

using nlohmann::json;

absl::StatusOr<std::unique_ptr<Endpoint>> MakeEndpoint(bool verbose) {
  auto config = Config::FromEnvironment(
      [](const char* name) -> const char* { return std::getenv(name); });
  if (!config.ok()) return config.status();
  if (const std::string unknown = UnknownKnobs(environ); !unknown.empty()) {
    std::fprintf(stderr, "hawser_perf: %s\n", unknown.c_str());
  }
  auto offers = FindDevices(*config);
  if (!offers.ok()) return offers.status();
  return Endpoint::Create(*config, std::move(offers->front().interfaces),
                          [verbose](LogLevel level, const std::string& line) {
                            if (level != LogLevel::kWarn && !verbose) return;
                            std::fprintf(stderr, "hawser_perf: %s\n",
                                         line.c_str());
                          });
}

absl::Status Side::MakeLanes() {
  for (int i = 0; i < plan_.flows; ++i) {
    for (const Direction direction : {Direction::kSend, Direction::kReceive}) {
      const bool sending = direction == Direction::kSend;
      if (!(sending ? sends() : receives())) continue;
      auto lane = Lane::Make(direction, i, plan_);
      if (!lane.ok()) return lane.status();
      (sending ? send_lanes_ : receive_lanes_).push_back(*std::move(lane));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<json> Side::Listen() {
  // A listener for each flow: so both sides know which is which.
  json handles = json::array();
  for (size_t i = 0; i < receive_lanes_.size(); ++i) {
    auto listener = Listener::Create(*endpoint_);
    if (!listener.ok()) return listener.status();
    const ListenHandle& handle = (*listener)->handle();
    const std::string bytes(reinterpret_cast<const char*>(handle.data()),
                            handle.size());
    handles.push_back(absl::BytesToHexString(bytes));
    listeners_.push_back(*std::move(listener));
  }
  return handles;
}

absl::Status Side::Open(const json& handles) {
  if (absl::Status opened = OpenLanes(handles); !opened.ok()) return opened;
  listeners_.clear();
  if (absl::Status said = control_->Write({{"say", "ready"}}); !said.ok()) {
    return said;
  }
  const Time until = MonotonicNow() + handshake_timeout();
  while (!far_ready_) {
    if (absl::Status heard = HearControl(); !heard.ok()) return heard;
    if (MonotonicNow() > until) {
      return absl::DeadlineExceededError(
          absl::StrCat(control_->far(), " did not open its flows in time"));
    }
    sched_yield();
  }
  return absl::OkStatus();
}

absl::Status Side::OpenLanes(const json& handles) {
  if (!handles.is_array() || handles.size() != send_lanes_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(control_->far(), " sent no handle for each flow"));
  }
  std::vector<std::unique_ptr<Connector>> connectors;
  for (const json& hex : handles) {
    const std::string bytes = absl::HexStringToBytes(
        hex.is_string() && hex.get<std::string>().size() % 2 == 0
            ? hex.get<std::string>()
            : std::string());
    auto connector = Connector::Create(
        *endpoint_, std::as_bytes(std::span(bytes.data(), bytes.size())));
    if (!connector.ok()) return connector.status();
    connectors.push_back(*std::move(connector));
  }
  const size_t wanted = send_lanes_.size() + receive_lanes_.size();
  const Time until = MonotonicNow() + handshake_timeout();
  size_t open = 0;
  const auto enter = [&](Lane& lane, auto flow) -> absl::Status {
    if (!flow.ok()) return flow.status();
    if (*flow == nullptr) return absl::OkStatus();
    lane.Open(*std::move(flow));
    ++open;
    return absl::OkStatus();
  };
  while (open < wanted) {
    const size_t before = open;
    absl::Status failure;
    for (size_t i = 0; i < connectors.size(); ++i) {
      if (send_lanes_[i]->open()) continue;
      failure.Update(enter(*send_lanes_[i], connectors[i]->Connect()));
      // The far side takes a flow for made when its connector is gone.
      if (send_lanes_[i]->open()) connectors[i].reset();
    }
    for (size_t i = 0; i < listeners_.size(); ++i) {
      if (receive_lanes_[i]->open()) continue;
      failure.Update(enter(*receive_lanes_[i], listeners_[i]->Accept()));
    }
    failure.Update(HearControl());
    if (!failure.ok()) return failure;
    if (open > before) continue;
    if (MonotonicNow() > until) {
      return absl::DeadlineExceededError(
          absl::StrCat(wanted - open, " of ", wanted, " flows with ",
                       control_->far(), " did not open in time"));
    }
    sched_yield();
  }
  return absl::OkStatus();
}

}  // namespace hawser::perf
