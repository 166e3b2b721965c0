// What a process holds for its peers and for its flows: resident memory and
// descriptors, before and after it has connected.
//
//   memory_bench            the table in docs/performance.md
//   memory_bench P F        P peers with F flows each
//
// The process that is measured has one endpoint. Another one has an endpoint
// for each peer, over loopback. HAWSER_ variables hold for both; 32 paths where
// none says otherwise.
#include <dirent.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/datapath/interfaces.h"
#include "transport/engine/config.h"
#include "transport/engine/endpoint.h"
#include "transport/engine/rendezvous.h"

namespace hawser {
namespace {

constexpr int kFlowsMost = 10'000, kPeersMost = 1000;
constexpr uint32_t kMessageBytes = 64;

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "memory_bench: %s\n", why.c_str());
  std::_Exit(1);
}

template <class T>
T Must(absl::StatusOr<T> made) {
  if (!made.ok()) Fail(std::string(made.status().message()));
  return *std::move(made);
}

struct Held {
  double kib = 0;  // RssAnon.
  int descriptors = 0;
};

Held Measure() {
  Held held;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "RssAnon:") status >> held.kib;
  }
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) Fail("cannot read /proc/self/fd");
  while (readdir(folder) != nullptr) ++held.descriptors;
  closedir(folder);
  held.descriptors -= 3;  // ".", "..", and the folder itself.
  return held;
}

// The line between the two processes.
void Say(int fd, const void* bytes, size_t size) {
  if (write(fd, bytes, size) != static_cast<ssize_t>(size)) {
    Fail("the other process is gone");
  }
}
void Hear(int fd, void* bytes, size_t size) {
  if (recv(fd, bytes, size, MSG_WAITALL) != static_cast<ssize_t>(size)) {
    Fail("the other process is gone");
  }
}

// One process: `endpoints` of its own, and as many flows of each as it takes to
// have `flows` with each of the other's.
class Side {
 public:
  Side(const Config& config, int endpoints) {
    const auto loopback = Must(FindInterfaces("=lo", AddressFamily::kIpv4));
    for (int i = 0; i < endpoints; ++i) {
      endpoints_.push_back(Must(Endpoint::Create(config, loopback, {})));
    }
  }

