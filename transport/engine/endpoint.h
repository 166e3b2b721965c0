// What an application holds: one device, its engines, and its flows.
// Knows: threads, Status, the application's side of a request.  Never: NCCL.
//
// Threads: every function here may be called from any thread; one flow is
// used by one thread at a time. Control calls return Status. Data calls cannot
// fail and never wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/ids.h"
#include "transport/base/memory.h"
#include "transport/datapath/interfaces.h"
#include "transport/engine/config.h"
#include "transport/engine/log.h"
#include "transport/engine/report.h"
#include "transport/message/request.h"
#include "transport/wire/handshake.h"

namespace hawser {

class Endpoint;
class Reception;
class Registrations;
class Runner;
struct FlowRecord;

// The application's end of one half of a flow. Destroying it closes the flow
// at once, whatever is outstanding: no byte of the application's memory is
// touched afterwards, and the far half learns of it.
class FlowEnd {
 public:
  ~FlowEnd();
  FlowEnd(const FlowEnd&) = delete;
  FlowEnd& operator=(const FlowEnd&) = delete;

  // Sends, or receives into, `memory`, which stays the application's but is
  // borrowed until the request is done. nullptr: all
  // RequestQueue::kSlots requests are taken; test some and try again.
  // `watched`: somebody reads what is received before the request is done, as
  // NCCL's LL128 does. Lines then appear in order, at the price of a copy.
  Request* Submit(MemorySlice memory, bool watched = true);
  // True when the request is done; it is then gone.
  bool Test(Request* request, Request::Outcome* outcome, uint32_t* bytes_moved);
  // For whoever has nothing else to do until a request of his may be done:
  // sleeps until something has happened, or until `until` at most.
  void Await(Time until);
  // As the endpoint's; what was not unregistered is when this is destroyed.
  uint32_t Register(const Memory& memory);
  void Unregister(uint32_t key);
  // Of a half that receives, into memory of a GPU: the request is done when all
  // that was received until now is there for that GPU. nullptr: there is
  // nothing to do. `*full`: RequestQueue::kSlots are outstanding already.
  Request* Flush(MemorySlice memory, bool* full);
  // Why requests of this flow fail, for humans. `*first`: nobody has been told
  // before, so it is worth a warning. A lost peer is told once for all of its
  // flows.
  std::string Failure(bool* first);

 private:
  friend class Endpoint;
  FlowEnd(Endpoint* endpoint, Runner* runner, FlowRecord* record)
      : endpoint_(endpoint), runner_(runner), record_(record) {}
  Endpoint* endpoint_;
  Runner* runner_;
  FlowRecord* record_;
  std::vector<uint32_t> registered_;
  bool close_told_ = false;
};

class Endpoint {
 public:
  // One device over `interfaces` (1..wire::kMaxPlanes), which are its planes;
  // all of them of one datapath.
  // InvalidArgument names the knob that is out of range, or that the host
  // cannot follow; NotFound, Unavailable, ResourceExhausted... say which
  // interface and why.
  static absl::StatusOr<std::unique_ptr<Endpoint>> Create(
      const Config& config, std::vector<Interface> interfaces, LogSink log);
  ~Endpoint();  // Every FlowEnd is gone by now. Stops.
  // Lingers briefly for peers that still need us, and joins all threads. What
  // is called afterwards does no harm, and nothing: for a process that ends
  // while other threads of it may still call.
  void Stop();

  const Config& config() const { return config_; }
  const wire::EndpointIdentity& identity() const { return identity_; }
  const std::vector<Interface>& interfaces() const { return interfaces_; }
  uint16_t engines() const { return static_cast<uint16_t>(runners_.size()); }
  const std::string& host() const { return host_; }  // "hostname:pid"
  // How it speaks; peers must speak the same.
  const std::string& datapath() const { return datapath_; }
  void Log(LogLevel level, const std::string& line) const;

  // In which ways every NIC here reaches the memory of GPUs.
  GpuReach gpu_reach() const { return gpu_reach_; }
  // Memory that NICs may read and write while it is part of a request whose
  // MemorySlice has this key: until Unregister, which comes as often as
  // Register did, and before the memory is given back to the system. 0: some
  // NIC here cannot; requests do without where it is the host's, and may not
  // have it where it is a GPU's. The same memory has the same key.
  uint32_t Register(const Memory& memory);
  void Unregister(uint32_t key);

  // The two steps of a handshake; rendezvous.h carries the words. First, a
  // flow to or from a peer, and what to tell it. `engine` is ours.
  // FailedPrecondition: the peer was lost before. ResourceExhausted: there are
  // as many peers or flows as there can be.
  struct Draft {
    std::unique_ptr<FlowEnd> flow;
    wire::Introduction introduction;
  };
  absl::StatusOr<Draft> OpenFlow(Direction direction, uint16_t engine,
                                 const wire::EndpointIdentity& peer,
                                 uint16_t far_engine);
  // Then, what the peer said. The flow can be used when this has returned.
  // Unavailable: no plane here can reach it.
  absl::Status ConnectFlow(FlowEnd& flow, const wire::Introduction& theirs);

  // Where its listeners receive.
  Reception& reception() { return *reception_; }

  std::vector<PeerReport> Report() const;
  // Report, metrics and names as one JSON document.
  std::string ReportJson() const;

 private:
  Endpoint(const Config& config, std::vector<Interface> interfaces,
           LogSink log);

  const Config config_;
  const std::vector<Interface> interfaces_;
  const LogSink log_;
  wire::EndpointIdentity identity_;
  std::string host_;
  const std::string datapath_;
  GpuReach gpu_reach_;
  std::mutex registering_;
  std::vector<std::unique_ptr<Runner>> runners_;
  // Before the planes of the runners, which it hangs on.
  std::unique_ptr<Registrations> registrations_;
  const std::unique_ptr<Reception> reception_;
};

}  // namespace hawser
