// Each call visits the table that was found. What a version lacks is decided
// at compile time by its number, so that one body tells all seven stories.
#include "bench/net_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <vector>

#include "bench/fail.h"

namespace hawser::bench {
namespace {

using nccl::Result;

constexpr char kOurPlugin[] = "libnccl-net-hawser.so";
constexpr int kApiOldest = 8;  // Taken unasked: NCCL 2.20 and later.
constexpr int kApiNewest = 12;
// NCCL passes a hash of the communicator's unique id. Any number will do.
constexpr uint64_t kCommId = 0x6861777365720001;

template <typename Net>
constexpr int kVersion = 0;
template <>
constexpr int kVersion<nccl::v6::Net> = 6;
template <>
constexpr int kVersion<nccl::v7::Net> = 7;
template <>
constexpr int kVersion<nccl::v8::Net> = 8;
template <>
constexpr int kVersion<nccl::v9::Net> = 9;
template <>
constexpr int kVersion<nccl::v10::Net> = 10;
template <>
constexpr int kVersion<nccl::v11::Net> = 11;
template <>
constexpr int kVersion<nccl::v12::Net> = 12;

template <typename Pointer>
constexpr int VersionOf(Pointer) {
  return kVersion<std::remove_cv_t<std::remove_pointer_t<Pointer>>>;
}

#define HAWSER_VERSION_OF(net) VersionOf(decltype(net){})

// The plugin logs through a plain function: what it needs stands here, written
// once before the plugin is initialised.
int log_rank = 0;
bool log_verbose = false;

void Log(nccl::LogLevel level, unsigned long, const char* file, int line,
         const char* format, ...) __attribute__((format(printf, 5, 6)));

void Log(nccl::LogLevel level, unsigned long, const char* file, int line,
         const char* format, ...) {
  const bool warns = level == nccl::LogLevel::kWarn;
  if (!warns && !(log_verbose && level <= nccl::LogLevel::kInfo)) return;
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  const char* base = file == nullptr ? "?" : std::strrchr(file, '/');
  base = base == nullptr ? file : file == nullptr ? base : base + 1;
  std::fprintf(stderr, "rank %d: %s %s:%d %s\n", log_rank,
               warns ? "WARN" : "INFO", base, line, text);
}

Result NoProfiler(void**, int, void*, int64_t, void*) {
  return Result::kSuccess;
}

std::string OwnFolder() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  if (length <= 0) return ".";
  const std::string file(path, static_cast<size_t>(length));
  return file.substr(0, file.rfind('/'));
}

std::vector<std::string> Candidates(const std::string& file) {
  if (!file.empty()) return {file};
  const std::string folder = OwnFolder();
  std::vector<std::string> candidates;
  for (const char* place : {"/", "/nccl-plugin/", "/../lib/"}) {
    const std::string candidate = folder + place + kOurPlugin;
    if (access(candidate.c_str(), R_OK) == 0) candidates.push_back(candidate);
  }
  candidates.push_back(kOurPlugin);
  return candidates;
}

}  // namespace

NetLibrary::NetLibrary(const std::string& file, int api, int rank,
                       bool verbose) {
  log_rank = rank;
  log_verbose = verbose;
  Load(file);
  if (api != 0) {
    if (!Find(api)) {
      Fail("%s does not export ncclNetPlugin_v%d", file_.c_str(), api);
    }
    return;
  }
  for (int version = kApiNewest; version >= kApiOldest; --version) {
    if (Find(version)) return;
  }
  Fail("%s exports none of ncclNetPlugin_v%d to v%d", file_.c_str(), kApiOldest,
       kApiNewest);
}

NetLibrary::~NetLibrary() { dlclose(library_); }

void NetLibrary::Load(const std::string& file) {
  std::string reasons;
  for (const std::string& candidate : Candidates(file)) {
    // As NCCL loads it: everything resolved now, nothing lent to others.
    library_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ != nullptr) {
      file_ = candidate;
      return;
    }
    const char* reason = dlerror();
    reasons += std::string(reasons.empty() ? "" : "; ") +
               (reason == nullptr ? "no reason given" : reason);
  }
  Fail("no plugin could be loaded: %s", reasons.c_str());
}

