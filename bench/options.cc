#include "bench/options.h"

#include <getopt.h>

#include <array>
#include <bit>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "bench/fail.h"

namespace hawser::bench {
namespace {

constexpr std::array<std::pair<const char*, Operation>, 5> kOperations = {{
    {"allreduce", Operation::kAllReduce},
    {"allgather", Operation::kAllGather},
    {"reducescatter", Operation::kReduceScatter},
    {"sendrecv", Operation::kSendRecv},
    {"alltoall", Operation::kAllToAll},
}};

constexpr std::array<std::pair<const char*, Algorithm>, 5> kAlgorithms = {{
    {"auto", Algorithm::kAuto},
    {"ring", Algorithm::kRing},
    {"halving", Algorithm::kHalving},
    {"doubling", Algorithm::kDoubling},
    {"star", Algorithm::kStar},
}};

constexpr std::array<std::pair<const char*, DataType>, 8> kTypes = {{
    {"int8", DataType::kInt8},
    {"uint8", DataType::kUint8},
    {"int32", DataType::kInt32},
    {"uint32", DataType::kUint32},
    {"int64", DataType::kInt64},
    {"uint64", DataType::kUint64},
    {"float", DataType::kFloat},
    {"double", DataType::kDouble},
}};

// Larger than any host's memory, small enough that no product overflows.
constexpr uint64_t kBytesMax = uint64_t{1} << 44;
// A week.
constexpr uint64_t kDurationMaxS = 7 * 24 * 60 * 60;
// A day. Nobody waits longer for a hang to be called one.
constexpr uint64_t kTimeoutMaxS = 24 * 60 * 60;
constexpr uint64_t kIterationsMax = 1000 * 1000;
constexpr size_t kSliceMin = 128;               // One line of LL128.
constexpr size_t kSliceMax = size_t{64} << 20;  // Times 8 slots per comm.

constexpr char kHelp[] =
    R"(all_reduce_perf: a collective over an NCCL net plugin, on host memory.

