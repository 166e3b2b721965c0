#include "transport/engine/endpoint.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/random.h"
#include "transport/datapath/dpdk.h"
#include "transport/datapath/udp.h"
#include "transport/datapath/verbs.h"
#include "transport/engine/clock.h"
#include "transport/engine/reception.h"
#include "transport/engine/registrations.h"
#include "transport/engine/runner.h"

namespace hawser {
namespace {

// Identities must differ between all endpoints that ever meet, and nobody
// outside may guess a secret: this is the one place that asks the system.
absl::Status Draw(wire::EndpointIdentity* identity) {
  uint64_t words[2];
  if (getrandom(words, sizeof(words), 0) != sizeof(words)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("getrandom: ", strerror(errno)));
  }
  *identity = {words[0], words[1]};
  return absl::OkStatus();
}

std::string HostName() {
  char name[48] = "unknown";
  gethostname(name, sizeof(name) - 1);
  return absl::StrCat(name, ":", getpid());
}

absl::StatusOr<std::unique_ptr<Datapath>> MakePlane(
    const Config& config, const Interface& interface, size_t planes,
    std::vector<std::string>* warnings) {
  // Every path of a peer that crosses this plane has an entropy of its own.
  const auto entropies = static_cast<uint16_t>(
      (static_cast<size_t>(config.paths) + planes - 1) / planes);
  const uint32_t max_packet_bytes =
      static_cast<uint32_t>(config.packet_bytes) + wire::kMaxHeaderBytes;
  if (!interface.rdma_device.empty()) {
    auto library = VerbsLibrary::Load();
    if (!library.ok()) return library.status();
    VerbsOptions options;
    options.mode = config.verbs_mode == "ud"   ? VerbsMode::kUd
                   : config.verbs_mode == "uc" ? VerbsMode::kUc
                   : config.verbs_mode == "rc" ? VerbsMode::kRc
                                               : VerbsMode::kAuto;
    options.device = interface.rdma_device;
    options.port = interface.rdma_port;
    options.gid_index = interface.gid_index;
    options.software = interface.software;
    options.entropies = entropies;
    options.max_packet_bytes = std::max(max_packet_bytes, 256u);
    options.traffic_class = static_cast<uint8_t>(config.traffic_class);
    options.service_level = static_cast<uint8_t>(config.service_level);
    // A check over what lies in a GPU could not be made.
    options.gpus = config.checksum != "payload";
    std::string choice;
    auto plane = (*library)->Open(options, &choice);
    if (warnings != nullptr && !choice.empty()) {
      warnings->push_back(absl::StrCat(
          "verbs on ", interface.name, ": ", choice,
          options.mode == VerbsMode::kAuto ? " (HAWSER_VERBS_MODE=auto)" : ""));
    }
    return plane;
  }
  if (!interface.dpdk_port.empty()) {
    auto library = DpdkLibrary::Load(config.dpdk_eal);
    if (!library.ok()) return library.status();
    auto ports = ParseDpdkPorts(config.dpdk_ports);
    if (!ports.ok()) return ports.status();
    DpdkOptions options;
    for (const DpdkPort& port : *ports) {
      if (port.name == interface.dpdk_port) options.port = port;
    }
    options.entropies = entropies;
    options.max_packet_bytes = max_packet_bytes;
    options.traffic_class = static_cast<uint8_t>(config.traffic_class);
    options.queues = static_cast<uint16_t>(config.engines);
    return (*library)->Open(options);
  }
  UdpOptions options;
  options.local = interface.address;
  options.interface_mtu = interface.mtu;
  options.entropies = entropies;
  options.max_packet_bytes = max_packet_bytes;
  options.socket_buffer_bytes = config.socket_buffer_bytes;
  options.traffic_class = config.traffic_class;
  return UdpDatapath::Create(options, warnings);
}

// What the system says of all of them together; 0: it does not know one.
int PortMbps(const std::vector<Interface>& planes) {
  int sum = 0;
  for (const Interface& plane : planes) {
    if (plane.speed_mbps <= 0) return 0;
    sum += plane.speed_mbps;
  }
  return sum;
}

std::string DatapathOf(const std::vector<Interface>& planes) {
  if (planes.empty()) return "udp";
  if (!planes.front().dpdk_port.empty()) return "dpdk";
  return planes.front().rdma_device.empty() ? "udp" : "verbs";
}

}  // namespace

