#include "nccl-plugin/comm.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace hawser {
namespace {

// NCCL's 128-byte handle: what a listener tells, then a place for connect() to
// note what it has begun. NCCL hands in the same bytes at every call.
struct Note {
  Connector* connector = nullptr;
  uint64_t ticket = 0;  // Handles may be used again, addresses too.
};
static_assert(kListenHandleBytes + sizeof(Note) <= nccl::kHandleMaxBytes);

// NCCL hears of sizes as int. It is told in maxP2pBytes that there are none as
// large as this.
constexpr size_t kMostBytes = INT32_MAX;

uint32_t KeyOf(void* mhandle) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(mhandle));
}

nccl::Result FailWith(const Devices& devices, const absl::Status& status,
                      const char* what) {
  devices.Log(nccl::LogLevel::kWarn,
              absl::StrCat(what, ": ", status.message()));
  return ToNccl(status);
}

// By the parent's logger: a child that has not begun anything has none.
nccl::Result FailAfterFork(const Devices& parents, const char* what) {
  return FailWith(parents,
                  absl::FailedPreconditionError(
                      "this comm belongs to the process that forked this one"),
                  what);
}

}  // namespace

// --- Comm ------------------------------------------------------------------

nccl::Result Comm::Register(const Memory& memory, void** mhandle) {
  *mhandle = nullptr;
  if (home_ != &Devices::Get()) return FailAfterFork(*home_, "regMr");
  const uint32_t key = flow_->Register(memory);
  if (key == 0 && memory.kind == MemoryKind::kGpu) {
    return FailWith(*home_,
                    absl::InvalidArgumentError(
                        "memory of a GPU that no NIC here reaches; expected "
                        "host memory, or what ptrSupport says"),
                    "regMr");
  }
  *mhandle = reinterpret_cast<void*>(uintptr_t{key});
  return nccl::Result::kSuccess;
}

void Comm::Unregister(void* mhandle) {
  if (mhandle == nullptr || home_ != &Devices::Get()) return;
  flow_->Unregister(KeyOf(mhandle));
}

nccl::Result Comm::Flush(void* memory, size_t bytes, void* mhandle,
                         void** request) {
  *request = nullptr;
  if (home_ != &Devices::Get()) return FailAfterFork(*home_, "iflush");
  bool full = false;
  Request* const started = flow_->Flush(
      {static_cast<std::byte*>(memory),
       static_cast<uint32_t>(std::min(bytes, kMostBytes)), KeyOf(mhandle)},
      &full);
  if (full) {
    return FailWith(*home_,
                    absl::InternalError(absl::StrCat(
                        "more than ", RequestQueue::kSlots,
                        " are outstanding; expected that some are tested")),
                    "iflush");
  }
  if (started == nullptr) return nccl::Result::kSuccess;
  CommRequest& slot = flushes_[started->slot];
  slot = {this, started, 0, nccl::Result::kSuccess};
  *request = &slot;
  return nccl::Result::kSuccess;
}

// NCCL polls the buffers of its LL and LL128 protocols while they are being
// filled, and marks their receives, unless it was told not to: so those without
// a mark are known not to be watched once one had it.
nccl::Result Comm::Receive(void* memory, size_t bytes, void* mhandle,
                           bool marked, void** request) {
  if (marked) marks_->store(true, std::memory_order_relaxed);
  const bool watched = marked || !marks_->load(std::memory_order_relaxed);
  return Start(memory, bytes, mhandle, watched, request);
}

nccl::Result Comm::Start(void* memory, size_t bytes, void* mhandle,
                         bool watched, void** request) {
  *request = nullptr;
  const bool sends = direction_ == Direction::kSend;
  const char* const call = sends ? "isend" : "irecv";
  if (home_ != &Devices::Get()) return FailAfterFork(*home_, call);
  // A buffer may be larger than any message.
  if (!sends) bytes = std::min(bytes, kMostBytes);
  if (bytes > kMostBytes || (memory == nullptr && bytes > 0)) {
    return FailWith(
        *home_,
        absl::InvalidArgumentError(absl::StrCat(
            "a message has 0..", kMostBytes, " bytes at an address, and not ",
            bytes, " at 0x", absl::Hex(reinterpret_cast<uintptr_t>(memory)))),
        call);
  }
  Request* started =
      flow_->Submit({static_cast<std::byte*>(memory),
                     static_cast<uint32_t>(bytes), KeyOf(mhandle)},
                    watched);
  if (started == nullptr) return nccl::Result::kSuccess;
  CommRequest& slot = requests_[started->slot];
  slot = {this, started, static_cast<uint32_t>(bytes), nccl::Result::kSuccess};
  *request = &slot;
  return nccl::Result::kSuccess;
}

