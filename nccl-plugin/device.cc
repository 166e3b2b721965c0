#include "nccl-plugin/device.h"

#include <cxxabi.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

// The leak checker's, where there is one.
extern "C" __attribute__((weak)) void __lsan_ignore_object(const void*);

namespace hawser {
namespace {

// What NCCL assumes of a NIC whose speed is not known.
constexpr int kUnknownSpeedMbps = 10'000;

constexpr int kEcnBits = 0x03;
int WithoutEcn(int traffic_class) { return traffic_class & 0xff & ~kEcnBits; }

std::atomic<Devices*> this_process{nullptr};

// Above zero when the process is ending. It outlives the library, so it can
// never be freed.
sem_t* ending = nullptr;

// Destructors of a library run when it is unloaded and when the process ends,
// and are not told which. Afterwards its code is gone, or other threads may be
// in the middle of it: what is right for one is a crash in the other. So this
// asks for something that happens at the end only. A function of ours might be
// gone by then; one of the C library is not.
void WatchForTheEnd() {
  ending = new sem_t;
  sem_init(ending, 0, 0);
  if (__lsan_ignore_object != nullptr) __lsan_ignore_object(ending);
  // The last argument names the library with which it would go: none.
  abi::__cxa_atexit(reinterpret_cast<void (*)(void*)>(
                        reinterpret_cast<void (*)()>(&sem_post)),
                    ending, ending);
}

bool ProcessIsEnding() {
  int posts = 0;
  return sem_getvalue(ending, &posts) == 0 && posts > 0;
}

// Locks, threads and sockets are the parent's. The child leaves them alone.
void AfterForkInChild() { this_process.store(nullptr); }

__attribute__((constructor)) void OnLoad() {
  WatchForTheEnd();
  pthread_atfork(nullptr, nullptr, AfterForkInChild);
}

// NCCL before v11 has no finalize(), and unloads the library all the same: no
// thread of ours may be left in code that is gone.
__attribute__((destructor)) void OnUnload() { Devices::OnUnload(); }

}  // namespace

nccl::Result ToNccl(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return nccl::Result::kSuccess;
    case absl::StatusCode::kInvalidArgument:
      return nccl::Result::kInvalidArgument;
    case absl::StatusCode::kFailedPrecondition:
      return nccl::Result::kInvalidUsage;
    case absl::StatusCode::kUnavailable:
      return nccl::Result::kRemoteError;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
      return nccl::Result::kSystemError;
    default:
      return nccl::Result::kInternalError;
  }
}

Devices::Devices() = default;

Devices& Devices::Get() {
  Devices* devices = this_process.load(std::memory_order_acquire);
  if (devices != nullptr) return *devices;
  auto made = std::unique_ptr<Devices>(new Devices);
  if (this_process.compare_exchange_strong(devices, made.get(),
                                           std::memory_order_acq_rel)) {
    devices = made.release();
  }
  return *devices;
}

void Devices::OnUnload() {
  Devices* devices = this_process.load(std::memory_order_acquire);
  if (devices == nullptr) return;
  if (!ProcessIsEnding()) {
    devices->Close();
    this_process.store(nullptr);
    delete devices;
    return;
  }
  // Peers are told, but every object stays: other threads may be using it.
  // Nor is it time to wait for one that holds the lock.
  std::unique_lock<std::mutex> lock(devices->mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  devices->WriteStats();
  for (const auto& device : devices->devices_) {
    if (device->endpoint) device->endpoint->Stop();
  }
}

absl::Status Devices::Begin(nccl::Logger logger, int traffic_class,
                            void** context) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (logger != nullptr) logger_.store(logger);
  if (!prepared_) {
    if (absl::Status ready = Prepare(traffic_class); !ready.ok()) {
      devices_.clear();
      return ready;
    }
    prepared_ = true;
  } else {
    TellOfTrafficClass(traffic_class);
  }
  auto begun = std::make_unique<Context>();
  *context = begun.get();
  contexts_[*context] = std::move(begun);
  return absl::OkStatus();
}

absl::Status Devices::Prepare(int traffic_class) {
  std::string used;
  auto config = Config::FromEnvironment(
      [](const char* name) -> const char* { return std::getenv(name); }, &used);
  if (!config.ok()) return config.status();
  config_ = *std::move(config);
  for (const auto line : absl::StrSplit(used, '\n', absl::SkipEmpty())) {
    Log(nccl::LogLevel::kInfo, absl::StrCat(line, " set by environment"));
  }
  if (const std::string unknown = UnknownKnobs(environ); !unknown.empty()) {
    Log(nccl::LogLevel::kWarn, unknown);
  }
  // As with NCCL's own transports: what a communicator says goes before what
  // the environment does.
  if (traffic_class >= 0) config_.traffic_class = WithoutEcn(traffic_class);
  std::vector<std::string> remarks;
  auto offers = FindDevices(config_, &remarks);
  if (!offers.ok()) return offers.status();
  for (const std::string& remark : remarks) {
    Log(nccl::LogLevel::kInfo, remark);
  }
  devices_.clear();
  for (DeviceOffer& offer : *offers) {
    auto device = std::make_unique<Device>();
    for (const Interface& interface : offer.interfaces) {
      device->speed_mbps +=
          interface.speed_mbps > 0 ? interface.speed_mbps : kUnknownSpeedMbps;
      if (device->pci_path.empty()) device->pci_path = interface.pci_path;
    }
    Log(nccl::LogLevel::kInfo, absl::StrCat("device ", offer.name, " over ",
                                            ToString(offer.interfaces)));
    device->offer = std::move(offer);
    devices_.push_back(std::move(device));
  }
  // What cannot work is better said now than at the first connection.
  auto first = Open(*devices_.front());
  if (!first.ok()) return first.status();
  devices_.front()->gpu_reach = (*first)->gpu_reach();
  // Whether the NICs of the others reach GPUs, only they can tell. This process
  // may never use them, so they are closed again, and one that does not open
  // is somebody else's trouble until it does.
  for (const auto& device : devices_) {
    if (device == devices_.front() ||
        device->offer.interfaces.front().rdma_device.empty()) {
      continue;
    }
    if (auto endpoint = Open(*device); endpoint.ok()) {
      device->gpu_reach = (*endpoint)->gpu_reach();
    } else {
      Log(nccl::LogLevel::kInfo,
          absl::StrCat("device ", device->offer.name,
                       " does not open: ", endpoint.status().message()));
    }
    device->endpoint.reset();
  }
  return absl::OkStatus();
}

