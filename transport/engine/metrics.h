// What an engine counts: one table, one writer, any reader.
// Knows: free-running counters and their names.  Never: rates, resets.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

namespace hawser {

// Never reset, only diffed. Written by whoever holds the engine's turn.
class Counter {
 public:
  void Add(uint64_t n) { value_.store(value() + n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct alignas(64) EngineMetrics {
  Counter turns, packets_sent, packets_received, packets_lost, packets_resent,
      packets_spurious, packets_duplicate, packets_malformed, packets_foreign,
      packets_unexpected, acks_sent, acks_received, grants_raised, probes_sent,
      controls_sent, controls_received, bytes_delivered, bytes_received,
      bytes_placed, bytes_carried, paths_suspected, paths_reopened,
      paths_buried, peers_lost;
};

struct MetricRow {
  const char* name;
  Counter EngineMetrics::*field;
  const char* help;
};
std::span<const MetricRow> EngineMetricRows();

// The table as the page docs/metrics.md, whole.
std::string MetricsPage();

}  // namespace hawser
