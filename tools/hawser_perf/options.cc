#include "tools/hawser_perf/options.h"

#include <getopt.h>

#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace hawser::perf {
namespace {

// The least that says something, and what others measure with.
constexpr uint64_t kLatencySize = 64;

constexpr char kHelp[] =
    R"(hawser_perf: bandwidth and latency between two hosts, over Hawser.

  hawser_perf server [--bind ADDR] [--port P] [--once]
  hawser_perf client HOST [--port P] [options]

The test (client; sizes take K, M or G):
      --size SIZE       of a message          [1M; with --latency 64]
      --duration SEC    0.05 to 86400         [10]
      --flows N         1 to 1024, each way   [1]
      --depth N         messages of a flow that are outstanding, 1 to 32  [8]
      --reverse         the server sends
      --both-ways       both send
      --latency         one message back and forth: round trip times
      --verify          check every byte that arrives
      --blocking        sleep where there is nothing to do, instead of polling
                        as NCCL does; both sides

Where:
      --bind ADDR       address that the server listens at  [all]
  -p, --port P          for the control line; server: 0 takes a free one [18515]
      --once            end after one test

What is told:
      --json FILE       everything, with time series of 50 ms
  -q, --quiet           client: only the results; server: only errors
  -v, --verbose         the library's remarks as well
  -h, --help            this

Which interfaces carry the data, how many paths there are, and all else is
Hawser's own configuration: HAWSER_IFNAME, HAWSER_PATHS... (docs/config.md).

Exit status: 0 good, 1 an error or wrong bytes, 2 bad options.
)";

// Long options without a short name.
enum LongOnly {
  kSize = 256,
  kDuration,
  kFlows,
  kDepth,
  kReverse,
  kBothWays,
  kLatency,
  kVerify,
  kBlocking,
  kBind,
  kOnce,
  kJson
};

constexpr option kLongOptions[] = {
    {"size", required_argument, nullptr, kSize},
    {"duration", required_argument, nullptr, kDuration},
    {"flows", required_argument, nullptr, kFlows},
    {"depth", required_argument, nullptr, kDepth},
    {"reverse", no_argument, nullptr, kReverse},
    {"both-ways", no_argument, nullptr, kBothWays},
    {"latency", no_argument, nullptr, kLatency},
    {"verify", no_argument, nullptr, kVerify},
    {"blocking", no_argument, nullptr, kBlocking},
    {"bind", required_argument, nullptr, kBind},
    {"once", no_argument, nullptr, kOnce},
    {"json", required_argument, nullptr, kJson},
    {"port", required_argument, nullptr, 'p'},
    {"quiet", no_argument, nullptr, 'q'},
    {"verbose", no_argument, nullptr, 'v'},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0},
};

template <typename... Words>
[[noreturn]] void FailUsage(const Words&... words) {
  const std::string line =
      absl::StrCat("hawser_perf: ", words..., " (--help shows the options)\n");
  std::fputs(line.c_str(), stderr);
  std::exit(kExitUsage);
}

uint64_t ParseSize(const char* name, const char* text) {
  std::string digits = text;
  int shift = 0;
  if (!digits.empty()) {
    switch (std::toupper(static_cast<unsigned char>(digits.back()))) {
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
        break;
    }
    if (shift != 0) digits.pop_back();
  }
  uint64_t number = 0;
  if (!absl::SimpleAtoi(digits, &number) || number < 1 ||
      number > kSizeMax >> shift) {
    FailUsage(name, ": '", text, "' is not a size from 1 to 1G");
  }
  return number << shift;
}

int ParseInt(const char* name, const char* text, int low, int high) {
  int number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < low || number > high) {
    FailUsage(name, ": '", text, "' is not a number from ", low, " to ", high);
  }
  return number;
}

double ParseSeconds(const char* name, const char* text) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number) ||
      !(number >= kDurationMin && number <= kDurationMax)) {
    FailUsage(name, ": '", text, "' is not from ", kDurationMin, " to ",
              kDurationMax, " seconds");
  }
  return number;
}