void Devices::AskForTrafficClass(int wanted) {
  std::lock_guard<std::mutex> lock(mutex_);
  TellOfTrafficClass(wanted);
}

void Devices::TellOfTrafficClass(int wanted) {
  // Once for each: NCCL asks with every connection.
  if (wanted < 0 || wanted == warned_traffic_class_ ||
      WithoutEcn(wanted) == config_.traffic_class) {
    return;
  }
  warned_traffic_class_ = wanted;
  Log(nccl::LogLevel::kWarn,
      absl::StrCat("a communicator asks for traffic class ", wanted,
                   ", but this process's sockets have ", config_.traffic_class,
                   " by now; expected the same for all communicators, or "
                   "HAWSER_TRAFFIC_CLASS=",
                   WithoutEcn(wanted)));
}

absl::StatusOr<Endpoint*> Devices::Open(Device& device) {
  if (!device.endpoint) {
    auto endpoint =
        Endpoint::Create(config_, device.offer.interfaces,
                         [this](LogLevel level, const std::string& line) {
                           Log(level == LogLevel::kWarn ? nccl::LogLevel::kWarn
                                                        : nccl::LogLevel::kInfo,
                               line);
                         });
    if (!endpoint.ok()) {
      // Nobody but this machine was asked.
      return absl::IsInvalidArgument(endpoint.status())
                 ? endpoint.status()
                 : absl::ResourceExhaustedError(endpoint.status().message());
    }
    device.endpoint = *std::move(endpoint);
  }
  return device.endpoint.get();
}

void Devices::End(const void* context) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (contexts_.erase(context) == 0) return;
  std::erase_if(held_, [&](const auto& one) {
    return one.second.context == context &&
           one.second.state == State::kHalfOpen;
  });
  CloseIfUnused();
}

Devices::Marks Devices::MarksOf(const void* context) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = contexts_.find(context);
  return found != contexts_.end() ? found->second->marks : Context().marks;
}

int Devices::count() {
  std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int>(devices_.size());
}

const Device* Devices::device(int dev) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (dev < 0 || dev >= static_cast<int>(devices_.size())) return nullptr;
  return devices_[dev].get();
}

absl::StatusOr<Endpoint*> Devices::endpoint(int dev) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (devices_.empty()) {
    return absl::FailedPreconditionError(
        "there are no devices; expected a context that has begun, by init()");
  }
  if (dev < 0 || dev >= static_cast<int>(devices_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no device ", dev, "; expected 0..",
                     static_cast<int>(devices_.size()) - 1));
  }
  return Open(*devices_[dev]);
}

bool Devices::Holds(const void* held, uint64_t ticket) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = held_.find(held);
  return found != held_.end() && found->second.ticket == ticket;
}

void Devices::Drop(const void* held) {
  std::lock_guard<std::mutex> lock(mutex_);
  // Destroyed at once, since another thread may end the last context next.
  if (held_.erase(held) != 0) CloseIfUnused();
}

void Devices::CloseIfUnused() {
  if (!contexts_.empty() || !prepared_) return;
  for (const auto& [pointer, holding] : held_) {
    if (holding.state == State::kEstablished) return;
  }
  Close();
}

void Devices::Close() {
  contexts_.clear();
  held_.clear();  // Before the endpoints that it hangs on.
  WriteStats();
  devices_.clear();
  warned_traffic_class_ = nccl::kTrafficClassUndefined;
  prepared_ = false;
}

void Devices::WriteStats() {
  if (config_.stats_file.empty()) return;
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (!devices_[i]->endpoint) continue;
    std::string name = config_.stats_file;
    // Ranks of one host share an environment, and must not share a file.
    if (!absl::StrContains(name, "%p")) absl::StrAppend(&name, ".%p");
    absl::StrReplaceAll({{"%p", absl::StrCat(getpid())}}, &name);
    if (i > 0) absl::StrAppend(&name, ".", i);
    const std::string json = devices_[i]->endpoint->ReportJson();
    std::FILE* file = std::fopen(name.c_str(), "we");
    const bool written =
        file != nullptr &&
        std::fwrite(json.data(), 1, json.size(), file) == json.size();
    if (file == nullptr || std::fclose(file) != 0 || !written) {
      Log(nccl::LogLevel::kWarn,
          absl::StrCat("HAWSER_STATS_FILE: cannot write ", name));
    }
  }
}

void Devices::Log(nccl::LogLevel level, const std::string& line) const {
  const nccl::Logger logger = logger_.load();
  if (logger == nullptr) return;
  logger(level, nccl::kLogInit | nccl::kLogNet, __FILE__, __LINE__,
         "NET/Hawser : %s", line.c_str());
}

}  // namespace hawser
