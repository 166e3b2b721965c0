#include "transport/datapath/dpdk/eal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace hawser {
namespace {

// EAL prints its usage on the process's stdout at an argument that it does not
// know, so it sees none. (DPDK 22.11, Getting Started Guide for Linux, "EAL
// parameters"; some have a value in the next word.)
constexpr std::string_view kWithValue[] = {"-a",
                                           "-b",
                                           "-c",
                                           "-d",
                                           "-l",
                                           "-m",
                                           "-n",
                                           "-r",
                                           "-s",
                                           "-S",
                                           "--allow",
                                           "--base-virtaddr",
                                           "--block",
                                           "--file-prefix",
                                           "--huge-dir",
                                           "--iova-mode",
                                           "--lcores",
                                           "--log-level",
                                           "--main-lcore",
                                           "--mbuf-pool-ops-name",
                                           "--service-corelist",
                                           "--socket-limit",
                                           "--socket-mem",
                                           "--vdev",
                                           "--vfio-intr",
                                           "--vfio-vf-token",
                                           "--force-max-simd-bitwidth"};
constexpr std::string_view kWithout[] = {"--create-uio-dev",
                                         "--huge-unlink",
                                         "--in-memory",
                                         "--legacy-mem",
                                         "--match-allocations",
                                         "--no-hpet",
                                         "--no-huge",
                                         "--no-pci",
                                         "--no-shconf",
                                         "--no-telemetry",
                                         "--single-file-segments",
                                         "--telemetry",
                                         "--vmware-tsc-map"};
// A process that has its memory under one of these has it from there.
constexpr std::string_view kOfMemory[] = {
    "--in-memory",   "--no-huge",    "--file-prefix",         "--huge-dir",
    "--huge-unlink", "--legacy-mem", "--single-file-segments"};
constexpr std::string_view kOfCores[] = {"-c", "-l", "--lcores"};

template <size_t kCount>
bool IsOne(std::string_view option, const std::string_view (&of)[kCount]) {
  return std::find(std::begin(of), std::end(of), option) != std::end(of);
}

struct Arguments {
  std::vector<std::string> words;
  bool Has(std::string_view option) const {
    return std::any_of(words.begin(), words.end(), [&](const auto& word) {
      return word == option || word.starts_with(std::string(option) + "=") ||
             (option.size() == 2 && word.starts_with(option));
    });
  }
  template <size_t kCount>
  bool HasOne(const std::string_view (&of)[kCount]) const {
    return std::any_of(std::begin(of), std::end(of),
                       [this](std::string_view option) { return Has(option); });
  }
};

// False, and a sentence in `error`, at the first word that EAL would not take.
bool Check(const Arguments& arguments, std::string* error) {
  bool value_next = false;
  for (const std::string& word : arguments.words) {
    if (value_next) {
      value_next = false;
      continue;
    }
    const std::string_view option =
        word.starts_with("--")
            ? std::string_view(word).substr(0, word.find('='))
            : std::string_view(word).substr(0, 2);
    const bool has_value = word.size() > option.size();
    value_next = IsOne(option, kWithValue) && !has_value;
    if (!IsOne(option, kWithValue) && !IsOne(option, kWithout) &&
        !(option == "--huge-unlink" && has_value)) {
      *error = "HAWSER_DPDK_EAL: \"" + word +
               "\" is no argument of EAL's that can be used here";
      return false;
    }
  }
  return true;
}

size_t FreeHugepages() {
  size_t all = 0;
  std::error_code none;
  for (const auto& size :
       std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", none)) {
    size_t pages = 0;
    std::ifstream(size.path() / "free_hugepages") >> pages;
    all += pages;
  }
  return all;
}

// The cores that this thread may run on, as --lcores wants them: one lcore.
std::string OneLcore(const cpu_set_t& cores) {
  std::string list;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &cores)) continue;
    list += (list.empty() ? "" : ",") + std::to_string(core);
  }
  return "0@(" + list + ")";
}

// What DPDK says, the last of it. The stream's own lock guards it.
struct Log {
  static constexpr size_t kMostBytes = 4096;
  FILE* stream = nullptr;
  std::string text;

  static ssize_t Write(void* cookie, const char* bytes, size_t count) {
    std::string& text = static_cast<Log*>(cookie)->text;
    text.append(bytes, count);
    if (text.size() > kMostBytes) text.erase(0, text.size() - kMostBytes);
    return static_cast<ssize_t>(count);
  }
  static Log& Get() {
    static Log* const log = [] {  // Other threads' to the last: never freed.
      auto* made = new Log;
      cookie_io_functions_t functions = {};
      functions.write = &Log::Write;
      made->stream = fopencookie(made, "w", functions);
      if (made->stream != nullptr) setvbuf(made->stream, nullptr, _IONBF, 0);
      return made;
    }();
    return *log;
  }
};

// The libraries below af_xdp write to stderr what they think of, unless they
// are given somebody to tell; warnings may be the reason of a failure.
[[gnu::format(printf, 2, 0)]] int TakeWarning(int level, const char* format,
                                              va_list values) {
  constexpr int kWarning = 0;  // enum libbpf_print_level, and libxdp's.
  if (level > kWarning || Log::Get().stream == nullptr) return 0;
  return std::vfprintf(Log::Get().stream, format, values);
}

