#include "tools/hawser_sim_run.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "transport/sim/fabric/experiment.h"

namespace hawser::tools {
namespace {

using sim::Experiment;
using sim::ExperimentResult;
using sim::Scenario;

// Between two looks at the clock.
constexpr Duration kSlice = Duration::Micros(5);
constexpr double kProgressEverySeconds = 0.5;

// The text of a named scenario or of a file.
std::optional<std::string> TextOf(std::string_view scenario) {
  for (const sim::NamedScenario& named : sim::NamedScenarios()) {
    if (named.name == scenario) return named.text;
  }
  std::ifstream in{std::string(scenario)};
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// How fast it went; the only part of the output that is not the seed's.
struct Speed {
  double seconds = 0;
  double hops_per_second = 0;
  int64_t memory_bytes = 0;
};

void ShowProgress(double share, double seconds, double hops) {
  constexpr int kWidth = 40;
  const int full = static_cast<int>(share * kWidth);
  std::fprintf(stderr, "\r[%.*s%*s] %3.0f%% of messages, %.1f s, %.1f M hops",
               full, "########################################", kWidth - full,
               "", share * 100, seconds, hops / 1e6);
}

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec) / 1e6;
}

ExperimentResult RunOnce(const Scenario& scenario, uint64_t seed,
                         Speed* speed) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const double cpu_begin = CpuSeconds();
  Experiment experiment(scenario, seed);
  const bool watched = isatty(STDERR_FILENO) != 0;
  double shown = 0;
  while (!experiment.over()) {
    experiment.RunFor(kSlice);
    const double seconds =
        std::chrono::duration<double>(Clock::now() - begin).count();
    if (watched && seconds - shown > kProgressEverySeconds) {
      shown = seconds;
      ShowProgress(experiment.done_share(), seconds,
                   static_cast<double>(experiment.hops()));
    }
  }
  if (shown > 0) std::fprintf(stderr, "\r%79s\r", "");
  const ExperimentResult result = experiment.result();
  speed->seconds = CpuSeconds() - cpu_begin;
  speed->hops_per_second =
      static_cast<double>(result.hops) / std::max(speed->seconds, 1e-9);
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  speed->memory_bytes = int64_t{usage.ru_maxrss} * 1024;
  return result;
}

nlohmann::ordered_json ToJson(const ExperimentResult& r) {
  return {{"seed", r.seed},
          {"finished", r.finished},
          {"messages", r.messages},
          {"unfinished", r.unfinished},
          {"tail_us", r.tail_us},
          {"p99_us", r.p99_us},
          {"mean_us", r.mean_us},
          {"victim_tail_us", r.victim_tail_us},
          {"ideal_us", r.ideal_us},
          {"bound_us", r.bound_us},
          {"ratio", r.tail_us / r.ideal_us},
          {"bound_ratio", r.tail_us / r.bound_us},
          {"data_packets", r.data_packets},
          {"resent_packets", r.resent_packets},
          {"spurious_packets", r.spurious_packets},
          {"resent_share", r.resent_share},
          {"marked_share", r.marked_share},
          {"ack_share", r.ack_share},
          {"dropped", r.dropped},
          {"trimmed", r.trimmed},
          {"recovery_us", r.recovery_us},
          {"paths_suspected", r.suspects},
          {"probes", r.probes},
          {"queue_mean_packets", r.queue_mean_packets},
          {"queue_peak_packets", r.queue_peak_packets},
          {"hops", r.hops},
          {"events", r.events}};
}

void PrintHuman(const ExperimentResult& r, const Speed& speed) {
  std::printf(
      "seed %llu: %s\n"
      "  tail %.3f us, p99 %.3f us, mean %.3f us\n"
      "  ideal %.3f us: ratio %.4f; with the faults %.3f us: %.4f\n",
      static_cast<unsigned long long>(r.seed),
      r.finished ? "finished"
                 : absl::StrCat(r.unfinished, " of ", r.messages,
                                " messages did NOT finish")
                       .c_str(),
      r.tail_us, r.p99_us, r.mean_us, r.ideal_us, r.tail_us / r.ideal_us,
      r.bound_us, r.tail_us / r.bound_us);
  if (r.victim_tail_us > 0) {
    std::printf("  victims' tail %.3f us\n", r.victim_tail_us);
  }
  if (r.recovery_us > 0) {
    std::printf("  recovered within %.3f us\n", r.recovery_us);
  }
  std::printf(
      "  resent %.4f%% of bytes (%llu packets, %llu in vain), marked %.3f%%, "
      "acks %.2f%% of bytes\n"
      "  dropped %llu, trimmed %llu; queue mean %.2f, peak %.0f packets\n"
      "  %.2f M hops, %.2f M events; %.2f s, %.2f M hops/s, %lld MB\n",
      r.resent_share * 100, static_cast<unsigned long long>(r.resent_packets),
      static_cast<unsigned long long>(r.spurious_packets), r.marked_share * 100,
      r.ack_share * 100, static_cast<unsigned long long>(r.dropped),
      static_cast<unsigned long long>(r.trimmed), r.queue_mean_packets,
      r.queue_peak_packets, static_cast<double>(r.hops) / 1e6,
      static_cast<double>(r.events) / 1e6, speed.seconds,
      speed.hops_per_second / 1e6,
      static_cast<long long>(speed.memory_bytes >> 20));
}