nccl::Result Comm::Test(CommRequest& request, int* done, int* size) {
  *done = 0;
  if (home_ != &Devices::Get()) return FailAfterFork(*home_, "test");
  if (request.failure != nccl::Result::kSuccess) return request.failure;
  if (request.request == nullptr) {
    return FailWith(
        *home_,
        absl::InvalidArgumentError("this request was reported as done before"),
        "test");
  }
  Request::Outcome outcome;
  uint32_t bytes_moved;
  if (!flow_->Test(request.request, &outcome, &bytes_moved)) {
    return nccl::Result::kSuccess;
  }
  request.request = nullptr;
  if (outcome != Request::Outcome::kOk) return Fail(request, outcome);
  *done = 1;
  if (size != nullptr) *size = static_cast<int>(bytes_moved);
  return nccl::Result::kSuccess;
}

nccl::Result Comm::Fail(CommRequest& request, Request::Outcome outcome) {
  if (outcome == Request::Outcome::kTruncated) {
    request.failure = nccl::Result::kInvalidUsage;
    home_->Log(
        nccl::LogLevel::kWarn,
        direction_ == Direction::kSend
            ? absl::StrCat("isend: a message of ", request.bytes,
                           " bytes is larger than the buffer that the "
                           "receiver posted for it")
            : absl::StrCat("irecv: a message is larger than the buffer of ",
                           request.bytes, " bytes that was posted for it"));
    return request.failure;
  }
  if (outcome == Request::Outcome::kStuck) {
    request.failure = nccl::Result::kSystemError;
    home_->Log(nccl::LogLevel::kWarn,
               "no NIC here could write to memory of a GPU that it had reached "
               "before; expected that it stays registered while it is in use");
    return request.failure;
  }
  request.failure = nccl::Result::kRemoteError;
  // One warning per peer: a thousand comms may hang on it.
  bool first = false;
  const std::string why = flow_->Failure(&first);
  home_->Log(first ? nccl::LogLevel::kWarn : nccl::LogLevel::kInfo, why);
  return request.failure;
}

// --- Connecting ------------------------------------------------------------

nccl::Result ListenComm::Listen(const void* context, int dev, void* handle,
                                void** listen_comm) {
  *listen_comm = nullptr;
  Devices& devices = Devices::Get();
  auto endpoint = devices.endpoint(dev);
  if (!endpoint.ok()) return FailWith(devices, endpoint.status(), "listen");
  auto listener = Listener::Create(**endpoint);
  if (!listener.ok()) return FailWith(devices, listener.status(), "listen");
  std::memset(handle, 0, nccl::kHandleMaxBytes);
  std::memcpy(handle, (*listener)->handle().data(), kListenHandleBytes);
  auto comm = std::make_unique<ListenComm>(*std::move(listener), context);
  *listen_comm = comm.get();
  devices.Hold(std::move(comm), Devices::State::kHalfOpen, context);
  return nccl::Result::kSuccess;
}

nccl::Result ListenComm::Accept(void** recv_comm) {
  *recv_comm = nullptr;
  if (home_ != &Devices::Get()) return FailAfterFork(*home_, "accept");
  auto flow = listener_->Accept();
  if (!flow.ok()) return FailWith(*home_, flow.status(), "accept");
  if (*flow == nullptr) return nccl::Result::kSuccess;
  auto comm = std::make_unique<Comm>(*std::move(flow),
                                     Devices::Get().MarksOf(context_));
  *recv_comm = comm.get();
  Devices::Get().Hold(std::move(comm), Devices::State::kEstablished, context_);
  return nccl::Result::kSuccess;
}

nccl::Result Connect(const void* context, int dev, void* handle,
                     void** send_comm) {
  *send_comm = nullptr;
  Devices& devices = Devices::Get();
  auto* bytes = static_cast<std::byte*>(handle);
  Note note;
  std::memcpy(&note, bytes + kListenHandleBytes, sizeof(note));
  if (!devices.Holds(note.connector, note.ticket)) {
    auto endpoint = devices.endpoint(dev);
    if (!endpoint.ok()) return FailWith(devices, endpoint.status(), "connect");
    auto connector = Connector::Create(**endpoint, {bytes, kListenHandleBytes});
    if (!connector.ok()) {
      return FailWith(devices, connector.status(), "connect");
    }
    note.connector = connector->get();
    note.ticket =
        devices.Hold(*std::move(connector), Devices::State::kHalfOpen, context);
    std::memcpy(bytes + kListenHandleBytes, &note, sizeof(note));
  }
  auto flow = note.connector->Connect();
  if (flow.ok() && *flow == nullptr) return nccl::Result::kSuccess;
  std::memset(bytes + kListenHandleBytes, 0, sizeof(note));
  if (flow.ok()) {
    auto comm = std::make_unique<Comm>(*std::move(flow));
    *send_comm = comm.get();
    devices.Hold(std::move(comm), Devices::State::kEstablished, context);
  }
  devices.Drop(note.connector);
  if (!flow.ok()) return FailWith(devices, flow.status(), "connect");
  return nccl::Result::kSuccess;
}

nccl::Result Close(void* held) {
  if (held != nullptr) Devices::Get().Drop(held);
  return nccl::Result::kSuccess;
}

}  // namespace hawser
