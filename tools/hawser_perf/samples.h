// What is noted while a test runs: messages, round trips, the processor's
// time, and every 50 ms the state of each path.
// Knows: counts, times.  Never: flows, the control line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "transport/base/time.h"
#include "transport/engine/endpoint.h"

namespace hawser::perf {

double Seconds(Duration duration);
double Millis(Duration duration);

// The messages of one direction, as one side sees them.
class Tally {
 public:
  void Begin(Time now) { began_ = last_ = now; }
  // The side that sends counts the pause before its first message as well; the
  // other cannot know when that was sent.
  void OnMessages(uint64_t messages, uint64_t bytes, bool sender, Time now);

  // No message came until now, though one should have.
  void OnNone(Time now);

  uint64_t bytes() const { return bytes_; }
  uint64_t messages() const { return messages_; }
  // {"messages", "bytes", "seconds", "goodput_gbps", "goodput_mbytes_per_s",
  // "longest_gap_ms", "longest_gap_at_s"}; seconds: from the beginning until
  // the last message was done.
  nlohmann::json ToJson() const;
  Duration longest_gap() const { return longest_gap_; }
  Time last() const { return last_; }

 private:
  Time began_, last_;
  Time gap_began_;
  Duration longest_gap_;  // Between two messages of any flow.
  uint64_t messages_ = 0, bytes_ = 0;
};

// Round trip times, exact but for their number: where there are more than
// kMost, every second is left out from then on, and so forth.
class RoundTrips {
 public:
  RoundTrips();
  void Add(Duration time);
  uint64_t count() const { return count_; }
  // {"count", "min_us", "mean_us", "p50_us", "p90_us", "p99_us", "p99_9_us",
  // "max_us"}
  nlohmann::json ToJson() const;

 private:
  static constexpr size_t kMost = 16 << 20;
  std::vector<float> sample_us_;  // 24 bits: to 1 ns below 16 ms.
  uint64_t stride_ = 1;
  uint64_t count_ = 0;
  double sum_us_ = 0, min_us_ = 0, max_us_ = 0;
};

// Of this process, all threads.
struct CpuTime {
  double user_s = 0, system_s = 0;
  static CpuTime Now();
};

// A row for each path, and a column for each period.
class PathSeries {
 public:
  // One value per 50 ms, or fewer where that would be more than kColumnsMost.
  PathSeries(const Endpoint* endpoint, double duration_s);

  Duration period() const { return period_; }
  void Begin(Time now);
  void Sample(uint64_t sent_bytes, uint64_t received_bytes, Time now);

  // As of the last sample, all paths together.
  struct Summary {
    size_t paths = 0, open = 0;
    uint64_t packets_lost = 0, packets_resent = 0;
  };
  const Summary& summary() const { return summary_; }

  // {"period_ms", "at_ms": [...], "sent_bytes": [...], "received_bytes": [...]}
  nlohmann::json SeriesJson() const;
  // Of each path all there is to say, as it is now, and its columns.
  nlohmann::json PathsJson() const;

 private:
  static constexpr size_t kColumnsMost = 20'000;
  struct Row {
    std::vector<uint64_t> delivered;  // In each period, with headers.
    std::string states;               // '.' open, 's' suspect.
    uint64_t bytes_delivered = 0;
  };
  const Endpoint* const endpoint_;
  const Duration period_;
  Time began_;
  std::vector<Row> rows_;  // In the order of Endpoint::Report().
  std::vector<double> at_ms_;
  std::vector<uint64_t> sent_, received_;
  uint64_t sent_bytes_ = 0, received_bytes_ = 0;
  Summary summary_;
};

}  // namespace hawser::perf
