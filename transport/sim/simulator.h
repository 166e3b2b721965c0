// The real engines on a made-up network in made-up time.
// Knows: hosts, when each has its next turn, faults on a schedule.  Never: a
// real clock. The same seed, commit and plan give the same events, and their
// hash says so.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "transport/engine/engine.h"
#include "transport/sim/network.h"

namespace hawser::sim {

struct HostOptions {
  Config config;
  int planes = 1;
  SimDatapathOptions datapath;
};

// Both ends of one flow, as two applications hold them.
struct SimFlow {
  int from = 0, to = 0;
  FlowRecord* send = nullptr;
  FlowRecord* receive = nullptr;
};

class Simulator {
 public:
  explicit Simulator(uint64_t seed);
  ~Simulator();

  // A. What is.
  Time now() const { return now_; }
  uint64_t hash() const { return network_.hash(); }
  Network& network() { return network_; }
  int hosts() const { return static_cast<int>(hosts_.size()); }
  Engine& engine(int host) { return *hosts_[host]->engine; }

  // B. The plan.
  int AddHost(const HostOptions& options);
  // All links between two hosts, in the direction from -> to.
  void ForEachLink(int from, int to,
                   const std::function<void(LinkModel&)>& change);
  // Makes a flow at once, without a handshake: that is not what is simulated.
  SimFlow Connect(int from, int to);
  void Close(FlowRecord* record, int host);
  void Goodbye(int host);  // Its endpoint ends, as far as others can tell.
  void At(Time when, std::function<void()> what);
  void Pause(int host, Time until);  // No turns until then.
  void Kill(int host) { Pause(host, Time::Never()); }
  // As FlowEnd: nullptr when no slot is free.
  Request* Send(const SimFlow& flow, std::span<const std::byte> bytes);
  Request* Receive(const SimFlow& flow, std::span<std::byte> bytes,
                   bool watched = true);
  Request* Flush(const SimFlow& flow, std::span<std::byte> bytes);
  // The same, for either half.
  Request* Submit(FlowRecord* record, int host, std::span<std::byte> bytes,
                  bool watched = true);

  // C. Turns engines and delivers packets until `done` says so; it is asked
  // after every step, and may submit and test requests. False: `limit` of
  // virtual time passed, or nothing was left that could ever happen.
  bool RunUntil(const std::function<bool()>& done, Duration limit);

 private:
  struct Host {
    Config config;
    SimDatapathOptions options;
    wire::EndpointIdentity identity;
    std::vector<std::unique_ptr<SimDatapath>> planes;
    std::unique_ptr<Engine> engine;
    Time next_turn = Time::Never();
    Time paused_until;
    Time refill_at = Time::Never();
  };
  struct Fault {
    Time at;
    std::function<void()> what;
  };
  uint32_t KeyAt(int host) const;  // Of all memory there.
  void Turn(Host& host);
  void Due(int host, Time at);

  Random random_;
  Network network_;
  Time now_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<Fault> faults_;  // Sorted, the next one last.
  std::vector<int> woken_;
};

}  // namespace hawser::sim
