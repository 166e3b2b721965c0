#include "tests/nccl/rank.h"

#include <dirent.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <thread>

namespace hawser {
namespace {

std::mutex& LogMutex() {
  static auto& mutex = *new std::mutex;
  return mutex;
}
std::vector<LogLine>& LogLines() {
  static auto& lines = *new std::vector<LogLine>;
  return lines;
}

}  // namespace

int CountEntries(const char* folder) {
  int count = 0;
  DIR* dir = opendir(folder);
  if (dir == nullptr) return -1;
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

// The least of several counts: a thread of a sanitizer, or an engine that has
// just begun, may have a file open for a moment.
int OpenDescriptors() {
  int least = INT_MAX;
  for (int i = 0; i < 10; ++i) {
    least = std::min(least, CountEntries("/proc/self/fd"));
    sched_yield();
  }
  return least;
}

int Threads() {
  // A sanitizer may start a thread of its own beside the program's first, which
  // is not to be counted itself.
  static const bool begun = [] {
    pid_t first = 0;
    std::thread([&first] { first = gettid(); }).join();
    const std::string entry = "/proc/self/task/" + std::to_string(first);
    return Until([&] { return access(entry.c_str(), F_OK) != 0; }, 2'000);
  }();
  return begun ? CountEntries("/proc/self/task") : 0;
}

// A thread that was joined may be listed for another moment.
bool ThreadsBecome(int count) {
  return Until([&] { return Threads() == count; }, 2'000);
}

// --- What the plugin says --------------------------------------------------

void LogBook::Clear() {
  std::lock_guard<std::mutex> lock(LogMutex());
  LogLines().clear();
}

std::vector<std::string> LogBook::Of(nccl::LogLevel level) {
  std::lock_guard<std::mutex> lock(LogMutex());
  std::vector<std::string> texts;
  for (const LogLine& line : LogLines()) {
    if (line.level == level) texts.push_back(line.text);
  }
  return texts;
}

void LogBook::Write(nccl::LogLevel level, unsigned long, const char* file, int,
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
  std::lock_guard<std::mutex> lock(LogMutex());
  LogLines().push_back({level, text});
}

// --- The environment -------------------------------------------------------

Environment::Environment(const Variables& variables) {
  Set("HAWSER_IFNAME", "lo");
  for (const auto& [name, value] : variables) Set(name, value);
}

Environment::~Environment() {
  for (const auto& [name, value] : before_) {
    if (value.second) {
      setenv(name.c_str(), value.first.c_str(), 1);
    } else {
      unsetenv(name.c_str());
    }
  }
}

void Environment::Set(const std::string& name, const std::string& value) {
  const char* now = std::getenv(name.c_str());
  before_.try_emplace(name, now != nullptr ? now : "", now != nullptr);
  setenv(name.c_str(), value.c_str(), 1);
}

// --- The tables ------------------------------------------------------------

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

template Api ApiOf(const nccl::v6::Net&);
template Api ApiOf(const nccl::v7::Net&);
template Api ApiOf(const nccl::v8::Net&);
template Api ApiOf(const nccl::v9::Net&);
template Api ApiOf(const nccl::v10::Net&);
template Api ApiOf(const nccl::v11::Net&);
template Api ApiOf(const nccl::v12::Net&);

// --- The library -----------------------------------------------------------

Library::Library() {
  char path[] = "/tmp/hawser_test_XXXXXX";
  const int fd = mkstemp(path);
  if (fd >= 0) close(fd);
  path_ = path;
  std::error_code error;
  std::filesystem::copy_file(HAWSER_PLUGIN, path_,
                             std::filesystem::copy_options::overwrite_existing,
                             error);
  handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) ADD_FAILURE() << dlerror();
}

Library::~Library() {
  Unload();
  unlink(path_.c_str());
}

void Library::Unload() {
  if (handle_ != nullptr) dlclose(std::exchange(handle_, nullptr));
}

const void* Library::Symbol(int version) const {
  return dlsym(handle_, ("ncclNetPlugin_v" + std::to_string(version)).c_str());
}

Api Library::Newest() const { return ApiOf(*Table<nccl::v12::Net>(12)); }

std::atomic<size_t> Rank::alive_ = 0;

Rank::Rank(const Variables& variables) {
  const size_t number = alive_++;
  Variables own = variables;
  if (const char* dealt = std::getenv("HAWSER_TEST_DEALT")) {
    std::istringstream words(dealt);
    std::string name;
    std::getline(words, name, '=');
    for (size_t i = 0; i <= number; ++i) {
      EXPECT_TRUE(std::getline(words, own[name], ';')) << "for rank " << number;
    }
  }
  const Environment environment(own);
  api = library.Newest();
  EXPECT_EQ(api.init(&context), Result::kSuccess);
  EXPECT_NE(context, nullptr);
}

Rank::~Rank() {
  End();
  --alive_;
}

void Rank::End() {
  if (context != nullptr) {
    EXPECT_EQ(api.finalize(std::exchange(context, nullptr)), Result::kSuccess);
  }
}

// --- Comms -----------------------------------------------------------------

void Link::Close() {
  if (from != nullptr) {
    EXPECT_EQ(from->close_send(std::exchange(send, nullptr)), Result::kSuccess);
    EXPECT_EQ(to->close_receive(std::exchange(receive, nullptr)),
              Result::kSuccess);
  }
}

Link Connect(const Api& from, void* from_context, const Api& to,
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

Link Connect(Rank& from, Rank& to) {
  return Connect(from.api, from.context, to.api, to.context);
}

// --- Messages --------------------------------------------------------------

bool Pending::Test() {
  if (done || result != Result::kSuccess) return true;
  int is_done = 0;
  result = api->test(request, &is_done, &size);
  done = is_done != 0;
  return done || result != Result::kSuccess;
}

bool Pending::Finish(double limit_ms) {
  return Until([&] { return Test(); }, limit_ms) && done;
}

Pending Send(const Link& link, const void* memory, size_t bytes) {
  Pending pending = {link.from};
  EXPECT_TRUE(Until([&] {
    pending.result = link.from->isend(link.send, const_cast<void*>(memory),
                                      bytes, 0, nullptr, &pending.request);
    return pending.request != nullptr || pending.result != Result::kSuccess;
  }));
  return pending;
}

Pending Receive(const Link& link, void* memory, size_t bytes) {
  Pending pending = {link.to};
  EXPECT_TRUE(Until([&] {
    pending.result = link.to->irecv(link.receive, memory, bytes, 0, nullptr,
                                    &pending.request);
    return pending.request != nullptr || pending.result != Result::kSuccess;
  }));
  return pending;
}

std::vector<uint8_t> Pattern(size_t bytes, uint64_t seed) {
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

void Exchange(const Link& link, size_t bytes, uint64_t seed) {
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
