// What tests of the plugin share: it is loaded from its file and driven through
// its tables as NCCL does, and several times in one process, as ranks.
// Knows: NCCL's ABI.  Never: anything behind it.
#pragma once

#include <sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nccl-plugin/net_abi.h"

namespace hawser {

using nccl::Result;
using Clock = std::chrono::steady_clock;

inline double MillisSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin)
      .count();
}

// Asks until it is so; false after `limit_ms`, which is generous: it only
// separates slow from never.
template <class Condition>
bool Until(Condition condition, double limit_ms = 60'000) {
  const auto begin = Clock::now();
  while (!condition()) {
    if (MillisSince(begin) > limit_ms) return false;
    sched_yield();
  }
  return true;
}

int CountEntries(const char* folder);  // -1: there is none.
int OpenDescriptors();
int Threads();
bool ThreadsBecome(int count);  // Waits a moment for those that were joined.

// --- What the plugin says --------------------------------------------------

struct LogLine {
  nccl::LogLevel level;
  std::string text;
};

class LogBook {
 public:
  static void Clear();
  static std::vector<std::string> Of(nccl::LogLevel level);
  static std::vector<std::string> Warnings() {
    return Of(nccl::LogLevel::kWarn);
  }
  static void Write(nccl::LogLevel level, unsigned long, const char* file, int,
                    const char* format, ...);
};

// --- The environment -------------------------------------------------------

using Variables = std::map<std::string, std::string>;

// Sets variables, and puts back what was there. Loopback unless said otherwise.
class Environment {
 public:
  explicit Environment(const Variables& variables = {});
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void Set(const std::string& name, const std::string& value);
  std::map<std::string, std::pair<std::string, bool>> before_;
};

// --- The tables ------------------------------------------------------------

// All versions behind one face. What a version lacks does nothing and succeeds.
struct Api {
  std::string name;
  std::function<Result(void** context)> init;
  std::function<Result(void* context)> finalize;
  std::function<Result(int* count)> devices;
  std::function<Result(void*context, int dev, void*handle, void**comm)> listen,
      connect;
  std::function<Result(void* listen_comm, void** comm)> accept;
  std::function<Result(void* comm, void* memory, size_t bytes, int type,
                       void** mhandle)>
      register_memory;
  std::function<Result(void* comm, void* mhandle)> unregister_memory;
  std::function<Result(void*comm, void*memory, size_t bytes, int tag,
                       void*mhandle, void**request)>
      isend, irecv;
  std::function<Result(void* comm, void* memory, int bytes, void* mhandle,
                       void** request)>
      iflush;
  std::function<Result(void* request, int* done, int* size)> test;
  std::function<Result(void*comm)> close_send, close_receive, close_listen;
};

template <class Net>
Api ApiOf(const Net& net);  // Of any version; see rank.cc.

// --- The library -----------------------------------------------------------

// One loading of the plugin, from a copy of its file: so each has statics of
// its own, and two in one process know as little of each other as two
// processes do.
class Library {
 public:
  Library();
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  void Unload();
  template <class Net>
  const Net* Table(int version) const {
    return static_cast<const Net*>(Symbol(version));
  }
  Api Newest() const;

 private:
  const void* Symbol(int version) const;
  std::string path_;
  void* handle_ = nullptr;
};

// A library in which a context has begun. HAWSER_TEST_DEALT="NAME=ONE;OTHER"
// gives the first that is alive NAME=ONE, the next one NAME=OTHER: so each can
// be on a host of its own, as far as devices go.
class Rank {
 public:
  explicit Rank(const Variables& variables = {});
  ~Rank();
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  void End();
  Library library;
  Api api;
  void* context = nullptr;

 private:
  static std::atomic<size_t> alive_;
};

// --- Comms -----------------------------------------------------------------

using Handle = std::array<char, nccl::kHandleMaxBytes>;

// One direction between two ranks, which may be the same.
struct Link {
  const Api* from = nullptr;
  const Api* to = nullptr;
  void* send = nullptr;
  void* receive = nullptr;

  void Close();
};

Link Connect(const Api& from, void* from_context, const Api& to,
             void* to_context);
Link Connect(Rank& from, Rank& to);

// --- Messages --------------------------------------------------------------

struct Pending {
  const Api* api = nullptr;
  void* request = nullptr;
  bool done = false;
  int size = -1;
  Result result = Result::kSuccess;

  bool Test();
  bool Finish(double limit_ms = 60'000);
};

// As NCCL does: asks again while there is no request.
Pending Send(const Link& link, const void* memory, size_t bytes);
Pending Receive(const Link& link, void* memory, size_t bytes);

// Bytes that are all different from those of any other seed and place.
std::vector<uint8_t> Pattern(size_t bytes, uint64_t seed);

// One message, checked whole.
void Exchange(const Link& link, size_t bytes, uint64_t seed = 1);

}  // namespace hawser