  // Says where it listens, and takes `flows` in all, dealt out evenly.
  void Receive(int line, int flows) {
    std::vector<std::unique_ptr<Listener>> listeners;
    for (const auto& endpoint : endpoints_) {
      listeners.push_back(Must(Listener::Create(*endpoint)));
      Say(line, listeners.back()->handle().data(), kListenHandleBytes);
    }
    while (flows_.size() < static_cast<size_t>(flows)) {
      for (const auto& listener : listeners) {
        auto flow = Must(listener->Accept());
        if (flow) flows_.push_back(std::move(flow));
      }
      char word;
      if (recv(line, &word, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        Fail("the other process is gone");
      }
    }
  }

  // Every endpoint of this side to every listener of the other.
  void Send(int line, int listeners, int flows_each) {
    for (int i = 0; i < listeners; ++i) {
      ListenHandle handle;
      Hear(line, handle.data(), handle.size());
      for (const auto& endpoint : endpoints_) {
        for (int flow = 0; flow < flows_each; ++flow) {
          Connect(*endpoint, handle);
        }
      }
    }
  }

  // One message over each flow, so that nothing is left to be made.
  void Move() {
    std::vector<std::byte> bytes(kMessageBytes * flows_.size());
    std::vector<Request*> requests;
    for (size_t i = 0; i < flows_.size(); ++i) {
      requests.push_back(
          flows_[i]->Submit({&bytes[i * kMessageBytes], kMessageBytes, 0}));
    }
    for (size_t i = 0; i < flows_.size(); ++i) {
      Request::Outcome outcome;
      uint32_t moved;
      while (!flows_[i]->Test(requests[i], &outcome, &moved)) {
      }
      if (outcome != Request::Outcome::kOk) Fail("a message failed");
    }
  }

 private:
  void Connect(Endpoint& endpoint, const ListenHandle& handle) {
    const auto connector = Must(Connector::Create(endpoint, handle));
    while (true) {
      auto flow = Must(connector->Connect());
      if (!flow) continue;
      flows_.push_back(std::move(flow));
      return;
    }
  }

  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::vector<std::unique_ptr<FlowEnd>> flows_;
};

struct Result {
  Held before, after;
};

// In two new processes, so that no run sees the memory of another.
Result Run(const Config& config, int peers, int flows, bool sends) {
  int lines[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lines) != 0) {
    Fail("socketpair failed");
  }
  int results[2];
  if (pipe(results) != 0) Fail("pipe failed");
  for (const bool measured : {true, false}) {
    if (fork() != 0) continue;
    const int line = lines[measured ? 0 : 1];
    close(lines[measured ? 1 : 0]);
    close(results[measured ? 0 : 1]);
    char over = 0;
    Side side(config, measured ? 1 : peers);
    Result result;
    result.before = Measure();
    if (measured == sends) {
      side.Send(line, measured ? peers : 1, flows);
    } else {
      side.Receive(line, peers * flows);
    }
    side.Move();
    result.after = Measure();
    // Neither leaves while the other measures.
    Say(line, &over, 1);
    Hear(line, &over, 1);
    if (measured) Say(results[1], &result, sizeof(result));
    std::_Exit(0);
  }
  close(results[1]);
  close(lines[0]);
  close(lines[1]);
  Result result;
  const bool good = read(results[0], &result, sizeof(result)) == sizeof(result);
  close(results[0]);
  while (wait(nullptr) > 0) {
  }
  if (!good) std::exit(1);
  return result;
}

Result Show(const Config& config, int peers, int flows, bool sends) {
  const Result result = Run(config, peers, flows, sends);
  std::printf("%6d %6d  %-9s %12.0f %12.0f %12d %12d\n", peers, flows,
              sends ? "sends" : "receives", result.before.kib, result.after.kib,
              result.before.descriptors, result.after.descriptors);
  std::fflush(stdout);
  return result;
}

int Main(int argc, char** argv) {
  int peers = 0, flows = 0;
  if (argc != 1) {
    peers = argc == 3 ? std::atoi(argv[1]) : 0;
    flows = argc == 3 ? std::atoi(argv[2]) : 0;
    if (peers < 1 || peers > kPeersMost || flows < 1 ||
        peers * flows > kFlowsMost) {
      std::fprintf(stderr,
                   "memory_bench: expected nothing, or 1..%d peers and 1..%d "
                   "flows in all\n",
                   kPeersMost, kFlowsMost);
      return 2;
    }
  }
  setenv("HAWSER_PATHS", "32", 0);
  const Config config = Must(Config::FromEnvironment(
      [](const char* name) -> const char* { return std::getenv(name); }));
  std::printf("%d paths to each peer\n\n", static_cast<int>(config.paths));
  std::printf("%6s %6s  %-9s %12s %12s %12s %12s\n", "peers", "flows", "",
              "KiB before", "KiB after", "fds before", "fds after");
  for (const bool sends : {true, false}) {
    if (peers > 0) {
      Show(config, peers, flows, sends);
      continue;
    }
    const Result one = Show(config, 1, 1, sends);
    const Result flows_1001 = Show(config, 1, 1001, sends);
    const Result peers_65 = Show(config, 65, 1, sends);
    Show(config, 64, 16, sends);
    const double per_flow = (flows_1001.after.kib - one.after.kib) / 1000;
    std::printf("%s: %.1f KiB per flow, %.1f KiB per peer besides\n\n",
                sends ? "sending" : "receiving", per_flow,
                (peers_65.after.kib - one.after.kib) / 64 - per_flow);
  }
  return 0;
}

}  // namespace
}  // namespace hawser

int main(int argc, char** argv) { return hawser::Main(argc, argv); }
