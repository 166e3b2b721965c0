// Steering: which engine of a port a frame is meant for, and a way to hand it
// over where it came by another one's queue.
// Knows: queues, UDP ports, who is asleep.  Never: devices, what a frame holds.
//
// A NIC that can is told which UDP port belongs to which queue, and then
// nothing is handed over. One that cannot spreads frames as it likes; whoever
// takes one from its queue looks at its UDP port and, if that is another
// engine's, puts it into the ring between the two. A pair of threads has a ring
// of its own, so nobody waits for anybody.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "transport/base/spsc_ring.h"

struct rte_mbuf;

namespace hawser {

class Steering {
 public:
  // As HAWSER_ENGINES.
  static constexpr uint16_t kMostQueues = 16;
  // Frames that may wait between two engines; what finds no room is dropped.
  static constexpr uint32_t kWaiting = 512;

  explicit Steering(uint16_t queues);  // 1..kMostQueues
  ~Steering();
  Steering(const Steering&) = delete;
  Steering& operator=(const Steering&) = delete;

  // A. What is. Any thread.
  uint16_t queues() const { return queues_; }
  // The queue whose engine listens at this UDP port; nullopt: none does.
  std::optional<uint16_t> QueueOf(uint16_t udp_port) const;
  bool listens(uint16_t queue) const { return engines_[queue].port != 0; }
  // False: the process had no descriptor left, so that some engine cannot be
  // called.
  bool can_call() const;
  // Readable when something was handed to a queue whose engine awaits it; -1:
  // there is one queue, and so nobody to do that.
  int descriptor(uint16_t queue) const { return engines_[queue].event; }

  // B. What happened. The thread of that queue.
  void OnListening(uint16_t queue, uint16_t udp_port);  // 0: no more.
  // It is about to wait for descriptor(): what it still takes after this was
  // handed to it before, and for the rest it is called.
  void OnAwaiting(uint16_t queue);
  void OnAwake(uint16_t queue);  // It waits no more.

  // C. What next. Hand: the thread of `from`; false: there is no room. Take:
  // that of `queue`; nullptr: there is nothing.
  bool Hand(uint16_t from, uint16_t to, rte_mbuf* frame);
  rte_mbuf* Take(uint16_t queue);

 private:
  using Ring = SpscRing<rte_mbuf*, kWaiting>;
  struct alignas(64) Engine {
    std::atomic<uint16_t> port{0};
    std::atomic<bool> awaits{false};
    int event = -1;
    uint16_t next = 0;  // Whose ring is looked into first: they take turns.
  };
  Ring& Between(uint16_t from, uint16_t to) {
    return *rings_[from * size_t{queues_} + to];
  }

  const uint16_t queues_;
  std::vector<Engine> engines_;
  std::vector<std::unique_ptr<Ring>> rings_;  // [from * queues_ + to]
};

}  // namespace hawser