  all_reduce_perf [--ranks N] [options]                   all ranks, here
  all_reduce_perf --rank R --ranks N --root HOST:PORT     one rank of N

What is measured (as in nccl-tests; sizes take K, M or G):
  -b, --minbytes SIZE        first size                        [32M]
  -e, --maxbytes SIZE        last size                         [32M]
  -f, --stepfactor N         each size is N times the last     [2]
  -n, --iters N              timed runs per size               [20]
  -w, --warmup_iters N       runs before them                  [5]
  -c, --check N              checked runs with fresh elements  [1]
      --duration SECONDS     all sizes again and again, for so long [once]
  -d, --type TYPE            int8 uint8 int32 uint32 int64 uint64
                             float double                      [float]
      --op OP                allreduce allgather reducescatter
                             sendrecv alltoall                 [allreduce]
      --algo ALGORITHM       of an allreduce: ring, halving (2, 4 or 8
                             ranks; few rounds), doubling (2, 4, 8 ...
                             ranks; few hops, for small sizes), star (all
                             send to rank 0; few messages) or auto: by ranks
                             and size                          [auto]

How the plugin is driven:
  -p, --plugin FILE          any NCCL net plugin  [libnccl-net-hawser.so]
      --api vN               v6 to v12            [the newest of v8 to v12]
      --dev N                device                            [0]
      --channels N           rings side by side                [1]
      --slice SIZE           largest message
                             [512K; sendrecv and alltoall: 128K]
  -R, --local_register 0|1   1: buffers are registered with the plugin, and
                             what need not be reduced stays in them; 0: all
                             goes through slots                [1]
  -T, --timeout SECONDS      without progress, then the run ends  [60]

Who takes part:
      --ranks N              2 to 128                          [2]
      --rank R               this process is rank R
      --root HOST:PORT       where rank 0 listens

What is told:
      --json FILE            the results, for machines; no file if it fails
  -v, --verbose              the plugin's INFO lines as well
  -h, --help                 this

Exit status: 0 all elements right, 1 wrong elements or an error, 2 bad options.
)";

// Long options without a short name.
enum LongOnly {
  kOp = 256,
  kDuration,
  kAlgo,
  kApi,
  kDev,
  kChannels,
  kSlice,
  kRanks,
  kRank,
  kRoot,
  kJson,
  kRootFd,
  kLaunched,
  kStatsFile
};

constexpr option kLongOptions[] = {
    {"minbytes", required_argument, nullptr, 'b'},
    {"maxbytes", required_argument, nullptr, 'e'},
    {"stepfactor", required_argument, nullptr, 'f'},
    {"iters", required_argument, nullptr, 'n'},
    {"warmup_iters", required_argument, nullptr, 'w'},
    {"check", required_argument, nullptr, 'c'},
    {"type", required_argument, nullptr, 'd'},
    {"datatype", required_argument, nullptr, 'd'},
    {"plugin", required_argument, nullptr, 'p'},
    {"local_register", required_argument, nullptr, 'R'},
    {"timeout", required_argument, nullptr, 'T'},
    {"verbose", no_argument, nullptr, 'v'},
    {"help", no_argument, nullptr, 'h'},
    {"op", required_argument, nullptr, kOp},
    {"duration", required_argument, nullptr, kDuration},
    {"algo", required_argument, nullptr, kAlgo},
    {"api", required_argument, nullptr, kApi},
    {"dev", required_argument, nullptr, kDev},
    {"channels", required_argument, nullptr, kChannels},
    {"slice", required_argument, nullptr, kSlice},
    {"ranks", required_argument, nullptr, kRanks},
    {"rank", required_argument, nullptr, kRank},
    {"root", required_argument, nullptr, kRoot},
    {"json", required_argument, nullptr, kJson},
    {"launched-root-fd", required_argument, nullptr, kRootFd},
    {"launched", no_argument, nullptr, kLaunched},
    {"launched-stats-file", required_argument, nullptr, kStatsFile},
    {nullptr, 0, nullptr, 0},
};

// A number from `low` to `high`; with `units`, K, M and G count in 1024s.
uint64_t ParseNumber(const char* name, const char* text, uint64_t low,
                     uint64_t high, bool units) {
  char* end = nullptr;
  errno = 0;
  const uint64_t number = std::strtoull(text, &end, 10);
  bool good = std::isdigit(static_cast<unsigned char>(text[0])) && errno == 0;
  int shift = 0;
  if (good && units && *end != '\0') {
    switch (std::toupper(static_cast<unsigned char>(*end))) {
      case 'K':
        shift = 10;
        break;
      case 'M':
        shift = 20;
        break;
      case 'G':
        shift = 30;
        break;
      default:
        good = false;
    }
    ++end;
  }
  good = good && *end == '\0';
  good = good && number <= std::numeric_limits<uint64_t>::max() >> shift;
  if (!good || number << shift < low || number << shift > high) {
    FailUsage("%s: '%s' is not a %s from %llu to %llu", name, text,
              units ? "size" : "number", static_cast<unsigned long long>(low),
              static_cast<unsigned long long>(high));
  }
  return number << shift;
}

int ParseInt(const char* name, const char* text, uint64_t low, uint64_t high) {
  return static_cast<int>(ParseNumber(name, text, low, high, false));
}

template <typename Table>
auto ParseName(const char* name, const char* text, const Table& table) {
  std::string known;
  for (const auto& [word, value] : table) {
    if (std::strcmp(word, text) == 0) return value;
    known += std::string(known.empty() ? "" : ", ") + word;
  }
  FailUsage("%s: '%s' is none of %s", name, text, known.c_str());
}

int ParseApi(const char* text) {
  const char* digits = text[0] == 'v' ? text + 1 : text;
  return ParseInt("--api", digits, 6, 12);
}

// What no single option can know.
void CheckTogether(Options* options, bool max_given) {
  if (!max_given && options->bytes_max < options->bytes_min) {
    options->bytes_max = options->bytes_min;
  }
  if (options->bytes_max < options->bytes_min) {
    FailUsage("-e: the last size is smaller than the first (-b)");
  }
  if (options->rank >= options->ranks) {
    FailUsage("--rank: %d is not below --ranks %d", options->rank,
              options->ranks);
  }
  if ((options->rank >= 0) == options->root.empty()) {
    FailUsage("--rank and --root belong together");
  }
  if (!options->root.empty()) {
    const size_t colon = options->root.rfind(':');
    if (colon == std::string::npos || colon == 0) {
      FailUsage("--root: '%s' is not HOST:PORT", options->root.c_str());
    }
    ParseInt("--root", options->root.c_str() + colon + 1, 1, 65535);
  }
  if (options->algorithm != Algorithm::kAuto &&
      options->operation != Operation::kAllReduce) {
    FailUsage("--algo %s: %s has one algorithm only", Name(options->algorithm),
              Name(options->operation));
  }
  if (options->algorithm == Algorithm::kDoubling &&
      !std::has_single_bit(static_cast<unsigned>(options->ranks))) {
    FailUsage("--algo doubling: --ranks %d is not a power of two",
              options->ranks);
  }
  if (options->algorithm == Algorithm::kHalving &&
      (options->ranks > kHalvingRanksMax ||
       !std::has_single_bit(static_cast<unsigned>(options->ranks)))) {
    FailUsage("--algo halving: --ranks %d is not 2, 4 or 8", options->ranks);
  }
  if (options->slice_bytes % SizeOf(options->type) != 0 ||
      options->slice_bytes % kSliceMin != 0) {
    FailUsage("--slice: %zu is not a multiple of %zu bytes",
              options->slice_bytes, kSliceMin);
  }
  if (options->slice_bytes == 0) {
    // NCCL_BUFFSIZE / NCCL_STEPS, and NCCL_P2P_NET_CHUNKSIZE.
    const bool point_to_point = options->operation == Operation::kSendRecv ||
                                options->operation == Operation::kAllToAll;
    options->slice_bytes = (point_to_point ? 128 : 512) << 10;
  }
}

}  // namespace