void PrintSummary(const std::vector<ExperimentResult>& results) {
  double sum = 0, least = results[0].tail_us, most = least, mean = 0;
  for (const ExperimentResult& r : results) {
    sum += r.tail_us;
    mean += r.mean_us;
    least = std::min(least, r.tail_us);
    most = std::max(most, r.tail_us);
  }
  const auto count = static_cast<double>(results.size());
  std::printf(
      "%zu seeds: tail %.3f us [%.3f..%.3f], ratio %.4f; mean %.3f us\n",
      results.size(), sum / count, least, most,
      sum / count / results[0].ideal_us, mean / count);
}

// "name" for a string value in --set.
std::string Quoted(std::string_view key, std::string_view value) {
  return absl::StrCat(std::string(key), "=\"", std::string(value), "\"");
}

// A large network lies on more small pages than a processor remembers the
// places of, and looking one up takes as long as the memory itself: a third of
// a run. So the heap is given room to grow in, and large pages for it are asked
// for at once. Nothing is taken but what is used, and where the system has no
// such room or no such pages, all goes on as before.
void UseLargePages() {
  constexpr int kRoomBytes = 2'000'000'000;
  constexpr uintptr_t kLargePageBytes = 2 << 20;
  mallopt(M_MMAP_MAX, 0);  // All of it from there.
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, kRoomBytes);
  const std::unique_ptr<char[]> grown(new char[kLargePageBytes]);
  const auto begin = reinterpret_cast<uintptr_t>(grown.get());
  const auto end = reinterpret_cast<uintptr_t>(sbrk(0));
  if (end < begin) return;
  const uintptr_t first = (begin / kLargePageBytes + 1) * kLargePageBytes;
  madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}

}  // namespace

int RunScenario(std::string_view name, const RunFlags& flags) {
  const auto text = TextOf(name);
  if (!text) {
    std::fprintf(stderr,
                 "%s: no such file, and no scenario of that name; expected "
                 "one of `hawser_sim list`\n",
                 std::string(name).c_str());
    return 2;
  }
  std::vector<std::string> set = flags.set;
  if (!flags.scheduler.empty()) {
    set.push_back(Quoted("hosts.scheduler", flags.scheduler));
  }
  if (!flags.congestion.empty()) {
    set.push_back(Quoted("hosts.congestion", flags.congestion));
  }
  if (!flags.hosts.empty()) set.push_back(Quoted("hosts.kind", flags.hosts));
  if (flags.paths > 0) set.push_back(absl::StrCat("hosts.paths=", flags.paths));
  const auto scenario = sim::ParseScenario(*text, name, set);
  if (!scenario.ok()) {
    std::fprintf(stderr, "%s\n",
                 std::string(scenario.status().message()).c_str());
    return 2;
  }
  UseLargePages();
  std::vector<ExperimentResult> results;
  bool finished = true;
  nlohmann::ordered_json runs = nlohmann::ordered_json::array();
  for (int i = 0; i < flags.repeat; ++i) {
    Speed speed;
    const ExperimentResult result =
        RunOnce(*scenario, flags.seed + static_cast<uint64_t>(i), &speed);
    finished &= result.finished;
    results.push_back(result);
    const nlohmann::ordered_json row = ToJson(result);
    if (flags.csv) {
      for (const bool head : {true, false}) {
        if (head && i > 0) continue;
        const char* comma = "";
        for (const auto& [key, value] : row.items()) {
          std::printf("%s%s", comma, head ? key.c_str() : value.dump().c_str());
          comma = ",";
        }
        std::printf("\n");
      }
    } else if (flags.json) {
      runs.push_back(row);
    } else {
      PrintHuman(result, speed);
    }
    std::fflush(stdout);
  }
  if (flags.json) {
    const nlohmann::ordered_json out = {{"scenario", std::string(name)},
                                        {"hosts", scenario->hosts},
                                        {"scheduler", scenario->scheduler},
                                        {"congestion", scenario->congestion},
                                        {"paths", scenario->paths},
                                        {"set", flags.set},
                                        {"runs", runs}};
    std::printf("%s\n", out.dump(2).c_str());
  } else if (!flags.csv && flags.repeat > 1) {
    PrintSummary(results);
  }
  return finished ? 0 : 1;
}

int ListScenarios() {
  for (const sim::NamedScenario& named : sim::NamedScenarios()) {
    std::printf("%-14s %s\n", named.name.c_str(), named.about.c_str());
  }
  return 0;
}

int ShowScenario(std::string_view name) {
  const auto text = TextOf(name);
  if (!text) {
    std::fprintf(stderr, "%s: expected one of `hawser_sim list`\n",
                 std::string(name).c_str());
    return 2;
  }
  const auto parsed = nlohmann::ordered_json::parse(*text, nullptr, false);
  std::printf("%s\n", parsed.dump(2).c_str());
  return 0;
}

}  // namespace hawser::tools
