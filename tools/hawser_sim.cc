// Runs simulated networks full of faults, one per seed, and says which promise
// was broken where. And runs large ones, and says how long they took: that half
// is in hawser_sim_run.cc.
//
// Why processes: a broken HAWSER_CHECK stops its process, and a turn that never
// ends never returns. So each worker notes its seed in memory that is shared,
// and whoever dies is replaced, and named by its seed.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "tools/hawser_sim_run.h"
#include "transport/base/check.h"
#include "transport/sim/plan.h"
#include "transport/sim/swarm.h"

ABSL_FLAG(uint64_t, seeds, 1000, "swarm: how many seeds are run");
ABSL_FLAG(uint64_t, first, 1, "swarm: the first of them");
ABSL_FLAG(int, jobs, 2, "swarm: processes that share the work, 1 to 256");
ABSL_FLAG(uint64_t, seed, 1, "replay, run: the seed");
ABSL_FLAG(std::string, scheduler, "",
          "run: whatever the scenario says; swarm, replay: of every host");
ABSL_FLAG(std::string, congestion, "",
          "run: whatever the scenario says; swarm, replay: of every host");
ABSL_FLAG(std::string, window_per, "", "swarm, replay: of every host");
ABSL_FLAG(std::string, hosts, "", "run: paths or reference");
ABSL_FLAG(int, paths, 0, "run: paths per peer; 0: what the scenario says");
ABSL_FLAG(int, repeat, 1, "run: so many seeds, from --seed on");
ABSL_FLAG(std::vector<std::string>, set, {},
          "run: key=value,... as topology.hosts=128; overrules the scenario");
ABSL_FLAG(bool, json, false, "run: prints JSON");
ABSL_FLAG(bool, csv, false, "run: prints CSV");
ABSL_FLAG(bool, verbose, false,
          "replay: says what is planned; swarm: a line for every seed");

namespace {

using hawser::sim::MakePlan;
using hawser::sim::Plan;
using hawser::sim::RunPlan;
using hawser::sim::SwarmResult;

constexpr char kUsage[] =
    "random networks, applications and faults in virtual time.\n\n"
    "  hawser_sim swarm [--seeds=N] [--first=N] [--jobs=N] [--verbose]\n"
    "      [--scheduler=NAME] [--congestion=NAME] [--window_per=path|plane]\n"
    "      runs one experiment per seed, and names those that fail\n"
    "  hawser_sim replay --seed=N [--verbose], and the same choices\n"
    "      runs one of them again, exactly as it was\n"
    "  hawser_sim run SCENARIO|FILE [--scheduler=NAME] [--congestion=NAME]\n"
    "      [--hosts=KIND] [--paths=N] [--seed=N] [--repeat=N]\n"
    "      [--set=KEY=VALUE,...] [--json|--csv]\n"
    "      runs a large network, and says how long its messages took\n"
    "  hawser_sim list; hawser_sim show SCENARIO\n"
    "      the scenarios that have a name; what one of them is\n\n"
    "Exits 1 if a promise was broken or a run did not finish, 2 if it was\n"
    "called wrongly.";

// Longer than any seed takes by far, under any sanitizer.
constexpr unsigned kSecondsPerSeed = 120;

// One worker's, where its parent can see it.
struct Progress {
  uint64_t seed = 0;  // Being run, or the last one that was.
  uint64_t passed = 0, failed = 0;
  bool done = false;
};

// What is chosen holds for every host; the rest is drawn.
struct Choice {
  const char* flag;
  std::string value;
  std::string hawser::Config::*field;
};

std::vector<Choice> Choices() {
  using hawser::Config;
  return {{"scheduler", absl::GetFlag(FLAGS_scheduler), &Config::scheduler},
          {"congestion", absl::GetFlag(FLAGS_congestion), &Config::congestion},
          {"window_per", absl::GetFlag(FLAGS_window_per), &Config::window_per}};
}

void Choose(hawser::Config& config) {
  for (const Choice& choice : Choices()) {
    if (!choice.value.empty()) config.*choice.field = choice.value;
  }
}

bool ChoicesAreValid() {
  hawser::Config config;
  Choose(config);
  const absl::Status status = config.Validate();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok();
}

Plan PlanOf(uint64_t seed) {
  Plan plan = MakePlan(seed);
  for (auto& host : plan.hosts) Choose(host.config);
  return plan;
}

void PrintResult(uint64_t seed, const SwarmResult& result) {
  std::printf("seed %" PRIu64 ": %s; hash %016" PRIx64
              ", %.3f virtual ms, %" PRIu64 " messages, %" PRIu64
              " bytes, %" PRIu64 " packets, %" PRIu64 " turns\n",
              seed, result.ok() ? "passed" : "FAILED", result.hash,
              static_cast<double>(result.virtual_time.nanos()) / 1e6,
              result.messages, result.bytes, result.packets, result.turns);
}

void PrintFailure(uint64_t seed, const std::string& problem) {
  std::printf("seed %" PRIu64
              " FAILED: %s\n  build/release/hawser_sim replay "
              "--seed=%" PRIu64,
              seed, problem.c_str(), seed);
  for (const Choice& choice : Choices()) {
    if (choice.value.empty()) continue;
    std::printf(" --%s=%s", choice.flag, choice.value.c_str());
  }
  std::printf("\n");
}

// The seeds from `begin` on, in steps of `stride`.
[[noreturn]] void Work(uint64_t begin, uint64_t end, uint64_t stride,
                       Progress* progress) {
  for (uint64_t seed = begin; seed < end; seed += stride) {
    progress->seed = seed;
    alarm(kSecondsPerSeed);
    const SwarmResult result = RunPlan(PlanOf(seed));
    alarm(0);
    ++(result.ok() ? progress->passed : progress->failed);
    if (!result.ok()) PrintFailure(seed, result.problem);
    if (absl::GetFlag(FLAGS_verbose)) PrintResult(seed, result);
    std::fflush(stdout);
  }
  progress->done = true;
  std::_Exit(0);
}

pid_t StartWorker(uint64_t begin, uint64_t end, uint64_t stride,
                  Progress* progress) {
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) Work(begin, end, stride, progress);
  HAWSER_CHECK(pid > 0);
  return pid;
}