const char* Name(Operation operation) {
  return kOperations[static_cast<size_t>(operation)].first;
}

const char* Name(Algorithm algorithm) {
  return algorithm == Algorithm::kPairs
             ? "pairs"
             : kAlgorithms[static_cast<size_t>(algorithm)].first;
}

const char* Name(DataType type) {
  return kTypes[static_cast<size_t>(type)].first;
}

size_t SizeOf(DataType type) {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUint8:
      return 1;
    case DataType::kInt32:
    case DataType::kUint32:
    case DataType::kFloat:
      return 4;
    case DataType::kInt64:
    case DataType::kUint64:
    case DataType::kDouble:
      return 8;
  }
  return 1;
}

bool Reduces(Operation operation) {
  return operation == Operation::kAllReduce ||
         operation == Operation::kReduceScatter;
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  bool max_given = false;
  opterr = 0;  // We say it ourselves, in one line.
  int letter;
  while ((letter = getopt_long(argc, argv, ":b:e:f:n:w:c:d:p:R:T:vh",
                               kLongOptions, nullptr)) != -1) {
    switch (letter) {
      case 'b':
        options.bytes_min = ParseNumber("-b", optarg, 0, kBytesMax, true);
        break;
      case 'e':
        options.bytes_max = ParseNumber("-e", optarg, 0, kBytesMax, true);
        max_given = true;
        break;
      case 'f':
        options.step_factor = ParseInt("-f", optarg, 2, 1 << 20);
        break;
      case 'n':
        options.iterations = ParseInt("-n", optarg, 1, kIterationsMax);
        break;
      case 'w':
        options.warmups = ParseInt("-w", optarg, 0, kIterationsMax);
        break;
      case 'c':
        options.checks = ParseInt("-c", optarg, 0, kIterationsMax);
        break;
      case 'd':
        options.type = ParseName("--type", optarg, kTypes);
        break;
      case 'p':
        options.plugin = optarg;
        break;
      case 'R':
        options.in_place = ParseInt("--local_register", optarg, 0, 1) == 1;
        break;
      case 'T':
        options.timeout_s = ParseInt("--timeout", optarg, 1, kTimeoutMaxS);
        break;
      case 'v':
        options.verbose = true;
        break;
      case 'h':
        std::fputs(kHelp, stdout);
        std::exit(0);
      case kOp:
        options.operation = ParseName("--op", optarg, kOperations);
        break;
      case kDuration:
        options.duration_s = ParseInt("--duration", optarg, 1, kDurationMaxS);
        break;
      case kAlgo:
        options.algorithm = ParseName("--algo", optarg, kAlgorithms);
        break;
      case kApi:
        options.api = ParseApi(optarg);
        break;
      case kDev:
        options.device = ParseInt("--dev", optarg, 0, 1 << 16);
        break;
      case kChannels:
        options.channels = ParseInt("--channels", optarg, 1, kChannelsMax);
        break;
      case kSlice:
        options.slice_bytes =
            ParseNumber("--slice", optarg, kSliceMin, kSliceMax, true);
        break;
      case kRanks:
        options.ranks = ParseInt("--ranks", optarg, 2, kRanksMax);
        break;
      case kRank:
        options.rank = ParseInt("--rank", optarg, 0, kRanksMax - 1);
        break;
      case kRoot:
        options.root = optarg;
        break;
      case kJson:
        options.json_file = optarg;
        break;
      case kRootFd:
        options.root_fd = ParseInt("--launched-root-fd", optarg, 0, 1 << 20);
        break;
      case kLaunched:
        options.launched = true;
        break;
      case kStatsFile:
        options.stats_file = optarg;
        break;
      case ':':
        FailUsage("%s wants a value", argv[optind - 1]);
      default:
        FailUsage("%s is not an option", argv[optind - 1]);
    }
  }
  if (optind < argc) FailUsage("'%s' is not an option", argv[optind]);
  CheckTogether(&options, max_given);
  return options;
}

std::string Fingerprint(const Options& options) {
  char text[256];
  std::snprintf(
      text, sizeof(text),
      "--ranks %d --op %s --algo %s --type %s -b %llu -e %llu -f %d -n %d "
      "-w %d -c %d --duration %d --channels %d --slice %zu -R %d",
      options.ranks, Name(options.operation), Name(options.algorithm),
      Name(options.type), static_cast<unsigned long long>(options.bytes_min),
      static_cast<unsigned long long>(options.bytes_max), options.step_factor,
      options.iterations, options.warmups, options.checks, options.duration_s,
      options.channels, options.slice_bytes, options.in_place ? 1 : 0);
  return text;
}

}  // namespace hawser::bench
