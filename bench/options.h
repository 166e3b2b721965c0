// The command line of all_reduce_perf, checked.
// Knows: names, ranges and defaults.  Never: what a run does with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace hawser::bench {

enum class Operation {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kSendRecv,
  kAllToAll
};

enum class DataType {
  kInt8,
  kUint8,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat,
  kDouble
};

// How an all-reduce goes about it. The other operations have one way each:
// the ring, or every pair for itself.
inline constexpr int kHalvingRanksMax = 8;  // With more, its slots would fill.
enum class Algorithm { kAuto, kRing, kHalving, kDoubling, kStar, kPairs };

const char* Name(Operation operation);
const char* Name(Algorithm algorithm);
const char* Name(DataType type);
size_t SizeOf(DataType type);
// True where elements of several ranks are summed.
bool Reduces(Operation operation);

inline constexpr int kRanksMax = 128;    // Sums of so many stay exact in float.
inline constexpr int kChannelsMax = 64;  // NCCL's own limit.

struct Options {
  // What is measured, named as in nccl-tests.
  Operation operation = Operation::kAllReduce;
  Algorithm algorithm = Algorithm::kAuto;
  DataType type = DataType::kFloat;
  uint64_t bytes_min = 32 << 20;
  uint64_t bytes_max = 32 << 20;
  int step_factor = 2;
  int iterations = 20;
  int warmups = 5;
  int checks = 1;      // Runs with fresh elements per size; 0: none.
  int duration_s = 0;  // All sizes are repeated for so long; 0: once each.

  // How the plugin is driven.
  std::string plugin;  // Empty: ours, looked for near this program.
  int api = 0;         // 0: the newest that the plugin exports.
  int device = 0;
  // NCCL takes two between two nodes with one NIC. Where a core is all that a
  // rank has, the second has only the slots of the first pushed out of the
  // cache (docs/performance.md).
  int channels = 1;
  size_t slice_bytes = 0;  // 0: what NCCL takes for the operation.
  bool in_place = true;    // As NCCL does with registered buffers.
  int timeout_s = 60;      // Without any progress.

  // Who takes part.
  int ranks = 2;
  int rank = -1;     // -1: start all ranks here.
  std::string root;  // "HOST:PORT", where rank 0 listens.

  std::string json_file;
  bool verbose = false;

  // Between the launcher and its ranks only.
  int root_fd = -1;
  bool launched = false;
  std::string stats_file;
};

// Ends the process, with status 2 and one line, if the line is not understood;
// with status 0 after --help.
Options ParseOptions(int argc, char** argv);

// Equal for ranks that may run together.
std::string Fingerprint(const Options& options);

}  // namespace hawser::bench