int Swarm() {
  const uint64_t first = absl::GetFlag(FLAGS_first);
  const uint64_t end = first + absl::GetFlag(FLAGS_seeds);
  const int jobs = absl::GetFlag(FLAGS_jobs);
  if (jobs < 1 || jobs > 256) {
    std::fprintf(stderr, "--jobs=%d is not valid; expected 1..256\n", jobs);
    return 2;
  }
  void* shared =
      mmap(nullptr, sizeof(Progress) * static_cast<size_t>(jobs),
           PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  HAWSER_CHECK(shared != MAP_FAILED);
  auto* progress = static_cast<Progress*>(shared);
  const auto stride = static_cast<uint64_t>(jobs);
  std::vector<pid_t> workers;
  for (int w = 0; w < jobs; ++w) {
    const uint64_t begin = first + static_cast<uint64_t>(w);
    workers.push_back(StartWorker(begin, end, stride, &progress[w]));
  }
  for (int running = jobs; running > 0;) {
    int status = 0;
    const pid_t pid = wait(&status);
    HAWSER_CHECK(pid > 0);
    size_t w = 0;
    while (workers[w] != pid) ++w;
    if (progress[w].done) {
      --running;
      continue;
    }
    ++progress[w].failed;
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    PrintFailure(progress[w].seed,
                 signal == SIGALRM ? "it takes too long"
                 : signal != 0
                     ? std::string("it died of a signal: ") + strsignal(signal)
                     : "its process ended");
    workers[w] =
        StartWorker(progress[w].seed + stride, end, stride, &progress[w]);
  }
  uint64_t passed = 0, failed = 0;
  for (int w = 0; w < jobs; ++w) {
    passed += progress[w].passed;
    failed += progress[w].failed;
  }
  std::printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

int Replay() {
  const uint64_t seed = absl::GetFlag(FLAGS_seed);
  const Plan plan = PlanOf(seed);
  if (absl::GetFlag(FLAGS_verbose)) {
    std::fputs(ToString(plan).c_str(), stdout);
    std::fflush(stdout);
  }
  const SwarmResult result = RunPlan(plan);
  if (absl::GetFlag(FLAGS_verbose)) std::fputs(result.state.c_str(), stdout);
  PrintResult(seed, result);
  if (!result.ok()) PrintFailure(seed, result.problem);
  return result.ok() ? 0 : 1;
}

int Run(std::string_view scenario) {
  hawser::tools::RunFlags flags;
  flags.scheduler = absl::GetFlag(FLAGS_scheduler);
  flags.congestion = absl::GetFlag(FLAGS_congestion);
  flags.hosts = absl::GetFlag(FLAGS_hosts);
  flags.paths = absl::GetFlag(FLAGS_paths);
  flags.seed = absl::GetFlag(FLAGS_seed);
  flags.repeat = absl::GetFlag(FLAGS_repeat);
  flags.set = absl::GetFlag(FLAGS_set);
  flags.json = absl::GetFlag(FLAGS_json);
  flags.csv = absl::GetFlag(FLAGS_csv);
  if (flags.repeat < 1) {
    std::fprintf(stderr, "--repeat=%d is not valid; expected 1 or more\n",
                 flags.repeat);
    return 2;
  }
  return hawser::tools::RunScenario(scenario, flags);
}

}  // namespace

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(kUsage);
  const std::vector<char*> words = absl::ParseCommandLine(argc, argv);
  const std::string_view what = words.size() == 2 ? words[1] : "";
  if (what == "swarm") return ChoicesAreValid() ? Swarm() : 2;
  if (what == "replay") return ChoicesAreValid() ? Replay() : 2;
  if (what == "list") return hawser::tools::ListScenarios();
  if (words.size() == 3 && std::string_view(words[1]) == "show") {
    return hawser::tools::ShowScenario(words[2]);
  }
  if (words.size() == 3 && std::string_view(words[1]) == "run") {
    return Run(words[2]);
  }
  std::fprintf(stderr, "%s\n", kUsage);
  return 2;
}
