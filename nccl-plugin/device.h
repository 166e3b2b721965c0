// What one process has of the transport: its devices, and who still needs them.
// Knows: NCCL's contexts, its logger, our configuration.  Never: requests.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nccl-plugin/net_abi.h"
#include "transport/engine/config.h"
#include "transport/engine/endpoint.h"
#include "transport/engine/find_devices.h"

namespace hawser {

// The only mapping from our errors to NCCL's.
nccl::Result ToNccl(const absl::Status& status);

// One device as NCCL sees it.
struct Device {
  DeviceOffer offer;
  std::string pci_path;  // Empty: none.
  int speed_mbps = 0;
  GpuReach gpu_reach;
  std::unique_ptr<Endpoint> endpoint;  // From its first use on.
};

// All functions may be called from any thread. There is one per process: NCCL
// gives the older versions of its ABI no other place to keep things. A forked
// child starts with one that is empty: threads do not survive a fork, and what
// they held must not be touched.
class Devices {
 public:
  static Devices& Get();
  // The library is being unloaded, or the process ends.
  static void OnUnload();

  // Begins a context. The first one reads the environment, finds the interfaces
  // and decides on the traffic class. InvalidArgument names the variable and
  // what was expected.
  absl::Status Begin(nccl::Logger logger, int traffic_class, void** context);
  // Ends one, when nobody uses it any more: NCCL ends a context that several
  // communicators share with the last of them. What was half open in it goes,
  // for NCCL closes no such thing. Null and unknown contexts are ignored,
  // because NCCL 2.28 ends contexts whose beginning failed. After the last,
  // every thread is joined and everything is closed, but not before the last
  // established comm is.
  void End(const void* context);
  // A communicator wants this traffic class. All of them share the sockets, so
  // it gets a warning if that is not what these have.
  void AskForTrafficClass(int wanted);

  // Has NCCL, in this context, marked a receive whose buffer is watched? Then
  // it marks all of them, for it asks its environment once
  // (NCCL_NET_OPTIONAL_RECV_COMPLETION). Without a context, a new answer, for
  // one comm: before v11 nobody can tell which of them belong together.
  using Marks = std::shared_ptr<std::atomic<bool>>;
  Marks MarksOf(const void* context);

  int count();
  const Device* device(int dev);  // Null: no such device.
  // The device's endpoint, made if need be. InvalidArgument: no such device.
  // FailedPrecondition: no context has begun.
  absl::StatusOr<Endpoint*> endpoint(int dev);

  // Keeps what NCCL holds a pointer to until it is dropped. kHalfOpen: or until
  // its context ends, or the last one if it has none. kEstablished: and keeps
  // the endpoints alive. Returns its ticket, which is never used again.
  enum class State : uint8_t { kHalfOpen, kEstablished };
  template <class T>
  uint64_t Hold(std::unique_ptr<T> held, State state, const void* context) {
    std::lock_guard<std::mutex> lock(mutex_);
    const void* key = held.get();
    held_[key] = {std::move(held), state, context, ++tickets_};
    return tickets_;
  }
  // Is it still the one that was given that ticket?
  bool Holds(const void* held, uint64_t ticket);
  // Destroys it, and what waited for it.
  void Drop(const void* held);

  void Log(nccl::LogLevel level, const std::string& line) const;

 private:
  // A communicator of NCCL's.
  struct Context {
    Marks marks = std::make_shared<std::atomic<bool>>(false);
  };
  struct Holding {
    std::shared_ptr<void> held;  // Shared with nobody: it remembers its type.
    State state = State::kHalfOpen;
    const void* context = nullptr;  // Null: before v11 there are none.
    uint64_t ticket = 0;
  };
  Devices();
  absl::Status Prepare(int traffic_class);
  absl::StatusOr<Endpoint*> Open(Device& device);
  void CloseIfUnused();
  void Close();
  void TellOfTrafficClass(int wanted);
  void WriteStats();

  // Held all the while things are opened and closed, so that nobody can begin
  // with what another is taking apart. Nothing that runs under it calls back.
  std::mutex mutex_;
  std::atomic<nccl::Logger> logger_{nullptr};  // Not under the lock.
  Config config_;
  int warned_traffic_class_ = nccl::kTrafficClassUndefined;
  bool prepared_ = false;
  std::map<const void*, std::unique_ptr<Context>> contexts_;
  std::map<const void*, Holding> held_;
  uint64_t tickets_ = 0;
  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace hawser