// --- FlowEnd ---------------------------------------------------------------

FlowEnd::~FlowEnd() {
  runner_->WithTurn(
      [&](Engine& engine) { engine.CloseFlow(*record_, MonotonicNow()); });
  runner_->Wake();
  for (const uint32_t key : registered_) endpoint_->Unregister(key);
}

Request* FlowEnd::Submit(MemorySlice memory, bool watched) {
  Request* request = record_->queue.Submit(memory, watched);
  if (request == nullptr) return nullptr;
  runner_->Ring(&record_->queue);
  return request;
}

bool FlowEnd::Test(Request* request, Request::Outcome* outcome,
                   uint32_t* bytes_moved) {
  if (RequestQueue::Test(request, outcome, bytes_moved)) return true;
  runner_->Assist();
  return RequestQueue::Test(request, outcome, bytes_moved);
}

void FlowEnd::Await(Time until) { runner_->Await(until); }

uint32_t FlowEnd::Register(const Memory& memory) {
  const uint32_t key = endpoint_->Register(memory);
  if (key != 0) registered_.push_back(key);
  return key;
}

void FlowEnd::Unregister(uint32_t key) {
  // It may have been registered by way of another flow.
  const auto found = std::find(registered_.begin(), registered_.end(), key);
  if (found != registered_.end()) registered_.erase(found);
  endpoint_->Unregister(key);
}

Request* FlowEnd::Flush(MemorySlice memory, bool* full) {
  *full = false;
  if (!IsGpu(memory.key) || memory.length == 0) return nullptr;
  Request* const request = runner_->WithTurn(
      [&](Engine& engine) { return engine.Flush(*record_, memory); });
  runner_->Wake();
  *full = request == nullptr;
  return request;
}

std::string FlowEnd::Failure(bool* first) {
  return runner_->WithTurn([&](Engine&) -> std::string {
    Peer& peer = *record_->peer;
    if (!peer.cause.empty()) {
      *first = !std::exchange(peer.cause_told, true);
      return peer.cause;
    }
    *first = !std::exchange(close_told_, true);
    return absl::StrCat("peer ", peer.name, " closed its half of flow ",
                        record_->id.value & 0xffff,
                        " while requests were outstanding");
  });
}

// --- Endpoint --------------------------------------------------------------

Endpoint::Endpoint(const Config& config, std::vector<Interface> interfaces,
                   LogSink log)
    : config_(config),
      interfaces_(std::move(interfaces)),
      log_(std::move(log)),
      host_(HostName()),
      datapath_(DatapathOf(interfaces_)),
      registrations_(std::make_unique<Registrations>()),
      reception_(std::make_unique<Reception>(*this)) {}

Endpoint::~Endpoint() { Stop(); }

void Endpoint::Stop() {
  // All linger at the same time.
  for (const auto& runner : runners_) runner->Leave();
  for (const auto& runner : runners_) runner->Join();
}

// What is slow, to pin and to let go, is done while the engines turn.
uint32_t Endpoint::Register(const Memory& memory) {
  if (datapath_ != "verbs" || memory.length == 0) return 0;
  std::lock_guard<std::mutex> lock(registering_);
  if (const uint32_t key = registrations_->Share(memory)) return key;
  Registrations::SharedPins pins = registrations_->PinsOf(memory);
  if (pins == nullptr) {
    Registrations::Pins made;
    for (const auto& runner : runners_) {
      for (Datapath* plane : runner->planes()) {
        made.push_back(plane->Pin(memory));
        if (made.back() == nullptr) return 0;
      }
    }
    pins = std::make_shared<const Registrations::Pins>(std::move(made));
  }
  const uint32_t key = registrations_->Add(memory, pins);
  if (key == 0) return 0;
  auto pin = pins->begin();
  for (const auto& runner : runners_) {
    runner->WithTurn([&](Engine& engine) {
      for (Datapath* plane : engine.planes()) plane->Register(key, **pin++);
    });
  }
  return key;
}

