// The ranks' meeting place over TCP: everyone tells everyone, and waits.
// Knows: ranks, their sockets and byte strings.  Never: what the bytes mean.
//
// A star around rank 0: it gathers and hands out. Nothing that is timed goes
// this way.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace hawser::bench {

// Listens on "HOST:PORT"; port 0 takes a free one. Ends the process on failure.
int ListenAt(const std::string& address);
int PortOf(int listening_fd);

class Bootstrap {
 public:
  struct Place {
    int rank = 0;
    int ranks = 0;
    std::string root;   // Where rank 0 listens.
    int root_fd = -1;   // Rank 0: already listening, if not -1.
    int timeout_s = 0;  // For each wait.
    // A launcher watches the ranks and says who died first; then a rank
    // that merely lost sight of another keeps quiet until it is ended.
    bool launched = false;
  };

  // Returns when all ranks are here.
  explicit Bootstrap(const Place& place);
  ~Bootstrap();
  Bootstrap(const Bootstrap&) = delete;
  Bootstrap& operator=(const Bootstrap&) = delete;

  // Everyone's bytes, by rank.
  std::vector<std::string> AllGather(std::string_view mine);
  void Barrier() { AllGather(""); }
  // The same for one number, which every rank must give.
  template <typename T>
  std::vector<T> AllGatherNumber(T mine);
  // Ends this process if a rank has left. Cheap enough for an idle loop.
  void CheckAllHere();

 private:
  void Serve(int listening_fd);
  void Join();
  void SendAll(int peer, std::string_view bytes);
  std::string ReceiveAll(int peer, size_t size);
  std::string ReceiveFrame(int peer);
  [[noreturn]] void Gone(int peer, const char* why);

  Place place_;
  std::vector<int> fds_;  // By rank; -1 where there is no direct link.
};

template <typename T>
std::vector<T> Bootstrap::AllGatherNumber(T mine) {
  static_assert(std::is_arithmetic_v<T>);
  std::vector<T> numbers;
  for (const std::string& one :
       AllGather({reinterpret_cast<const char*>(&mine), sizeof(mine)})) {
    T number{};
    if (one.size() == sizeof(number)) {
      std::memcpy(&number, one.data(), sizeof(number));
    }
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace hawser::bench
