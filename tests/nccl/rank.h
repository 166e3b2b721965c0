// What tests of the plugin share: it is loaded from its file and driven through
// its tables as NCCL does, and several times in one process, as ranks.
// Knows: NCCL's ABI.  Never: anything behind it.
#pragma once

#include <dirent.h>
#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
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

inline int CountEntries(const char* folder) {
  int count = 0;
  DIR* dir = opendir(folder);
  if (dir == nullptr) return -1;
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}
inline int OpenDescriptors() { return CountEntries("/proc/self/fd"); }
inline int Threads() {
  // A sanitizer may start a thread of its own beside the program's first.
  static const bool begun = [] {
    std::thread([] {}).join();
    return true;
  }();
  return begun ? CountEntries("/proc/self/task") : 0;
}
// A thread that was joined may be listed for another moment.
inline bool ThreadsBecome(int count) {
  return Until([&] { return Threads() == count; }, 2'000);
}

// --- What the plugin says --------------------------------------------------

struct LogLine {
  nccl::LogLevel level;
  std::string text;
};

class LogBook {
 public:
  static void Clear() {
    std::lock_guard<std::mutex> lock(Mutex());
    Lines().clear();
  }
  static std::vector<std::string> Warnings() {
    std::lock_guard<std::mutex> lock(Mutex());
    std::vector<std::string> texts;
    for (const LogLine& line : Lines()) {
      if (line.level == nccl::LogLevel::kWarn) texts.push_back(line.text);
    }
    return texts;
  }
  static void Write(nccl::LogLevel level, unsigned long, const char* file, int,
                    const char* format, ...) {
    // From the top of the tree, wherever it was built.
    EXPECT_THAT(file, testing::StartsWith("nccl-plugin/"));
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (std::getenv("HAWSER_TEST_VERBOSE") != nullptr) {
      std::fprintf(stderr, "[%d] %s\n", static_cast<int>(level), text);
    }
    std::lock_guard<std::mutex> lock(Mutex());
    Lines().push_back({level, text});
  }

 private:
  static std::mutex& Mutex() {
    static auto& mutex = *new std::mutex;
    return mutex;
  }
  static std::vector<LogLine>& Lines() {
    static auto& lines = *new std::vector<LogLine>;
    return lines;
  }
};

// --- The environment -------------------------------------------------------

using Variables = std::map<std::string, std::string>;

// Sets variables, and puts back what was there. Loopback unless said otherwise.
class Environment {
 public:
  explicit Environment(const Variables& variables = {}) {
    Set("HAWSER_IFNAME", "lo");
    for (const auto& [name, value] : variables) Set(name, value);
  }
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value.second) {
        setenv(name.c_str(), value.first.c_str(), 1);
      } else {
        unsetenv(name.c_str());
      }
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void Set(const std::string& name, const std::string& value) {
    const char* now = std::getenv(name.c_str());
    before_.try_emplace(name, now != nullptr ? now : "", now != nullptr);
    setenv(name.c_str(), value.c_str(), 1);
  }
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
Api ApiOf(const Net& net) {
  Api api;
  api.name = net.name;
  api.init = [&net](void** context) {
    *context = nullptr;
    if constexpr (std::is_invocable_v<decltype(net.init), nccl::Logger>) {
      return net.init(LogBook::Write);
    } else if constexpr (std::is_invocable_v<decltype(net.init), nccl::Logger,
                                             nccl::ProfilerCallback>) {
      return net.init(LogBook::Write, nullptr);
    } else {
      nccl::v10::CommConfig config = {nccl::kTrafficClassUndefined};
      return net.init(context, /*commId=*/0x1234, &config, LogBook::Write,
                      nullptr);
    }
  };
  if constexpr (requires { net.finalize; }) {
    api.finalize = net.finalize;
  } else {
    api.finalize = [](void*) { return Result::kSuccess; };
  }
  api.devices = net.devices;
  api.listen = [&net](void* context, int dev, void* handle, void** comm) {
    if constexpr (requires { net.finalize; }) {
      return net.listen(context, dev, handle, comm);
    } else {
      return net.listen(dev, handle, comm);
    }
  };
  api.connect = [&net](void* context, int dev, void* handle, void** comm) {
    nccl::DeviceHandle* device = nullptr;
    if constexpr (requires { net.finalize; }) {
      return net.connect(context, dev, handle, comm, &device);
    } else if constexpr (std::is_invocable_v<decltype(net.connect), int,
                                             nccl::v10::CommConfig*, void*,
                                             void**, nccl::DeviceHandle**>) {
      nccl::v10::CommConfig config = {nccl::kTrafficClassUndefined};
      return net.connect(dev, &config, handle, comm, &device);
    } else if constexpr (requires { net.getDeviceMr; }) {
      return net.connect(dev, handle, comm, &device);
    } else {
      return net.connect(dev, handle, comm);
    }
  };
  api.accept = [&net](void* listen_comm, void** comm) {
    nccl::DeviceHandle* device = nullptr;
    if constexpr (requires { net.getDeviceMr; }) {
      return net.accept(listen_comm, comm, &device);
    } else {
      return net.accept(listen_comm, comm);
    }
  };
  api.register_memory = [&net](void* comm, void* memory, size_t bytes, int type,
                               void** mhandle) {
    return net.regMr(comm, memory, static_cast<int>(bytes), type, mhandle);
  };
  api.unregister_memory = net.deregMr;
  constexpr bool kProfiled =
      std::is_invocable_v<decltype(net.isend), void*, void*, size_t, int, void*,
                          void*, void**>;
  constexpr bool kWide =
      kProfiled ||
      std::is_same_v<decltype(net.isend), decltype(nccl::v9::Net::isend)>;
  using Size = std::conditional_t<kWide, size_t, int>;
  api.isend = [&net](void* comm, void* memory, size_t bytes, int tag,
                     void* mhandle, void** request) {
    if constexpr (kProfiled) {
      return net.isend(comm, memory, bytes, tag, mhandle, nullptr, request);
    } else {
      return net.isend(comm, memory, static_cast<Size>(bytes), tag, mhandle,
                       request);
    }
  };
  api.irecv = [&net](void* comm, void* memory, size_t bytes, int tag,
                     void* mhandle, void** request) {
    auto size = static_cast<Size>(bytes);
    if constexpr (kProfiled) {
      void* profile = nullptr;
      return net.irecv(comm, 1, &memory, &size, &tag, &mhandle, &profile,
                       request);
    } else {
      return net.irecv(comm, 1, &memory, &size, &tag, &mhandle, request);
    }
  };
  api.iflush = [&net](void* comm, void* memory, int bytes, void* mhandle,
                      void** request) {
    return net.iflush(comm, 1, &memory, &bytes, &mhandle, request);
  };
  api.test = net.test;
  api.close_send = net.closeSend;
  api.close_receive = net.closeRecv;
  api.close_listen = net.closeListen;
  return api;
}

// --- The library -----------------------------------------------------------

// One loading of the plugin, from a copy of its file: so each has statics of
// its own, and two in one process know as little of each other as two
// processes do.
class Library {
 public:
  Library() {
    char path[] = "/tmp/hawser_test_XXXXXX";
    const int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    path_ = path;
    std::error_code error;
    std::filesystem::copy_file(
        HAWSER_PLUGIN, path_, std::filesystem::copy_options::overwrite_existing,
        error);
    handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) ADD_FAILURE() << dlerror();
  }
  ~Library() {
    Unload();
    unlink(path_.c_str());
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  void Unload() {
    if (handle_ != nullptr) dlclose(std::exchange(handle_, nullptr));
  }
  template <class Net>
  const Net* Table(int version) const {
    return static_cast<const Net*>(
        dlsym(handle_, ("ncclNetPlugin_v" + std::to_string(version)).c_str()));
  }
  Api Newest() const { return ApiOf(*Table<nccl::v12::Net>(12)); }

 private:
  std::string path_;
  void* handle_ = nullptr;
};

// A library in which a context has begun.
class Rank {
 public:
  explicit Rank(const Variables& variables = {}) {
    const Environment environment(variables);
    api = library.Newest();
    EXPECT_EQ(api.init(&context), Result::kSuccess);
    EXPECT_NE(context, nullptr);
  }
  ~Rank() { End(); }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  void End() {
    if (context != nullptr) {
      EXPECT_EQ(api.finalize(std::exchange(context, nullptr)),
                Result::kSuccess);
    }
  }
  Library library;
  Api api;
  void* context = nullptr;
};

// --- Comms -----------------------------------------------------------------

using Handle = std::array<char, nccl::kHandleMaxBytes>;

// One direction between two ranks, which may be the same.
struct Link {
  const Api* from = nullptr;
  const Api* to = nullptr;
  void* send = nullptr;
  void* receive = nullptr;

  void Close() {
    if (from != nullptr) {
      EXPECT_EQ(from->close_send(std::exchange(send, nullptr)),
                Result::kSuccess);
      EXPECT_EQ(to->close_receive(std::exchange(receive, nullptr)),
                Result::kSuccess);
    }
  }
};

inline Link Connect(const Api& from, void* from_context, const Api& to,
                    void* to_context) {
  Link link = {&from, &to};
  Handle handle;
  void* listen = nullptr;
  EXPECT_EQ(to.listen(to_context, 0, handle.data(), &listen), Result::kSuccess);
  bool failed = false;
  const bool connected = Until([&] {
    if (link.send == nullptr) {
      failed |= from.connect(from_context, 0, handle.data(), &link.send) !=
                Result::kSuccess;
    }
    if (link.receive == nullptr) {
      failed |= to.accept(listen, &link.receive) != Result::kSuccess;
    }
    return failed || (link.send != nullptr && link.receive != nullptr);
  });
  EXPECT_TRUE(connected && !failed);
  EXPECT_EQ(to.close_listen(listen), Result::kSuccess);
  return link;
}
inline Link Connect(Rank& from, Rank& to) {
  return Connect(from.api, from.context, to.api, to.context);
}

// --- Messages --------------------------------------------------------------

struct Pending {
  const Api* api = nullptr;
  void* request = nullptr;
  bool done = false;
  int size = -1;
  Result result = Result::kSuccess;

  bool Test() {
    if (done || result != Result::kSuccess) return true;
    int is_done = 0;
    result = api->test(request, &is_done, &size);
    done = is_done != 0;
    return done || result != Result::kSuccess;
  }
  bool Finish(double limit_ms = 60'000) {
    return Until([&] { return Test(); }, limit_ms) && done;
  }
};

// As NCCL does: asks again while there is no request.
inline Pending Send(const Link& link, const void* memory, size_t bytes) {
  Pending pending = {link.from};
  EXPECT_TRUE(Until([&] {
    pending.result = link.from->isend(link.send, const_cast<void*>(memory),
                                      bytes, 0, nullptr, &pending.request);
    return pending.request != nullptr || pending.result != Result::kSuccess;
  }));
  return pending;
}
inline Pending Receive(const Link& link, void* memory, size_t bytes) {
  Pending pending = {link.to};
  EXPECT_TRUE(Until([&] {
    pending.result = link.to->irecv(link.receive, memory, bytes, 0, nullptr,
                                    &pending.request);
    return pending.request != nullptr || pending.result != Result::kSuccess;
  }));
  return pending;
}

// Bytes that are all different from those of any other seed and place.
inline std::vector<uint8_t> Pattern(size_t bytes, uint64_t seed) {
  std::vector<uint8_t> out(bytes);
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t i = 0; i < bytes; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(&out[i], &state, std::min<size_t>(8, bytes - i));
  }
  return out;
}

// One message, checked whole.
inline void Exchange(const Link& link, size_t bytes, uint64_t seed = 1) {
  const std::vector<uint8_t> out = Pattern(bytes, seed);
  std::vector<uint8_t> in(bytes + 1, 0xee);
  Pending receive = Receive(link, in.data(), bytes + 1);
  Pending send = Send(link, out.data(), bytes);
  ASSERT_TRUE(receive.Finish());
  ASSERT_TRUE(send.Finish());
  EXPECT_EQ(receive.size, static_cast<int>(bytes));
  EXPECT_EQ(send.size, static_cast<int>(bytes));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), in.begin()));
  EXPECT_EQ(in[bytes], 0xee);
}

}  // namespace hawser