void HearXdp() {
  constexpr std::array<const char*, 2> kWho[] = {
      {"libbpf.so.1", "libbpf_set_print"}, {"libxdp.so.1", "libxdp_set_print"}};
  for (const auto& [library, name] : kWho) {
    // Only where a driver has loaded it; it stays, as the driver does.
    void* const loaded = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    if (loaded == nullptr) continue;
    using Set = void* (*)(decltype(&TakeWarning));
    if (const auto set = reinterpret_cast<Set>(dlsym(loaded, name))) {
      set(&TakeWarning);
    }
  }
}

// The value of `key` in "net_memif0,a=1,b=2"; or empty.
std::string ValueIn(const std::string& device, const std::string& key) {
  const size_t at = ("," + device).find("," + key + "=");
  if (at == std::string::npos) return "";
  const std::string rest = device.substr(at + key.size() + 1);
  return rest.substr(0, rest.find(','));
}

// A memif server that was killed leaves its socket, where that is a file, and
// the driver does not start on one. It goes if nobody listens there.
void RemoveDeadSocket(const std::string& device) {
  if (device.find("net_memif") == std::string::npos ||
      ValueIn(device, "role") != "server" ||
      ValueIn(device, "socket-abstract") != "no") {
    return;
  }
  const std::string path = ValueIn(device, "socket");
  sockaddr_un address = {};
  if (path.empty() || path.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const bool dead = connect(fd, reinterpret_cast<const sockaddr*>(&address),
                            sizeof address) != 0 &&
                    errno == ECONNREFUSED;
  close(fd);
  if (dead) unlink(path.c_str());
}

struct Start {
  std::string arguments;
  std::string error;  // Empty: it has started.
};

Start StartNow(const std::string& text) {
  Start start{text, ""};
  Arguments arguments;
  std::istringstream in(text);
  std::copy(std::istream_iterator<std::string>(in), {},
            std::back_inserter(arguments.words));
  if (!Check(arguments, &start.error)) return start;

  cpu_set_t cores;
  pthread_getaffinity_np(pthread_self(), sizeof cores, &cores);
  auto& words = arguments.words;
  const bool no_huge = arguments.Has("--no-huge");
  if (!no_huge && FreeHugepages() == 0) {
    start.error =
        "DPDK finds no free hugepage; to mend it: echo 512 > "
        "/proc/sys/vm/nr_hugepages, or HAWSER_DPDK_EAL=\"--no-huge -m 512 " +
        text + "\", which is slower and for virtual ports only";
    return start;
  }
  // What EAL shares between processes by default would make them collide.
  if (no_huge && !arguments.Has("--no-shconf")) words.push_back("--no-shconf");
  if (!arguments.HasOne(kOfMemory)) words.push_back("--in-memory");
  if (!arguments.HasOne(kOfCores))
    words.push_back("--lcores=" + OneLcore(cores));
  if (!arguments.Has("--telemetry") && !arguments.Has("--no-telemetry")) {
    words.push_back("--no-telemetry");
  }
  for (const std::string& word : words) RemoveDeadSocket(word);
  words.insert(words.begin(), "hawser");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  if (Log::Get().stream != nullptr) rte_openlog_stream(Log::Get().stream);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int started = rte_eal_init(static_cast<int>(words.size()), argv.data());
  const int why = rte_errno;
  HearXdp();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
  if (started < 0) {
    const std::string said = LastWords();
    start.error = std::string("DPDK does not start: ") + rte_strerror(why) +
                  (said.empty() ? "" : " (" + said + ")") + Mend(said);
  }
  return start;
}

}  // namespace

bool StartEal(const std::string& arguments, std::string* error) {
  static const Start start = StartNow(arguments);
  *error = start.error;
  if (error->empty() && start.arguments != arguments) {
    *error = "DPDK has been started in this process with HAWSER_DPDK_EAL=\"" +
             start.arguments + "\", and starts only once";
  }
  return error->empty();
}

std::string Mend(const std::string& words) {
  const auto says = [&](const char* what) {
    return words.find(what) != std::string::npos;
  };
  if (geteuid() != 0 &&
      (says("AF_PACKET") || says("xdp") || says("XDP") || says("TUN") ||
       says("not permitted") || says("ermission"))) {
    return "; to mend it: run as root, or setcap "
           "cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep PROGRAM";
  }
  if (says("interface") || says("No such device")) {
    return "; to mend it: name an interface that `ip link` shows";
  }
  if (says("MTU is too large")) {
    return "; to mend it: ip link set DEVICE mtu 3506, at both ends of the "
           "cable";
  }
  if (says("Address already in use")) {
    return "; to mend it: end the process that has this socket, or name "
           "another";
  }
  if (says("get hugepage") || says("hugepages")) {
    return "; to mend it: echo 512 > /proc/sys/vm/nr_hugepages";
  }
  return "";
}

std::string LastWords() {
  Log& log = Log::Get();
  if (log.stream == nullptr) return "";
  flockfile(log.stream);
  std::string words = log.text;
  funlockfile(log.stream);
  constexpr size_t kMostBytes = 400;
  while (!words.empty() && words.back() == '\n') words.pop_back();
  if (words.size() > kMostBytes) {
    const size_t line = words.find('\n', words.size() - kMostBytes);
    words.erase(
        0, line == std::string::npos ? words.size() - kMostBytes : line + 1);
  }
  for (size_t at = 0; (at = words.find('\n', at)) != std::string::npos;) {
    words.replace(at, 1, "; ");
  }
  return words;
}

}  // namespace hawser
