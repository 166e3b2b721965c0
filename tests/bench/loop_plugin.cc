// A small, honest net plugin over plain TCP on loopback, so that tests of
// all_reduce_perf do not lean on the transport that it is meant to judge.
//
// One comm is one socket. A message is its length in eight bytes, then its
// bytes; messages leave and arrive in order. Progress is made in test(), isend
// and irecv. LOOP_PLUGIN_FAULT makes it misbehave after kFaultAfter messages:
// `corrupt` changes one bit, `overrun` writes a byte behind the receive buffer,
// `fail` refuses to send, `hang` completes nothing any more.
// At the end it writes a statistics document as our own plugin does.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "nccl-plugin/net_abi.h"

namespace hawser::nccl {
namespace {

constexpr int kFaultAfter = 20;  // Messages; past the first warm-up.
constexpr int kSpeedMbps = 10000;

Logger logger = nullptr;
std::string fault;
int messages_sent = 0;
int messages_received = 0;
std::map<std::string, uint64_t> bytes_to;  // By the peer's "host:pid".

struct Request {
  enum class State { kFree, kWaiting, kDone };
  State state = State::kFree;
  char* bytes = nullptr;
  size_t capacity = 0;
  uint64_t size = 0;   // Of the message; told by its head when receiving.
  uint64_t moved = 0;  // Of head and message together.
  struct Comm* comm = nullptr;
};

struct Comm {
  int fd = -1;
  bool sends = false;
  std::string peer;
  Request requests[kMaxRequests];
  uint64_t posted = 0;
  uint64_t done = 0;  // Requests finish in the order of posting.
};

// What crosses to the peer, and where connect() keeps its socket in between.
struct Handle {
  uint16_t port;
  int32_t pid;
  int32_t pending_fd;  // 0: none yet.
};
static_assert(sizeof(Handle) <= kHandleMaxBytes);

std::string NameOf(int32_t pid) {
  char host[256] = "?";
  gethostname(host, sizeof(host) - 1);
  return std::string(host) + ":" + std::to_string(pid);
}

Result Initialize(Logger log) {
  logger = log;
  const char* wanted = std::getenv("LOOP_PLUGIN_FAULT");
  fault = wanted == nullptr ? "" : wanted;
  log(LogLevel::kInfo, kLogInit | kLogNet, __FILE__, __LINE__,
      "the loop plugin is ready");
  return Result::kSuccess;
}

void WriteStats() {
  const char* pattern = std::getenv("HAWSER_STATS_FILE");
  if (pattern == nullptr) return;
  std::string path = pattern;
  if (const size_t at = path.find("%p"); at != std::string::npos) {
    path.replace(at, 2, std::to_string(getpid()));
  }
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return;
  std::fprintf(file, "{\"host\": \"%s\", \"peers\": [",
               NameOf(getpid()).c_str());
  const char* comma = "";
  for (const auto& [peer, bytes] : bytes_to) {
    std::fprintf(file,
                 "%s{\"peer\": \"%s\", \"paths\": [{\"path\": 0, \"plane\": "
                 "\"lo\", \"entropy\": 0, \"state\": \"open\", "
                 "\"bytes_delivered\": %llu, \"rtt_us\": 12.5}]}",
                 comma, peer.c_str(), static_cast<unsigned long long>(bytes));
    comma = ", ";
  }
  std::fputs("]}\n", file);
  std::fclose(file);
}

Result Devices(int* count) {
  *count = 1;
  return Result::kSuccess;
}

template <typename Properties>
Result GetProperties(int, Properties* properties) {
  static char name[] = "loop";
  *properties = {};
  properties->name = name;
  properties->ptrSupport = kPtrHost;
  properties->speed = kSpeedMbps;
  properties->port = 1;
  properties->maxComms = 1 << 16;
  properties->maxRecvs = 1;
  if constexpr (requires { properties->maxP2pBytes; }) {
    properties->maxP2pBytes = properties->maxCollBytes = kMaxMessageBytesInt;
  }
  return Result::kSuccess;
}

Result Listen(int, void* handle, void** listen_comm) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, plain, length) != 0 || listen(fd, 16) != 0 ||
      getsockname(fd, plain, &length) != 0) {
    return Result::kSystemError;
  }
  const Handle mine{ntohs(address.sin_port), getpid(), 0};
  std::memcpy(handle, &mine, sizeof(mine));
  auto* comm = new Comm;
  comm->fd = fd;
  *listen_comm = comm;
  return Result::kSuccess;
}

void NoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

