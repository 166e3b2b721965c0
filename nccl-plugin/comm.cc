#include "nccl-plugin/comm.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace hawser {
namespace {

// NCCL's 128-byte handle: what a listener tells, then a place for connect() to
// note what it has begun. NCCL hands in the same bytes at every call.
constexpr size_t kNotePlace = kListenHandleBytes;
static_assert(kNotePlace + sizeof(void*) <= nccl::kHandleMaxBytes);

// A connector under way.
struct Connecting final : Held {
  std::unique_ptr<Connector> connector;
};

nccl::Result Fail(const absl::Status& status, const char* what) {
  Devices::Get().Log(nccl::LogLevel::kWarn,
                     absl::StrCat(what, ": ", status.message()));
  return ToNccl(status);
}

}  // namespace

nccl::Result Comm::Start(void* memory, size_t bytes, int tag,
                         void** request) {
  *request = nullptr;
  if (bytes > UINT32_MAX || (memory == nullptr && bytes > 0)) {
    return Fail(absl::InvalidArgumentError(absl::StrCat(
                    "a message has 0..", UINT32_MAX,
                    " bytes at an address, and not ", bytes, " at ",
                    absl::Hex(reinterpret_cast<uintptr_t>(memory)))),
                direction_ == Direction::kSend ? "isend" : "irecv");
  }
  Request* started =
      flow_->Submit({static_cast<std::byte*>(memory),
                     static_cast<uint32_t>(bytes), 0},
                    static_cast<uint32_t>(tag));
  if (started == nullptr) return nccl::Result::kSuccess;
  CommRequest& slot = requests_[started->slot];
  slot = {this, started, static_cast<uint32_t>(bytes)};
  *request = &slot;
  return nccl::Result::kSuccess;
}

nccl::Result Comm::Test(CommRequest& request, int* done, int* size) {
  *done = 0;
  Request::Outcome outcome;
  uint32_t bytes_moved;
  if (!flow_->Test(request.request, &outcome, &bytes_moved)) {
    return nccl::Result::kSuccess;
  }
  switch (outcome) {
    case Request::Outcome::kOk:
      *done = 1;
      if (size != nullptr) *size = static_cast<int>(bytes_moved);
      return nccl::Result::kSuccess;
    case Request::Outcome::kTruncated:
      Devices::Get().Log(
          nccl::LogLevel::kWarn,
          direction_ == Direction::kSend
              ? absl::StrCat("a message of ", request.bytes,
                             " bytes is larger than the buffer that the "
                             "receiver posted for it")
              : absl::StrCat("a message is larger than the buffer of ",
                             request.bytes, " bytes that was posted for it"));
      return nccl::Result::kInvalidUsage;
    case Request::Outcome::kPeerLost:
    case Request::Outcome::kClosed:
      break;
  }
  // One warning per peer: a thousand comms may hang on it.
  bool first = false;
  const std::string why = flow_->Failure(&first);
  Devices::Get().Log(
      first ? nccl::LogLevel::kWarn : nccl::LogLevel::kInfo, why);
  return nccl::Result::kRemoteError;
}

nccl::Result ListenComm::Listen(int dev, void* handle, void** listen_comm) {
  *listen_comm = nullptr;
  auto endpoint = Devices::Get().endpoint(dev);
  if (!endpoint.ok()) return Fail(endpoint.status(), "listen");
  auto listener = Listener::Create(**endpoint);
  if (!listener.ok()) return Fail(listener.status(), "listen");
  auto comm = std::make_unique<ListenComm>();
  comm->listener_ = *std::move(listener);
  std::memset(handle, 0, nccl::kHandleMaxBytes);
  std::memcpy(handle, comm->listener_->handle().data(), kListenHandleBytes);
  *listen_comm = Devices::Get().Hold(std::move(comm), /*established=*/false);
  return nccl::Result::kSuccess;
}

nccl::Result ListenComm::Accept(void** recv_comm) {
  *recv_comm = nullptr;
  auto flow = listener_->Accept();
  if (!flow.ok()) return Fail(flow.status(), "accept");
  if (*flow == nullptr) return nccl::Result::kSuccess;
  *recv_comm = Devices::Get().Hold(
      std::make_unique<Comm>(*std::move(flow), Direction::kReceive),
      /*established=*/true);
  return nccl::Result::kSuccess;
}

nccl::Result Connect(int dev, void* handle, void** send_comm) {
  *send_comm = nullptr;
  Devices& devices = Devices::Get();
  auto* bytes = static_cast<std::byte*>(handle);
  Connecting* connecting = nullptr;
  std::memcpy(&connecting, bytes + kNotePlace, sizeof(connecting));
  if (connecting == nullptr || !devices.Holds(connecting)) {
    auto endpoint = devices.endpoint(dev);
    if (!endpoint.ok()) return Fail(endpoint.status(), "connect");
    auto connector =
        Connector::Create(**endpoint, {bytes, kListenHandleBytes});
    if (!connector.ok()) return Fail(connector.status(), "connect");
    auto begun = std::make_unique<Connecting>();
    begun->connector = *std::move(connector);
    connecting = devices.Hold(std::move(begun), /*established=*/false);
    std::memcpy(bytes + kNotePlace, &connecting, sizeof(connecting));
  }
  auto flow = connecting->connector->Connect();
  if (flow.ok() && *flow == nullptr) return nccl::Result::kSuccess;
  std::memset(bytes + kNotePlace, 0, sizeof(connecting));
  if (flow.ok()) {
    *send_comm = devices.Hold(
        std::make_unique<Comm>(*std::move(flow), Direction::kSend),
        /*established=*/true);
  }
  devices.Drop(connecting);
  if (!flow.ok()) return Fail(flow.status(), "connect");
  return nccl::Result::kSuccess;
}

nccl::Result Close(void* held) {
  if (held != nullptr) Devices::Get().Drop(held);
  return nccl::Result::kSuccess;
}

}  // namespace hawser
