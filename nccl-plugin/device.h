// What one process has of the transport: its devices, and who still needs them.
// Knows: NCCL's contexts, its logger, our configuration.  Never: requests.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nccl-plugin/net_abi.h"
#include "transport/engine/config.h"
#include "transport/engine/endpoint.h"

namespace hawser {

// The only mapping from our errors to NCCL's.
nccl::Result ToNccl(const absl::Status& status);

// One device as NCCL sees it.
struct Device {
  std::string name;
  std::string pci_path;  // Empty: none.
  int speed_mbps = 0;
  std::vector<Interface> interfaces;
  std::unique_ptr<Endpoint> endpoint;  // From its first use on.
};

// Something that NCCL holds a pointer to. What it forgets to give back is
// destroyed when the process's last context ends.
class Held {
 public:
  virtual ~Held() = default;
};

// All functions may be called from any thread. There is one per process: NCCL
// gives the older versions of its ABI no other place to keep things.
class Devices {
 public:
  static Devices& Get();

  // Begins a context. The first one reads the environment and finds the
  // interfaces. InvalidArgument names the variable and what was expected.
  absl::Status Begin(nccl::Logger logger, int traffic_class, void** context);
  // Ends one; null and unknown contexts are ignored, because NCCL 2.28 ends
  // contexts whose beginning failed. After the last, every thread is joined
  // and everything is closed, but not before the last established comm is.
  void End(void* context);
  // Whatever the contexts say: the library is being unloaded.
  void Unload();

  int count();
  const Device* device(int dev);  // Null: no such device.
  // The device's endpoint, made if need be. InvalidArgument: no such device.
  absl::StatusOr<Endpoint*> endpoint(int dev);

  // `established`: keeps the endpoints alive until it is dropped.
  template <class T>
  T* Hold(std::unique_ptr<T> held, bool established) {
    std::lock_guard<std::mutex> lock(mutex_);
    T* raw = held.get();
    Holding& holding = held_[raw];
    holding.held = std::move(held);
    holding.established = established;
    return raw;
  }
  bool Holds(const void* held);
  // Destroys it, and what waited for it.
  void Drop(const void* held);

  void Log(nccl::LogLevel level, const std::string& line);

 private:
  struct Holding {
    std::unique_ptr<Held> held;
    bool established = false;
  };
  absl::Status Prepare(int traffic_class);
  absl::StatusOr<Endpoint*> Open(Device& device);
  void CloseIfUnused(std::unique_lock<std::mutex>& lock);
  void Close(std::unique_lock<std::mutex>& lock);
  void WriteStats(const Device& device, size_t index) const;

  std::mutex mutex_;
  nccl::Logger logger_ = nullptr;
  Config config_;
  bool prepared_ = false;
  std::set<std::unique_ptr<char>> contexts_;
  std::map<const void*, Holding> held_;
  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace hawser