bool NetLibrary::Find(int version) {
  const std::string symbol = "ncclNetPlugin_v" + std::to_string(version);
  const void* found = dlsym(library_, symbol.c_str());
  if (found == nullptr) return false;
  switch (version) {
    case 6:
      table_ = static_cast<const nccl::v6::Net*>(found);
      return true;
    case 7:
      table_ = static_cast<const nccl::v7::Net*>(found);
      return true;
    case 8:
      table_ = static_cast<const nccl::v8::Net*>(found);
      return true;
    case 9:
      table_ = static_cast<const nccl::v9::Net*>(found);
      return true;
    case 10:
      table_ = static_cast<const nccl::v10::Net*>(found);
      return true;
    case 11:
      table_ = static_cast<const nccl::v11::Net*>(found);
      return true;
    case 12:
      table_ = static_cast<const nccl::v12::Net*>(found);
      return true;
  }
  return false;
}

std::string NetLibrary::name() const {
  return std::visit(
      [](auto net) {
        return std::string(net->name == nullptr ? "?" : net->name);
      },
      table_);
}

int NetLibrary::api() const {
  return std::visit([](auto net) { return VersionOf(net); }, table_);
}

Result NetLibrary::Init() {
  // As in core, the logger has no format attribute behind the pointer.
  const nccl::Logger log = &Log;
  return std::visit(
      [&](auto net) {
        constexpr int kApi = HAWSER_VERSION_OF(net);
        if constexpr (kApi >= 11) {
          nccl::v10::CommConfig config{nccl::kTrafficClassUndefined};
          return net->init(&context_, kCommId, &config, log, &NoProfiler);
        } else if constexpr (kApi == 10) {
          return net->init(log, &NoProfiler);
        } else {
          return net->init(log);
        }
      },
      table_);
}

Result NetLibrary::Devices(int* count) {
  return std::visit([&](auto net) { return net->devices(count); }, table_);
}

Result NetLibrary::GetProperties(int device, DeviceProperties* properties) {
  const auto read = [&](auto get, auto theirs) {
    const Result result = get(device, &theirs);
    if (result != Result::kSuccess) return result;
    properties->name = theirs.name == nullptr ? "?" : theirs.name;
    properties->speed_mbps = theirs.speed;
    properties->pointer_support = theirs.ptrSupport;
    properties->receives_max = theirs.maxRecvs;
    return result;
  };
  return std::visit(
      [&](auto net) {
        constexpr int kApi = HAWSER_VERSION_OF(net);
        if constexpr (kApi == 12) {
          return read(net->getProperties, nccl::v12::Properties{});
        } else if constexpr (kApi == 11) {
          return read(net->getProperties, nccl::v11::Properties{});
        } else if constexpr (kApi >= 9) {
          return read(net->getProperties, nccl::v9::Properties{});
        } else if constexpr (kApi == 8) {
          return read(net->getProperties, nccl::v8::Properties{});
        } else if constexpr (kApi == 7) {
          return read(net->getProperties, nccl::v7::Properties{});
        } else {
          return read(net->getProperties, nccl::v6::Properties{});
        }
      },
      table_);
}

Result NetLibrary::Listen(int device, void* handle, void** listen_comm) {
  return std::visit(
      [&](auto net) {
        if constexpr (HAWSER_VERSION_OF(net) >= 11) {
          return net->listen(context_, device, handle, listen_comm);
        } else {
          return net->listen(device, handle, listen_comm);
        }
      },
      table_);
}

