#include "transport/sim/fabric/workload.h"

#include <numeric>
#include <utility>

#include "transport/base/check.h"
#include "transport/base/random.h"

namespace hawser::sim {

uint32_t Workload::Add(uint32_t from, uint32_t to, uint64_t bytes,
                       Picos start) {
  MessagePlan message;
  message.from = from;
  message.to = to;
  message.bytes = bytes;
  message.start = start;
  messages.push_back(std::move(message));
  return static_cast<uint32_t>(messages.size() - 1);
}

void Workload::Follow(uint32_t after, uint32_t message) {
  messages[after].followers.push_back(message);
  ++messages[message].waits_for;
}

std::vector<uint32_t> RandomCycle(uint32_t hosts, uint64_t seed) {
  std::vector<uint32_t> cycle(hosts);
  std::iota(cycle.begin(), cycle.end(), 0);
  Random random(seed);
  for (uint32_t i = hosts - 1; i >= 1; --i) {
    std::swap(cycle[i], cycle[random.Next() % i]);
  }
  return cycle;
}

void AddPermutation(Workload& workload, uint32_t hosts, uint64_t bytes,
                    uint64_t seed) {
  const std::vector<uint32_t> to = RandomCycle(hosts, seed);
  for (uint32_t h = 0; h < hosts; ++h) workload.Add(h, to[h], bytes);
}

void AddShift(Workload& workload, uint32_t hosts, uint32_t by, uint64_t bytes) {
  for (uint32_t h = 0; h < hosts; ++h) {
    workload.Add(h, (h + by) % hosts, bytes);
  }
}

void AddIncast(Workload& workload, uint32_t hosts, uint32_t senders,
               uint64_t bytes) {
  for (uint32_t h = hosts - senders; h < hosts; ++h) workload.Add(h, 0, bytes);
}

void AddAllToAll(Workload& workload, uint32_t hosts, uint32_t groups,
                 uint32_t window, uint64_t bytes) {
  const uint32_t members = hosts / groups;
  for (uint32_t h = 0; h < hosts; ++h) {
    const uint32_t rank = h / groups, group = h % groups;
    const auto first = static_cast<uint32_t>(workload.messages.size());
    for (uint32_t step = 1; step < members; ++step) {
      const uint32_t to = (rank + step) % members * groups + group;
      const uint32_t message = workload.Add(h, to, bytes);
      if (message - first >= window) {
        workload.Follow(message - window, message);
      }
    }
  }
}

void AddRings(Workload& workload, uint32_t hosts, uint32_t groups,
              uint64_t bytes) {
  const uint32_t members = hosts / groups;
  const uint32_t steps = 2 * (members - 1);
  const auto first = static_cast<uint32_t>(workload.messages.size());
  for (uint32_t step = 0; step < steps; ++step) {
    for (uint32_t h = 0; h < hosts; ++h) {
      const uint32_t rank = h / groups, group = h % groups;
      const uint32_t to = (rank + 1) % members * groups + group;
      const uint32_t message = workload.Add(h, to, bytes);
      if (step == 0) continue;
      const uint32_t before = (rank + members - 1) % members * groups + group;
      workload.Follow(first + (step - 1) * hosts + before, message);
    }
  }
}

void AddButterfly(Workload& workload, uint32_t hosts, uint64_t bytes,
                  bool halving) {
  HAWSER_CHECK((hosts & (hosts - 1)) == 0);
  std::vector<std::pair<uint32_t, uint64_t>> steps;  // Distance, bytes.
  uint64_t part = bytes;
  for (uint32_t distance = 1; distance < hosts; distance *= 2) {
    if (halving) part /= 2;
    steps.push_back({distance, part});
  }
  if (halving) {
    for (size_t s = steps.size(); s-- > 0;) steps.push_back(steps[s]);
  }
  const auto first = static_cast<uint32_t>(workload.messages.size());
  for (uint32_t s = 0; s < steps.size(); ++s) {
    for (uint32_t h = 0; h < hosts; ++h) {
      const auto [distance, size] = steps[s];
      const uint32_t message = workload.Add(h, h ^ distance, size);
      if (s == 0) continue;
      const uint32_t partner = h ^ steps[s - 1].first;
      workload.Follow(first + (s - 1) * hosts + partner, message);
    }
  }
}

Progress::Progress(const Workload& workload)
    : workload_(workload), marks_(workload.messages.size()) {
  for (size_t m = 0; m < marks_.size(); ++m) {
    marks_[m].waits_for = workload.messages[m].waits_for;
    if (!workload.messages[m].background) ++open_;
  }
}

std::span<const uint32_t> Progress::OnFinished(uint32_t message, Picos now) {
  HAWSER_CHECK(marks_[message].finished == kNeverPicos);
  marks_[message].finished = now;
  if (!workload_.messages[message].background) --open_;
  released_.clear();
  for (const uint32_t follower : workload_.messages[message].followers) {
    if (--marks_[follower].waits_for == 0) released_.push_back(follower);
  }
  return released_;
}

}  // namespace hawser::sim