void Endpoint::Unregister(uint32_t key) {
  std::lock_guard<std::mutex> lock(registering_);
  const Registrations::SharedPins pins = registrations_->Release(key);
  if (pins == nullptr) return;
  for (const auto& runner : runners_) {
    runner->WithTurn([&](Engine& engine) {
      for (Datapath* plane : engine.planes()) plane->Unregister(key);
    });
  }
}

void Endpoint::Log(LogLevel level, const std::string& line) const {
  if (log_) log_(level, line);
}

absl::StatusOr<std::unique_ptr<Endpoint>> Endpoint::Create(
    const Config& wanted, std::vector<Interface> interfaces, LogSink log) {
  if (absl::Status valid = wanted.Validate(); !valid.ok()) return valid;
  if (interfaces.empty() || interfaces.size() > wire::kMaxPlanes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a device has 1..", wire::kMaxPlanes, " interfaces, and not ",
        interfaces.size(), "; choose some with HAWSER_IFNAME"));
  }
  Config config = wanted;
  if (config.port_mbps == 0) config.port_mbps = PortMbps(interfaces);
  auto endpoint = std::unique_ptr<Endpoint>(
      new Endpoint(config, std::move(interfaces), std::move(log)));
  if (absl::Status drawn = Draw(&endpoint->identity_); !drawn.ok()) {
    return drawn;
  }
  std::vector<std::string> warnings;
  endpoint->gpu_reach_ = {true, true};
  for (uint16_t index = 0; index < config.engines; ++index) {
    std::vector<std::unique_ptr<Datapath>> planes;
    for (const Interface& interface : endpoint->interfaces_) {
      // Warnings of later engines would say the same again.
      auto plane = MakePlane(config, interface, endpoint->interfaces_.size(),
                             index == 0 ? &warnings : nullptr);
      if (!plane.ok()) {
        return absl::Status(plane.status().code(),
                            absl::StrCat("interface ", interface.name, ": ",
                                         plane.status().message()));
      }
      planes.push_back(*std::move(plane));
      const GpuReach reach = planes.back()->gpu_reach();
      GpuReach& all = endpoint->gpu_reach_;
      all = {all.by_address && reach.by_address,
             all.by_dmabuf && reach.by_dmabuf};
    }
    auto runner =
        Runner::Start(config, endpoint->identity_, index, std::move(planes),
                      Mix64(endpoint->identity_.secret + index));
    if (!runner.ok()) return runner.status();
    endpoint->runners_.push_back(*std::move(runner));
  }
  for (const std::string& warning : warnings) {
    endpoint->Log(LogLevel::kInfo, warning);
  }
  return endpoint;
}

absl::StatusOr<Endpoint::Draft> Endpoint::OpenFlow(
    Direction direction, uint16_t engine, const wire::EndpointIdentity& peer,
    uint16_t far_engine) {
  Runner* runner = runners_[engine % runners_.size()].get();
  return runner->WithTurn([&](Engine& held) -> absl::StatusOr<Draft> {
    auto found = held.AddPeer(peer, far_engine, MonotonicNow());
    if (!found.ok()) return found.status();
    auto record = held.AddFlow(**found, direction);
    if (!record.ok()) return record.status();
    Draft draft;
    draft.flow = std::unique_ptr<FlowEnd>(new FlowEnd(this, runner, *record));
    wire::Introduction& words = draft.introduction;
    words.identity = identity_;
    words.datapath = datapath_;
    words.engine = held.index();
    words.peer = (*found)->id;
    words.flow = (*record)->id;
    words.paths = static_cast<uint16_t>(config_.paths);
    for (const Datapath* plane : held.planes()) {
      words.planes.push_back(plane->address());
    }
    words.host = host_;
    return draft;
  });
}

absl::Status Endpoint::ConnectFlow(FlowEnd& flow,
                                   const wire::Introduction& theirs) {
  const absl::Status status =
      flow.runner_->WithTurn([&](Engine& engine) -> absl::Status {
        const Time now = MonotonicNow();
        Peer& peer = *flow.record_->peer;
        if (absl::Status opened = engine.OpenPeer(peer, theirs, now);
            !opened.ok()) {
          return opened;
        }
        engine.ConnectFlow(*flow.record_, theirs.flow, now);
        return absl::OkStatus();
      });
  flow.runner_->Wake();
  return status;
}

}  // namespace hawser
