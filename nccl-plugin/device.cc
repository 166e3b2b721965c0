#include "nccl-plugin/device.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "transport/datapath/interfaces.h"

namespace hawser {
namespace {

// What NCCL assumes of a NIC whose speed is not known.
constexpr int kUnknownSpeedMbps = 10'000;

// NCCL before v11 has no finalize(), and unloads the library all the same: no
// thread of ours may be left in code that is gone.
__attribute__((destructor)) void OnUnload() { Devices::Get().Unload(); }

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

Devices& Devices::Get() {
  // Never destroyed: at exit other threads of the application may still call.
  static Devices& devices = *new Devices;
  return devices;
}

absl::Status Devices::Begin(nccl::Logger logger, int traffic_class,
                            void** context) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (logger != nullptr) logger_ = logger;
  if (!prepared_) {
    if (absl::Status ready = Prepare(traffic_class); !ready.ok()) {
      devices_.clear();
      return ready;
    }
    prepared_ = true;
  }
  *context = contexts_.insert(std::make_unique<char>()).first->get();
  return absl::OkStatus();
}

absl::Status Devices::Prepare(int traffic_class) {
  std::string used;
  auto config = Config::FromEnvironment(
      [](const char* name) -> const char* { return std::getenv(name); },
      &used);
  if (!config.ok()) return config.status();
  config_ = *std::move(config);
  for (const auto line : absl::StrSplit(used, '\n', absl::SkipEmpty())) {
    Log(nccl::LogLevel::kInfo, absl::StrCat(line, " set by environment"));
  }
  if (traffic_class >= 0 && config_.traffic_class == 0) {
    config_.traffic_class = traffic_class & 0xfc;
  }
  const AddressFamily family = config_.family == "AF_INET" ? AddressFamily::kIpv4
                               : config_.family == "AF_INET6"
                                   ? AddressFamily::kIpv6
                                   : AddressFamily::kAny;
  auto interfaces = FindInterfaces(config_.interfaces, family);
  if (!interfaces.ok()) return interfaces.status();
  devices_.clear();
  for (Interface& interface : *interfaces) {
    if (devices_.empty() || config_.aggregate == 0) {
      devices_.push_back(std::make_unique<Device>());
      devices_.back()->name = config_.aggregate != 0
                                  ? "hawser"
                                  : absl::StrCat("hawser-", interface.name);
    }
    Device& device = *devices_.back();
    if (device.interfaces.size() == wire::kMaxPlanes) {
      Log(nccl::LogLevel::kInfo,
          absl::StrCat("interface ", interface.name, " is left out: a device "
                       "has at most ", wire::kMaxPlanes, " planes"));
      continue;
    }
    device.speed_mbps +=
        interface.speed_mbps > 0 ? interface.speed_mbps : kUnknownSpeedMbps;
    if (device.pci_path.empty()) device.pci_path = interface.pci_path;
    device.interfaces.push_back(std::move(interface));
  }
  for (const auto& device : devices_) {
    Log(nccl::LogLevel::kInfo,
        absl::StrCat("device ", device->name, " over ",
                     absl::StrJoin(device->interfaces, ", ",
                                   [](std::string* out, const Interface& one) {
                                     absl::StrAppend(out, one.name, " (",
                                                     ToString(one.address),
                                                     ")");
                                   })));
  }
  // What cannot work is better said now than at the first connection.
  return Open(*devices_.front()).status();
}

absl::StatusOr<Endpoint*> Devices::Open(Device& device) {
  if (!device.endpoint) {
    auto endpoint = Endpoint::Create(
        config_, device.interfaces,
        [this](LogLevel level, const std::string& line) {
          Log(level == LogLevel::kWarn ? nccl::LogLevel::kWarn
                                       : nccl::LogLevel::kInfo,
              line);
        });
    if (!endpoint.ok()) return endpoint.status();
    device.endpoint = *std::move(endpoint);
  }
  return device.endpoint.get();
}

void Devices::End(void* context) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (auto it = contexts_.begin(); it != contexts_.end(); ++it) {
    if (it->get() != context) continue;
    contexts_.erase(it);
    CloseIfUnused(lock);
    return;
  }
}

void Devices::Unload() {
  std::unique_lock<std::mutex> lock(mutex_);
  contexts_.clear();
  Close(lock);
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
  if (dev < 0 || dev >= static_cast<int>(devices_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no device ", dev, "; expected 0..",
                     static_cast<int>(devices_.size()) - 1));
  }
  return Open(*devices_[dev]);
}

bool Devices::Holds(const void* held) {
  std::lock_guard<std::mutex> lock(mutex_);
  return held_.count(held) != 0;
}

void Devices::Drop(const void* held) {
  std::unique_lock<std::mutex> lock(mutex_);
  auto node = held_.extract(held);
  if (node.empty()) return;
  // What it closes may log; the lock is not held then.
  lock.unlock();
  node.mapped().held.reset();
  lock.lock();
  CloseIfUnused(lock);
}

void Devices::CloseIfUnused(std::unique_lock<std::mutex>& lock) {
  if (!contexts_.empty() || !prepared_) return;
  for (const auto& [pointer, holding] : held_) {
    if (holding.established) return;
  }
  Close(lock);
}

void Devices::Close(std::unique_lock<std::mutex>& lock) {
  // Taken out first: closing takes a moment, and logs.
  auto held = std::exchange(held_, {});
  auto devices = std::exchange(devices_, {});
  prepared_ = false;
  lock.unlock();
  held.clear();
  for (size_t i = 0; i < devices.size(); ++i) {
    if (devices[i]->endpoint) WriteStats(*devices[i], i);
    devices[i].reset();
  }
  lock.lock();
}

void Devices::WriteStats(const Device& device, size_t index) const {
  if (config_.stats_file.empty()) return;
  std::string name = absl::StrReplaceAll(
      config_.stats_file, {{"%p", absl::StrCat(getpid())}});
  if (index > 0) absl::StrAppend(&name, ".", index);
  const std::string json = device.endpoint->ReportJson();
  std::FILE* file = std::fopen(name.c_str(), "we");
  if (file == nullptr) return;
  std::fwrite(json.data(), 1, json.size(), file);
  std::fclose(file);
}

void Devices::Log(nccl::LogLevel level, const std::string& line) {
  if (logger_ == nullptr) return;
  logger_(level, nccl::kLogInit | nccl::kLogNet, __FILE__, __LINE__,
          "NET/Hawser : %s", line.c_str());
}

}  // namespace hawser