Result NetLibrary::Connect(int device, void* handle, void** send_comm) {
  nccl::DeviceHandle* offload = nullptr;
  return std::visit(
      [&](auto net) {
        constexpr int kApi = HAWSER_VERSION_OF(net);
        if constexpr (kApi >= 11) {
          return net->connect(context_, device, handle, send_comm, &offload);
        } else if constexpr (kApi == 10) {
          nccl::v10::CommConfig config{nccl::kTrafficClassUndefined};
          return net->connect(device, &config, handle, send_comm, &offload);
        } else if constexpr (kApi >= 7) {
          return net->connect(device, handle, send_comm, &offload);
        } else {
          return net->connect(device, handle, send_comm);
        }
      },
      table_);
}

Result NetLibrary::Accept(void* listen_comm, void** recv_comm) {
  nccl::DeviceHandle* offload = nullptr;
  return std::visit(
      [&](auto net) {
        if constexpr (HAWSER_VERSION_OF(net) >= 7) {
          return net->accept(listen_comm, recv_comm, &offload);
        } else {
          return net->accept(listen_comm, recv_comm);
        }
      },
      table_);
}

Result NetLibrary::Register(void* comm, void* bytes, size_t size,
                            void** region) {
  return std::visit(
      [&](auto net) {
        if constexpr (HAWSER_VERSION_OF(net) >= 8) {
          return net->regMr(comm, bytes, size, nccl::kPtrHost, region);
        } else {
          return net->regMr(comm, bytes, static_cast<int>(size), nccl::kPtrHost,
                            region);
        }
      },
      table_);
}

Result NetLibrary::Unregister(void* comm, void* region) {
  return std::visit([&](auto net) { return net->deregMr(comm, region); },
                    table_);
}

Result NetLibrary::Isend(void* send_comm, void* bytes, size_t size, int tag,
                         void* region, void** request) {
  return std::visit(
      [&](auto net) {
        constexpr int kApi = HAWSER_VERSION_OF(net);
        if constexpr (kApi >= 10) {
          return net->isend(send_comm, bytes, size, tag, region, nullptr,
                            request);
        } else if constexpr (kApi == 9) {
          return net->isend(send_comm, bytes, size, tag, region, request);
        } else {
          return net->isend(send_comm, bytes, static_cast<int>(size), tag,
                            region, request);
        }
      },
      table_);
}

Result NetLibrary::Irecv(void* recv_comm, void* bytes, size_t capacity, int tag,
                         void* region, bool marked, void** request) {
  *request = reinterpret_cast<void*>(
      marked && has_marks() ? nccl::kOptionalRecvCompletion : 0);
  return std::visit(
      [&](auto net) {
        constexpr int kApi = HAWSER_VERSION_OF(net);
        if constexpr (kApi >= 10) {
          void* profile = nullptr;
          return net->irecv(recv_comm, 1, &bytes, &capacity, &tag, &region,
                            &profile, request);
        } else if constexpr (kApi == 9) {
          return net->irecv(recv_comm, 1, &bytes, &capacity, &tag, &region,
                            request);
        } else {
          int int_capacity = static_cast<int>(capacity);
          return net->irecv(recv_comm, 1, &bytes, &int_capacity, &tag, &region,
                            request);
        }
      },
      table_);
}

Result NetLibrary::Test(void* request, int* done, int* size) {
  return std::visit([&](auto net) { return net->test(request, done, size); },
                    table_);
}

Result NetLibrary::CloseSend(void* send_comm) {
  return std::visit([&](auto net) { return net->closeSend(send_comm); },
                    table_);
}

Result NetLibrary::CloseRecv(void* recv_comm) {
  return std::visit([&](auto net) { return net->closeRecv(recv_comm); },
                    table_);
}

Result NetLibrary::CloseListen(void* listen_comm) {
  return std::visit([&](auto net) { return net->closeListen(listen_comm); },
                    table_);
}

Result NetLibrary::Finalize() {
  return std::visit(
      [&](auto net) {
        if constexpr (HAWSER_VERSION_OF(net) >= 11) {
          return net->finalize(context_);
        } else {
          return Result::kSuccess;
        }
      },
      table_);
}

}  // namespace hawser::bench
