#include "transport/datapath/dpdk/steering.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "transport/base/check.h"

namespace hawser {

Steering::Steering(uint16_t queues) : queues_(queues), engines_(queues) {
  HAWSER_CHECK(queues >= 1 && queues <= kMostQueues);
  if (queues == 1) return;
  for (Engine& engine : engines_) {
    engine.event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  }
  rings_.resize(queues * size_t{queues});
  for (auto& ring : rings_) ring = std::make_unique<Ring>();
}

Steering::~Steering() {
  for (const Engine& engine : engines_) {
    if (engine.event >= 0) close(engine.event);
  }
}

bool Steering::can_call() const {
  return queues_ == 1 ||
         std::all_of(engines_.begin(), engines_.end(),
                     [](const Engine& engine) { return engine.event >= 0; });
}

std::optional<uint16_t> Steering::QueueOf(uint16_t udp_port) const {
  if (udp_port == 0) return std::nullopt;
  for (uint16_t queue = 0; queue < queues_; ++queue) {
    if (engines_[queue].port.load(std::memory_order_acquire) == udp_port) {
      return queue;
    }
  }
  return std::nullopt;
}

void Steering::OnListening(uint16_t queue, uint16_t udp_port) {
  engines_[queue].port.store(udp_port, std::memory_order_release);
}

// Whoever hands a frame over writes the ring and then exchanges `awaits`;
// whoever awaits one exchanges that and then reads the rings. Of two exchanges
// one is the first: either the second finds that somebody waits, or it sees
// what the first had written before.
void Steering::OnAwaiting(uint16_t queue) {
  engines_[queue].awaits.exchange(true, std::memory_order_acq_rel);
}

void Steering::OnAwake(uint16_t queue) {
  Engine& engine = engines_[queue];
  engine.awaits.exchange(false, std::memory_order_acq_rel);
  uint64_t count = 0;
  if (engine.event < 0) return;
  [[maybe_unused]] const ssize_t had = read(engine.event, &count, sizeof count);
}

bool Steering::Hand(uint16_t from, uint16_t to, rte_mbuf* frame) {
  HAWSER_CHECK(from != to && from < queues_ && to < queues_);
  if (!Between(from, to).Push(frame)) return false;
  Engine& engine = engines_[to];
  if (engine.awaits.exchange(false, std::memory_order_acq_rel)) {
    const uint64_t one = 1;
    // It cannot fail: the count is far from its limit.
    [[maybe_unused]] const ssize_t done = write(engine.event, &one, sizeof one);
  }
  return true;
}

rte_mbuf* Steering::Take(uint16_t queue) {
  uint16_t& next = engines_[queue].next;
  for (uint16_t i = 0; i < queues_; ++i) {
    const uint16_t from = next;
    next = next + 1 < queues_ ? next + 1 : 0;
    rte_mbuf* frame = nullptr;
    if (from != queue && Between(from, queue).Pop(&frame)) return frame;
  }
  return nullptr;
}

}  // namespace hawser
