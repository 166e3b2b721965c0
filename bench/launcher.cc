#include "bench/launcher.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "bench/bootstrap.h"
#include "bench/fail.h"
#include "bench/paths.h"

namespace hawser::bench {
namespace {

constexpr char kSelf[] = "/proc/self/exe";
// After the first bad end, so long may the others end, and say why, by
// themselves.
constexpr long kGraceNs = 300 * 1000 * 1000;
// How often the ranks are looked at even if no signal came.
constexpr time_t kLookS = 1;
constexpr int kSignalExit = 128;  // As shells count: 128 + signal.

// As wait() tells of a process that exited with 1.
constexpr int kStatusUnknown = 1 << 8;

struct Child {
  pid_t pid = -1;  // -1 once it has been reaped.
  int status = 0;
};

// A folder for what the ranks' plugins write at the end, gone with us.
class StatsFolder {
 public:
  StatsFolder() {
    // A document that the user asked for goes where he wants it.
    if (std::getenv(kStatsVariable) != nullptr) return;
    std::string name = TemporaryFolder() + "/all_reduce_perf.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
      Fail("%s: %s", name.c_str(), std::strerror(errno));
    }
    name_ = name;
  }
  ~StatsFolder() {
    if (name_.empty()) return;
    std::error_code ignored;
    std::filesystem::remove_all(name_, ignored);
  }
  StatsFolder(const StatsFolder&) = delete;
  StatsFolder& operator=(const StatsFolder&) = delete;

  std::string FileOf(int rank) const {
    return name_.empty() ? "" : name_ + "/rank-" + std::to_string(rank);
  }

 private:
  std::string name_;
};

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  return signals;
}

std::vector<std::string> ArgumentsOf(int rank, int root_fd,
                                     const std::string& stats_file, int argc,
                                     char** argv) {
  std::vector<std::string> arguments(argv, argv + argc);
  const auto add = [&](const char* name, const std::string& value) {
    arguments.push_back(name);
    arguments.push_back(value);
  };
  add("--rank", std::to_string(rank));
  add("--root", "127.0.0.1:" + std::to_string(PortOf(root_fd)));
  if (rank == 0) add("--launched-root-fd", std::to_string(root_fd));
  if (!stats_file.empty()) add("--launched-stats-file", stats_file);
  arguments.push_back("--launched");
  return arguments;
}

[[noreturn]] void BecomeRank(int rank, int root_fd, pid_t launcher,
                             const sigset_t& old_signals,
                             std::vector<std::string> arguments) {
  // Ended by the kernel when the launcher dies, however it dies. If it died
  // before this line, nobody would tell us.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher) _exit(kExitWrong);
  sigprocmask(SIG_SETMASK, &old_signals, nullptr);
  if (rank == 0) fcntl(root_fd, F_SETFD, 0);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(kSelf, pointers.data());
  Fail("cannot start rank %d: %s", rank, std::strerror(errno));
}

// Reaps those that have ended; never waits.
void Reap(std::vector<Child>* children) {
  for (Child& child : *children) {
    if (child.pid < 0) continue;
    const pid_t reaped = waitpid(child.pid, &child.status, WNOHANG);
    if (reaped == 0) continue;
    // Reaped by another, so nobody knows how it ended: not well, then.
    if (reaped < 0) child.status = kStatusUnknown;
    child.pid = -1;
  }
}

bool EndedBadly(const Child& child) {
  return child.pid < 0 &&
         !(WIFEXITED(child.status) && WEXITSTATUS(child.status) == 0);
}

// The rank that failed has said why; one that was killed could not.
void TellOfKilled(const std::vector<Child>& children) {
  for (size_t rank = 0; rank < children.size(); ++rank) {
    const Child& child = children[rank];
    if (child.pid >= 0 || !WIFSIGNALED(child.status)) continue;
    const int signal = WTERMSIG(child.status);
    std::fprintf(stderr,
                 "all_reduce_perf: rank %zu was killed by signal %d (%s)\n",
                 rank, signal, strsignal(signal));
  }
}

void KillAll(std::vector<Child>* children) {
  for (const Child& child : *children) {
    if (child.pid >= 0) kill(child.pid, SIGKILL);
  }
  for (Child& child : *children) {
    if (child.pid >= 0) waitpid(child.pid, &child.status, 0);
    child.pid = -1;
  }
}

// Returns when all have ended well (0), one has not (kExitWrong), or a signal
// asks for the end (128 + signal).
int Watch(const sigset_t& signals, std::vector<Child>* children) {
  for (;;) {
    const timespec look{kLookS, 0};
    const int signal = sigtimedwait(&signals, nullptr, &look);
    if (signal > 0 && signal != SIGCHLD) return kSignalExit + signal;
    Reap(children);
    size_t ended = 0;
    bool bad = false;
    for (const Child& child : *children) {
      ended += child.pid < 0;
      bad |= EndedBadly(child);
    }
    if (bad) return kExitWrong;
    if (ended == children->size()) return 0;
  }
}

}  // namespace

int RunLauncher(const Options& options, int argc, char** argv) {
  // Whoever started us may ignore it, and where it is ignored a child that has
  // ended is gone before we ask how. The ranks inherit this.
  signal(SIGCHLD, SIG_DFL);
  const StatsFolder stats;
  const int root_fd = ListenAt("127.0.0.1:0");
  const sigset_t signals = WatchedSignals();
  sigset_t old_signals;
  sigprocmask(SIG_BLOCK, &signals, &old_signals);

  const pid_t launcher = getpid();
  std::vector<Child> children;
  int status = 0;
  for (int rank = 0; rank < options.ranks; ++rank) {
    std::vector<std::string> arguments =
        ArgumentsOf(rank, root_fd, stats.FileOf(rank), argc, argv);
    const pid_t pid = fork();
    if (pid == 0) {
      BecomeRank(rank, root_fd, launcher, old_signals, std::move(arguments));
    }
    if (pid < 0) {
      std::fprintf(stderr, "all_reduce_perf: cannot start rank %d: %s\n", rank,
                   std::strerror(errno));
      status = kExitWrong;
      break;
    }
    children.push_back({pid, 0});
  }
  close(root_fd);

  if (status == 0) status = Watch(signals, &children);
  if (status == kExitWrong) {
    const timespec grace{0, kGraceNs};
    nanosleep(&grace, nullptr);
    Reap(&children);
    TellOfKilled(children);
  }
  KillAll(&children);
  return status;
}

}  // namespace hawser::bench
