// ReferenceEdge: end hosts as the Ultra Ethernet reference model has them.
// Knows: messages, one window and one row of numbers per message, trims.
// Never: our engine's way of doing it.
//
// It exists to hold this simulator against another: the same switches, the same
// hosts, the same scenario must give the same completion times (docs/results).
// Facts are from uet-htsim 40ccb05: a message has a row of packet numbers of
// its own; an ack leaves for every 16,384 bytes, for a marked packet at once,
// and says one path, that of the packet that caused it; a trimmed packet is
// asked for again at once; what stays unheard for a timeout is sent again.
// Schedulers and congestion control are the project's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/fifo.h"
#include "transport/sim/fabric/fabric.h"
#include "transport/sim/fabric/policy.h"
#include "transport/sim/fabric/workload.h"
#include "transport/spray/path_scheduler.h"

namespace hawser::sim {

struct ReferenceOptions {
  std::string scheduler = "mixed";
  std::string congestion = "nscc";
  uint32_t paths = 128;
  uint32_t header_bytes = 64;
  uint32_t ack_every_bytes = 16'384;
  PathFacts facts;
  Picos rto = 0;
};

struct EdgeCounts {
  uint64_t packets = 0;  // Data, the first time and again.
  uint64_t resent = 0, resent_bytes = 0, data_bytes = 0;
  uint64_t acks = 0;
};

class ReferenceEdge {
 public:
  // All outlive it.
  ReferenceEdge(Fabric& fabric, Progress& progress,
                const ReferenceOptions& options, uint64_t seed);

  const EdgeCounts& counts() const { return counts_; }
  void Start();  // Messages that wait for nothing.

  // What a Fabric calls.
  bool done() const { return progress_.done(); }
  void OnArrival(uint32_t host, PacketIndex index);
  void OnNicIdle(uint32_t host, uint32_t plane);
  void OnTimer(uint32_t what);
  void OnSwallowed(const Packet&) {}
  void ForeseeIdle(uint32_t host, Step) const {
    __builtin_prefetch(&turns_[host]);
  }
  void Foresee(const Packet& packet, Step step) const {
    if (step == Step::kFar) return;
    if (packet.report != 0) {
      __builtin_prefetch(&senders_[packet.message]);
    } else {
      __builtin_prefetch(&receivers_[packet.message]);
    }
  }

 private:
  struct Sender {
    std::unique_ptr<PathScheduler> scheduler;
    std::unique_ptr<CongestionControl> congestion;
    uint32_t window_bytes = 0, in_flight_bytes = 0;
    uint32_t packets = 0, next = 0, acked = 0;
    struct Sent {
      Picos at = 0;
      uint16_t path = 0;
      bool acked = false, open = false;
    };
    std::vector<Sent> sent;
    Fifo<uint32_t> again;
    bool listed = false;
  };
  struct Receiver {
    std::vector<bool> arrived;
    uint32_t unacked_bytes = 0, packets = 0;
    std::vector<uint32_t> unacked;
  };
  void Begin(uint32_t message);
  uint32_t LengthOf(uint32_t message, uint32_t number) const;
  bool HasCargo(const Sender& sender) const;
  bool SendOne(uint32_t host);
  void List(uint32_t host, uint32_t message);
  void OnData(uint32_t host, const Packet& packet);
  void OnReport(const Packet& packet);
  void SendReport(uint32_t host, const Packet& about, bool trimmed);

  Fabric& fabric_;
  Progress& progress_;
  const ReferenceOptions options_;
  uint64_t seed_;
  uint32_t payload_bytes_;
  std::vector<uint64_t> sendable_;
  std::vector<Sender> senders_;        // By message.
  std::vector<Receiver> receivers_;    // By message.
  std::vector<Fifo<uint32_t>> turns_;  // Per host: who may send.
  std::vector<std::vector<uint32_t>> reports_;
  std::vector<uint32_t> free_reports_;
  EdgeCounts counts_;
};

}  // namespace hawser::sim