// What the line asks for, before the defaults that depend on other options.
struct Asked {
  std::optional<uint64_t> size_bytes;
  bool reverse = false, both_ways = false, flows = false;
  std::string of_server, of_client;  // The last option of each kind.
};

void Take(int letter, Options* options, Asked* asked) {
  Plan& plan = options->plan;
  switch (letter) {
    case kSize:
      asked->size_bytes = ParseSize("--size", optarg);
      break;
    case kDuration:
      plan.duration_s = ParseSeconds("--duration", optarg);
      break;
    case kFlows:
      plan.flows = ParseInt("--flows", optarg, 1, kFlowsMax);
      asked->flows = true;
      break;
    case kDepth:
      plan.depth = ParseInt("--depth", optarg, 1, kDepthMax);
      break;
    case kReverse:
      asked->reverse = true;
      break;
    case kBothWays:
      asked->both_ways = true;
      break;
    case kLatency:
      plan.latency = true;
      break;
    case kVerify:
      plan.verify = true;
      break;
    case kBlocking:
      plan.blocking = true;
      break;
    case kBind:
      options->bind = optarg;
      break;
    case kOnce:
      options->once = true;
      break;
    case kJson:
      options->json_file = optarg;
      break;
    case 'p':
      options->port = ParseInt("--port", optarg, 0, 65535);
      break;
    case 'q':
      options->quiet = true;
      break;
    case 'v':
      options->verbose = true;
      break;
    case 'h':
      std::fputs(kHelp, stdout);
      std::exit(0);
    default:
      break;
  }
}

// What no single option can know.
void CheckTogether(int words, char** word, const Asked& asked,
                   Options* options) {
  const std::string role = words > 0 ? word[0] : "";
  if (role != "server" && role != "client") {
    FailUsage("expected \"server\" or \"client HOST\"",
              role.empty() ? "" : absl::StrCat(", and not '", role, "'"));
  }
  options->server = role == "server";
  const int expected = options->server ? 1 : 2;
  if (words > expected) FailUsage("'", word[expected], "' is not an option");
  if (words < expected) FailUsage("client: expected a HOST");
  if (options->server) {
    if (!asked.of_client.empty()) {
      FailUsage(asked.of_client, " is an option of the client");
    }
    return;
  }
  options->host = word[1];
  if (options->host.empty()) FailUsage("client: expected a HOST");
  if (options->port == 0) FailUsage("--port: a client cannot reach port 0");
  if (!asked.of_server.empty()) {
    FailUsage(asked.of_server, " is an option of the server");
  }
  Plan& plan = options->plan;
  if (plan.latency && (asked.reverse || asked.both_ways || asked.flows)) {
    FailUsage(
        "--latency goes both ways on one flow, without --reverse, --both-ways "
        "or --flows");
  }
  if (asked.reverse && asked.both_ways) {
    FailUsage("--reverse and --both-ways exclude each other");
  }
  plan.forward = !asked.reverse;
  plan.backward = asked.reverse || asked.both_ways || plan.latency;
  plan.size_bytes =
      asked.size_bytes.value_or(plan.latency ? kLatencySize : plan.size_bytes);
  if (const absl::Status good = CheckPlan(plan); !good.ok()) {
    FailUsage(good.message());
  }
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Options options;
  Asked asked;
  opterr = 0;  // We say it ourselves, in one line.
  int letter;
  int index = 0;
  while ((letter = getopt_long(argc, argv, ":p:qvh", kLongOptions, &index)) !=
         -1) {
    if (letter == ':') FailUsage(argv[optind - 1], " wants a value");
    if (letter == '?') FailUsage(argv[optind - 1], " is not an option");
    Take(letter, &options, &asked);
    if (letter == kBind || letter == kOnce) {
      asked.of_server = absl::StrCat("--", kLongOptions[index].name);
    } else if (letter >= kSize) {
      asked.of_client = absl::StrCat("--", kLongOptions[index].name);
    }
  }
  CheckTogether(argc - optind, argv + optind, asked, &options);
  return options;
}

}  // namespace hawser::perf