Result Connect(int, void* handle, void** send_comm) {
  *send_comm = nullptr;
  Handle theirs;
  std::memcpy(&theirs, handle, sizeof(theirs));
  if (theirs.pending_fd == 0) {
    theirs.pending_fd =
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    std::memcpy(handle, &theirs, sizeof(theirs));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(theirs.port);
  if (connect(theirs.pending_fd, reinterpret_cast<sockaddr*>(&address),
              sizeof(address)) != 0 &&
      errno != EISCONN) {
    if (errno == EINPROGRESS || errno == EALREADY) return Result::kSuccess;
    return Result::kRemoteError;
  }
  NoDelay(theirs.pending_fd);
  auto* comm = new Comm;
  comm->fd = theirs.pending_fd;
  comm->sends = true;
  comm->peer = NameOf(theirs.pid);
  *send_comm = comm;
  return Result::kSuccess;
}

Result Accept(void* listen_comm, void** recv_comm) {
  *recv_comm = nullptr;
  const int fd = accept4(static_cast<Comm*>(listen_comm)->fd, nullptr, nullptr,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    return errno == EAGAIN ? Result::kSuccess : Result::kSystemError;
  }
  NoDelay(fd);
  auto* comm = new Comm;
  comm->fd = fd;
  *recv_comm = comm;
  return Result::kSuccess;
}

Result Register(void*, void*, size_t, int, void** region) {
  *region = nullptr;
  return Result::kSuccess;
}

Result Unregister(void*, void*) { return Result::kSuccess; }

// One read or write of what comes next, head first. False: try again later.
bool Move(Comm* comm, Request* request, Result* result) {
  constexpr uint64_t kHead = sizeof(request->size);
  const bool in_head = request->moved < kHead;
  char* at = in_head ? reinterpret_cast<char*>(&request->size) + request->moved
                     : request->bytes + (request->moved - kHead);
  const uint64_t left =
      in_head ? kHead - request->moved : kHead + request->size - request->moved;
  const ssize_t n = comm->sends ? send(comm->fd, at, left, MSG_NOSIGNAL)
                                : recv(comm->fd, at, left, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    logger(LogLevel::kWarn, kLogNet, __FILE__, __LINE__, "a peer is lost: %s",
           n == 0 ? "its socket is closed" : std::strerror(errno));
    *result = Result::kRemoteError;
    return false;
  }
  request->moved += static_cast<uint64_t>(n);
  if (!comm->sends && request->moved == kHead &&
      request->size > request->capacity) {
    *result = Result::kInvalidUsage;
    return false;
  }
  return true;
}

void OnDone(Comm* comm, Request* request) {
  request->state = Request::State::kDone;
  ++comm->done;
  if (comm->sends) {
    bytes_to[comm->peer] += request->size;
    return;
  }
  if (++messages_received < kFaultAfter || request->size == 0) return;
  if (fault == "corrupt") request->bytes[request->size / 2] ^= 1;
  if (fault == "overrun") request->bytes[request->capacity] = 1;
}

Result Progress(Comm* comm) {
  Result result = Result::kSuccess;
  while (comm->done < comm->posted) {
    if (fault == "hang" && messages_received >= kFaultAfter) return result;
    Request* request = &comm->requests[comm->done % kMaxRequests];
    while (request->moved < sizeof(request->size) ||
           request->moved < sizeof(request->size) + request->size) {
      if (!Move(comm, request, &result)) return result;
    }
    OnDone(comm, request);
  }
  return result;
}

Result Post(void* any, void* bytes, size_t size, void** out) {
  auto* comm = static_cast<Comm*>(any);
  *out = nullptr;
  Request* request = &comm->requests[comm->posted % kMaxRequests];
  if (request->state != Request::State::kFree) return Result::kSuccess;
  *request = {};
  request->state = Request::State::kWaiting;
  request->bytes = static_cast<char*>(bytes);
  request->capacity = size;
  request->size = comm->sends ? size : 0;
  request->comm = comm;
  ++comm->posted;
  *out = request;
  return Progress(comm);
}

Result Isend(void* comm, void* bytes, size_t size, void** request) {
  if (fault == "fail" && ++messages_sent > kFaultAfter) {
    *request = nullptr;
    return Result::kSystemError;
  }
  return Post(comm, bytes, size, request);
}

Result Flush(void*, int, void**, int*, void**, void** request) {
  *request = nullptr;
  return Result::kSuccess;
}

Result Test(void* any, int* done, int* size) {
  auto* request = static_cast<Request*>(any);
  *done = 0;
  if (request->state == Request::State::kWaiting) {
    const Result result = Progress(request->comm);
    if (result != Result::kSuccess) return result;
  }
  if (request->state != Request::State::kDone) return Result::kSuccess;
  if (size != nullptr) *size = static_cast<int>(request->size);
  request->state = Request::State::kFree;
  *done = 1;
  return Result::kSuccess;
}

Result Close(void* any) {
  auto* comm = static_cast<Comm*>(any);
  if (comm != nullptr) close(comm->fd);
  delete comm;
  return Result::kSuccess;
}

// The shims: one per argument that a version has and another has not.
Result AcceptOffload(void* listen_comm, void** comm, DeviceHandle**) {
  return Accept(listen_comm, comm);
}
Result ConnectOffload(int device, void* handle, void** comm, DeviceHandle**) {
  return Connect(device, handle, comm);
}
Result IsendInt(void* comm, void* bytes, int size, int, void*, void** request) {
  return Isend(comm, bytes, static_cast<size_t>(size), request);
}
Result IrecvInt(void* comm, int, void** bytes, int* sizes, int*, void**,
                void** request) {
  return Post(comm, bytes[0], static_cast<size_t>(sizes[0]), request);
}
Result IsendSize(void* comm, void* bytes, size_t size, int, void*,
                 void** request) {
  return Isend(comm, bytes, size, request);
}
Result IrecvSize(void* comm, int, void** bytes, size_t* sizes, int*, void**,
                 void** request) {
  return Post(comm, bytes[0], sizes[0], request);
}
Result InitProfiled(Logger log, ProfilerCallback) { return Initialize(log); }
Result ConnectConfigured(int device, v10::CommConfig*, void* handle,
                         void** comm, DeviceHandle**) {
  return Connect(device, handle, comm);
}
Result IsendProfiled(void* comm, void* bytes, size_t size, int, void*, void*,
                     void** request) {
  return Isend(comm, bytes, size, request);
}
Result IrecvProfiled(void* comm, int, void** bytes, size_t* sizes, int*, void**,
                     void**, void** request) {
  return Post(comm, bytes[0], sizes[0], request);
}
// From v11 on the context must come back at every call that takes it.
int context_mark;
Result InitContext(void** context, uint64_t, v10::CommConfig*, Logger log,
                   ProfilerCallback) {
  *context = &context_mark;
  return Initialize(log);
}
Result ListenContext(void* context, int device, void* handle, void** comm) {
  if (context != &context_mark) return Result::kInvalidArgument;
  return Listen(device, handle, comm);
}
Result ConnectContext(void* context, int device, void* handle, void** comm,
                      DeviceHandle**) {
  if (context != &context_mark) return Result::kInvalidArgument;
  return Connect(device, handle, comm);
}
Result Finalize(void* context) {
  if (context != &context_mark) return Result::kInvalidArgument;
  WriteStats();
  return Result::kSuccess;
}

constexpr char kName[] = "Loop";

template <typename Net>
constexpr Net OldNet() {
  Net net{};
  net.name = kName;
  net.devices = Devices;
  net.accept = AcceptOffload;
  net.regMr = Register;
  net.deregMr = Unregister;
  net.iflush = Flush;
  net.test = Test;
  net.closeSend = net.closeRecv = net.closeListen = Close;
  return net;
}

constexpr v8::Net NetV8() {
  auto net = OldNet<v8::Net>();
  net.init = Initialize;
  net.getProperties = GetProperties<v8::Properties>;
  net.listen = Listen;
  net.connect = ConnectOffload;
  net.isend = IsendInt;
  net.irecv = IrecvInt;
  return net;
}

constexpr v9::Net NetV9() {
  auto net = OldNet<v9::Net>();
  net.init = Initialize;
  net.getProperties = GetProperties<v9::Properties>;
  net.listen = Listen;
  net.connect = ConnectOffload;
  net.isend = IsendSize;
  net.irecv = IrecvSize;
  return net;
}

constexpr v10::Net NetV10() {
  auto net = OldNet<v10::Net>();
  net.init = InitProfiled;
  net.getProperties = GetProperties<v10::Properties>;
  net.listen = Listen;
  net.connect = ConnectConfigured;
  net.isend = IsendProfiled;
  net.irecv = IrecvProfiled;
  return net;
}

template <typename Net, typename Properties>
constexpr Net NewNet() {
  auto net = OldNet<Net>();
  net.init = InitContext;
  net.getProperties = GetProperties<Properties>;
  net.listen = ListenContext;
  net.connect = ConnectContext;
  net.isend = IsendProfiled;
  net.irecv = IrecvProfiled;
  net.finalize = Finalize;
  return net;
}

}  // namespace
}  // namespace hawser::nccl

#define LOOP_EXPORT extern "C" __attribute__((visibility("default"))) const

LOOP_EXPORT hawser::nccl::v8::Net ncclNetPlugin_v8 = hawser::nccl::NetV8();
LOOP_EXPORT hawser::nccl::v9::Net ncclNetPlugin_v9 = hawser::nccl::NetV9();
LOOP_EXPORT hawser::nccl::v10::Net ncclNetPlugin_v10 = hawser::nccl::NetV10();
LOOP_EXPORT hawser::nccl::v11::Net ncclNetPlugin_v11 =
    hawser::nccl::NewNet<hawser::nccl::v11::Net,
                         hawser::nccl::v11::Properties>();
LOOP_EXPORT hawser::nccl::v12::Net ncclNetPlugin_v12 =
    hawser::nccl::NewNet<hawser::nccl::v12::Net,
                         hawser::nccl::v12::Properties>();
