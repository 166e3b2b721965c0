// The results, as nccl-tests prints them and as JSON.
// Knows: rows and columns.  Never: how a result came about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/paths.h"

namespace hawser::bench {

// One size.
struct Row {
  size_t bytes = 0;
  size_t elements = 0;
  Algorithm algorithm = Algorithm::kRing;
  double time_us = 0;
  double algbw = 0;  // GB/s: bytes over time.
  double busbw = 0;  // GB/s: what the slowest wire carried.
  uint64_t wrong = 0;
};

struct Report {
  std::string plugin_name;
  std::string plugin_file;
  int api = 0;
  std::string device_name;
  int device_speed_mbps = 0;
  std::vector<std::string> processes;  // "host:pid", by rank.
  size_t comms = 0;                    // Of one rank, both directions.
  double connect_s = 0;  // Until all comms of all ranks were there.
  std::vector<Row> rows;
  std::vector<PathRow> paths;
  bool paths_elsewhere = false;  // The user named a file for them.
};

void PrintHead(const Options& options, const Report& report);
void PrintRow(const Options& options, const Row& row);
void PrintFoot(const Options& options, const Report& report);

uint64_t WrongIn(const Report& report);

// Both end the process if the file cannot be written. ClaimJson finds that out
// before the run; until WriteJson there is no file, and whoever finds one finds
// it whole. (One that is no plain file, as /dev/stdout, stays.)
void ClaimJson(const std::string& file);
void WriteJson(const Options& options, const Report& report);

}  // namespace hawser::bench
