#include "bench/report.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "bench/collectives.h"
#include "bench/fail.h"

namespace hawser::bench {
namespace {

using nlohmann::json;

const char* ReductionOf(const Options& options) {
  return Reduces(options.operation) ? "sum" : "none";
}

double AverageBusbw(const Report& report) {
  double sum = 0;
  for (const Row& row : report.rows) sum += row.busbw;
  return report.rows.empty() ? 0
                             : sum / static_cast<double>(report.rows.size());
}

// In one line what is taken for which sizes: each row has room for no more
// columns than nccl-tests gives it.
void PrintAlgorithm(const Options& options) {
  const auto choices = ChoicesIn(options);
  std::string words;
  for (const Choice& choice : std::span(choices).first(choices.size() - 1)) {
    words += std::string(Name(choice.algorithm)) + " up to " +
             std::to_string(choice.bytes_max) + " bytes, then ";
  }
  std::printf("# algorithm: %s%s\n", words.c_str(),
              Name(choices.back().algorithm));
}

std::FILE* OpenJson(const std::string& file) {
  std::FILE* const opened = std::fopen(file.c_str(), "we");
  if (opened == nullptr) Fail("--json %s: %s", file.c_str(), strerror(errno));
  return opened;
}

}  // namespace

uint64_t WrongIn(const Report& report) {
  uint64_t wrong = 0;
  for (const Row& row : report.rows) wrong += row.wrong;
  return wrong;
}

void PrintHead(const Options& options, const Report& report) {
  std::printf("# %s, %d ranks, %d channels, slices of %zu bytes\n",
              Name(options.operation), options.ranks, options.channels,
              options.slice_bytes);
  PrintAlgorithm(options);
  std::printf("# plugin %s, net API v%d, %s\n", report.plugin_name.c_str(),
              report.api, report.plugin_file.c_str());
  std::printf("# device %d: %s, %d Mb/s\n", options.device,
              report.device_name.c_str(), report.device_speed_mbps);
  std::printf("# %d warm-up and %d timed runs of each size, %d checked\n",
              options.warmups, options.iterations, options.checks);
  for (size_t rank = 0; rank < report.processes.size(); ++rank) {
    std::printf("#   rank %2zu  %s\n", rank, report.processes[rank].c_str());
  }
  std::printf("#\n# %10s %13s %8s %7s %11s %8s %8s %7s\n", "size", "count",
              "type", "redop", "time", "algbw", "busbw", "#wrong");
  std::printf("# %10s %13s %8s %7s %11s %8s %8s\n", "(B)", "(elements)", "", "",
              "(us)", "(GB/s)", "(GB/s)");
  std::fflush(stdout);
}

void PrintRow(const Options& options, const Row& row) {
  const std::string wrong =
      options.checks > 0 ? std::to_string(row.wrong) : "N/A";
  std::printf("%12zu %13zu %8s %7s %11.2f %8.3f %8.3f %7s\n", row.bytes,
              row.elements, Name(options.type), ReductionOf(options),
              row.time_us, row.algbw, row.busbw, wrong.c_str());
  std::fflush(stdout);
}

void PrintFoot(const Options& options, const Report& report) {
  if (options.checks > 0) {
    const uint64_t wrong = WrongIn(report);
    // These two lines read as in nccl-tests: scripts look for them.
    std::printf("# Out of bounds values : %llu %s\n",
                static_cast<unsigned long long>(wrong),
                wrong == 0 ? "OK" : "FAILED");
  } else {
    std::printf("# Nothing was checked (-c 0)\n");
  }
  std::printf("# Avg bus bandwidth    : %.4f\n", AverageBusbw(report));
  std::printf("# %zu comms of each rank were connected in %.2f s\n",
              report.comms, report.connect_s);
  if (!report.paths.empty()) {
    PrintPaths(report.paths);
  } else if (report.paths_elsewhere) {
    std::printf("# What each path carried is where %s says.\n", kStatsVariable);
  } else {
    std::printf("# The plugin told nothing about its paths.\n");
  }
  std::fflush(stdout);
}

void ClaimJson(const std::string& file) {
  std::fclose(OpenJson(file));
  struct stat now;
  if (lstat(file.c_str(), &now) == 0 && S_ISREG(now.st_mode)) {
    unlink(file.c_str());
  }
}

void WriteJson(const Options& options, const Report& report) {
  json rows = json::array();
  for (const Row& row : report.rows) {
    rows.push_back({{"size_bytes", row.bytes},
                    {"count", row.elements},
                    {"algorithm", Name(row.algorithm)},
                    {"time_us", row.time_us},
                    {"algbw_gbps", row.algbw},
                    {"busbw_gbps", row.busbw},
                    {"wrong", row.wrong}});
  }
  json paths = json::array();
  for (const PathRow& row : report.paths) {
    paths.push_back({{"rank", row.rank},
                     {"peer", row.peer},
                     {"path", row.path},
                     {"plane", row.plane},
                     {"state", row.state},
                     {"share", row.share},
                     {"bytes_sent", row.bytes_sent},
                     {"bytes_delivered", row.bytes_delivered},
                     {"packets_sent", row.packets_sent},
                     {"packets_lost", row.packets_lost},
                     {"packets_resent", row.packets_resent},
                     {"packets_spurious", row.packets_spurious},
                     {"ecn_marked", row.ecn_marked},
                     {"times_suspect", row.times_suspect},
                     {"rtt_us", row.rtt_us},
                     {"window_bytes", row.window_bytes}});
  }
  const json document = {{"plugin",
                          {{"name", report.plugin_name},
                           {"file", report.plugin_file},
                           {"api", report.api},
                           {"device", report.device_name},
                           {"speed_mbps", report.device_speed_mbps}}},
                         {"op", Name(options.operation)},
                         {"type", Name(options.type)},
                         {"redop", ReductionOf(options)},
                         {"ranks", options.ranks},
                         {"channels", options.channels},
                         {"slice_bytes", options.slice_bytes},
                         {"iterations", options.iterations},
                         {"warmups", options.warmups},
                         {"checks", options.checks},
                         {"processes", report.processes},
                         {"comms", report.comms},
                         {"connect_s", report.connect_s},
                         {"results", rows},
                         {"wrong", WrongIn(report)},
                         {"average_busbw_gbps", AverageBusbw(report)},
                         {"paths", paths}};
  // Names come from the plugin; what is not UTF-8 in them is replaced.
  const std::string text =
      document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  std::FILE* const file = OpenJson(options.json_file);
  const bool written =
      std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) {
    Fail("--json %s: %s", options.json_file.c_str(), strerror(errno));
  }
}

}  // namespace hawser::bench
