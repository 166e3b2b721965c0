#include "tools/hawser_perf/samples.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>

namespace hawser::perf {
namespace {

using nlohmann::json;

// Short enough to show a gap of 250 ms, long enough to cost nothing.
constexpr Duration kPeriod = Duration::Millis(50);

double Rounded(double value) { return std::round(value * 1e3) / 1e3; }

double FromTimeval(const timeval& time) {
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_usec) / 1e6;
}

json PathJson(const PeerReport& peer, const PathReport& path) {
  const PathCounts& counts = path.counts;
  return {{"peer", peer.name},
          {"engine", peer.engine},
          {"path", path.path.value},
          {"plane", path.plane},
          {"entropy", path.place.entropy},
          {"state", path.state == PathState::kOpen ? "open" : "suspect"},
          {"bytes_sent", counts.bytes_sent},
          {"bytes_delivered", counts.bytes_delivered},
          {"packets_sent", counts.packets_sent},
          {"packets_delivered", counts.packets_delivered},
          {"packets_lost", counts.packets_lost},
          {"packets_spurious", counts.packets_spurious},
          {"packets_resent", counts.packets_resent},
          {"packets_received", counts.packets_received},
          {"packets_duplicate", counts.packets_duplicate},
          {"ecn_marked", counts.ecn_marked},
          {"probes_sent", counts.probes_sent},
          {"times_suspect", counts.times_suspect},
          {"rtt_us", static_cast<double>(path.rtt.nanos()) / 1e3},
          {"window_bytes", path.window_bytes}};
}

}  // namespace

double Seconds(Duration duration) {
  return static_cast<double>(duration.nanos()) / 1e9;
}

double Millis(Duration duration) {
  return static_cast<double>(duration.nanos()) / 1e6;
}

void Tally::OnMessages(uint64_t messages, uint64_t bytes, bool sender,
                       Time now) {
  if (sender || messages_ > 0) OnNone(now);
  messages_ += messages;
  bytes_ += bytes;
  last_ = now;
}

void Tally::OnNone(Time now) {
  if (now - last_ <= longest_gap_) return;
  longest_gap_ = now - last_;
  gap_began_ = last_;
}

json Tally::ToJson() const {
  const double seconds = Seconds(last_ - began_);
  const double rate = seconds > 0 ? static_cast<double>(bytes_) / seconds : 0;
  return {{"messages", messages_},
          {"bytes", bytes_},
          {"seconds", seconds},
          {"goodput_gbps", rate * 8 / 1e9},
          {"goodput_mbytes_per_s", rate / 1e6},
          {"longest_gap_ms", Millis(longest_gap_)},
          {"longest_gap_at_s",
           longest_gap_ > Duration() ? Seconds(gap_began_ - began_) : 0}};
}

RoundTrips::RoundTrips() { sample_us_.reserve(1 << 20); }

void RoundTrips::Add(Duration time) {
  const double us = static_cast<double>(time.nanos()) / 1e3;
  min_us_ = count_ == 0 ? us : std::min(min_us_, us);
  max_us_ = std::max(max_us_, us);
  sum_us_ += us;
  if (count_++ % stride_ != 0) return;
  if (sample_us_.size() == kMost) {
    for (size_t i = 0; i < kMost / 2; ++i) sample_us_[i] = sample_us_[2 * i];
    sample_us_.resize(kMost / 2);
    stride_ *= 2;
  }
  sample_us_.push_back(static_cast<float>(us));
}

json RoundTrips::ToJson() const {
  std::vector<float> sorted = sample_us_;
  std::sort(sorted.begin(), sorted.end());
  // The least sample that so many are not above.
  const auto at = [&](double fraction) -> double {
    if (sorted.empty()) return 0;
    const double rank =
        std::ceil(fraction * static_cast<double>(sorted.size()));
    return Rounded(sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1]);
  };
  return {{"count", count_},
          {"min_us", min_us_},
          {"mean_us", count_ > 0 ? sum_us_ / static_cast<double>(count_) : 0},
          {"p50_us", at(0.5)},
          {"p90_us", at(0.9)},
          {"p99_us", at(0.99)},
          {"p99_9_us", at(0.999)},
          {"max_us", max_us_}};
}

CpuTime CpuTime::Now() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {FromTimeval(usage.ru_utime), FromTimeval(usage.ru_stime)};
}

PathSeries::PathSeries(const Endpoint* endpoint, double duration_s)
    : endpoint_(endpoint),
      period_(std::max(kPeriod, Duration::Nanos(static_cast<int64_t>(
                                    duration_s * 1e9 /
                                    static_cast<double>(kColumnsMost))))) {}

void PathSeries::Begin(Time now) {
  began_ = now;
  rows_.clear();
  for (const PeerReport& peer : endpoint_->Report()) {
    for (const PathReport& path : peer.paths) {
      rows_.emplace_back().bytes_delivered = path.counts.bytes_delivered;
    }
  }
  summary_ = {rows_.size(), rows_.size(), 0, 0};
}

void PathSeries::Sample(uint64_t sent_bytes, uint64_t received_bytes,
                        Time now) {
  Summary summary;
  for (const PeerReport& peer : endpoint_->Report()) {
    for (const PathReport& path : peer.paths) {
      // All flows are open when it begins, so there are no more rows later.
      if (summary.paths == rows_.size()) break;
      Row& row = rows_[summary.paths++];
      const PathCounts& counts = path.counts;
      const bool open = path.state == PathState::kOpen;
      row.delivered.push_back(counts.bytes_delivered - row.bytes_delivered);
      row.bytes_delivered = counts.bytes_delivered;
      row.states += open ? '.' : 's';
      summary.open += open ? 1 : 0;
      summary.packets_lost += counts.packets_lost;
      summary.packets_resent += counts.packets_resent;
    }
  }
  summary_ = summary;
  at_ms_.push_back(Rounded(Millis(now - began_)));
  sent_.push_back(sent_bytes - sent_bytes_);
  received_.push_back(received_bytes - received_bytes_);
  sent_bytes_ = sent_bytes;
  received_bytes_ = received_bytes;
}

json PathSeries::SeriesJson() const {
  return {{"period_ms", Millis(period_)},
          {"at_ms", at_ms_},
          {"sent_bytes", sent_},
          {"received_bytes", received_}};
}

json PathSeries::PathsJson() const {
  json paths = json::array();
  uint64_t all = 0;
  for (const PeerReport& peer : endpoint_->Report()) {
    for (const PathReport& path : peer.paths) {
      all += path.counts.bytes_delivered;
      json one = PathJson(peer, path);
      if (paths.size() < rows_.size()) {
        const Row& row = rows_[paths.size()];
        one["series"] = {{"delivered_bytes", row.delivered},
                         {"states", row.states}};
      }
      paths.push_back(std::move(one));
    }
  }
  for (json& path : paths) {
    path["share"] = all > 0 ? path["bytes_delivered"].get<double>() /
                                  static_cast<double>(all)
                            : 0.0;
  }
  return paths;
}

}  // namespace hawser::perf
