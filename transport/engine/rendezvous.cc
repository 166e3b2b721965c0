#include "transport/engine/rendezvous.h"

#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "transport/engine/clock.h"
#include "transport/engine/handshake_stream.h"
#include "transport/engine/last_error.h"
#include "transport/engine/reception.h"

namespace hawser {
namespace {

constexpr uint32_t kHandleMagic = 0x48575331;  // "HWS1"
// Where a listener can be reached, as docs/wire.md draws it.
struct Door {
  enum Family : uint16_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };
  uint16_t family = kNone;
  uint16_t port = 0;  // Network byte order, as is the address.
  uint8_t address[16] = {};
};

// The handle's layout. Only ever copied, never pointed at.
struct HandleWords {
  uint32_t magic = kHandleMagic;
  uint16_t version = wire::kHandshakeVersion;
  uint16_t engines = 0;
  uint64_t id = 0, secret = 0, nonce = 0;
  Door doors[Reception::kMaxDoors];
};
static_assert(sizeof(HandleWords) == kListenHandleBytes);

socklen_t LengthOf(const sockaddr_storage& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in)
                                      : sizeof(sockaddr_in6);
}

// (IPv6 without a scope: link-local addresses are never used.)
Door DoorAt(const sockaddr_storage& address) {
  Door door;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    door.family = Door::kIpv4;
    door.port = v4.sin_port;
    std::memcpy(door.address, &v4.sin_addr, 4);
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    door.family = Door::kIpv6;
    door.port = v6.sin6_port;
    std::memcpy(door.address, &v6.sin6_addr, 16);
  }
  return door;
}

std::optional<sockaddr_storage> AddressOf(const Door& door) {
  sockaddr_storage address = {};
  if (door.family == Door::kIpv4) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address);
    v4.sin_family = AF_INET;
    v4.sin_port = door.port;
    std::memcpy(&v4.sin_addr, door.address, 4);
  } else if (door.family == Door::kIpv6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = door.port;
    std::memcpy(&v6.sin6_addr, door.address, 16);
  } else {
    return std::nullopt;
  }
  return address;
}

}  // namespace

// --- Listener --------------------------------------------------------------

absl::StatusOr<std::unique_ptr<Listener>> Listener::Create(Endpoint& endpoint) {
  HandleWords words;
  if (getrandom(&words.nonce, sizeof(words.nonce), 0) != sizeof(words.nonce)) {
    return absl::ResourceExhaustedError(LastError("getrandom"));
  }
  auto doors = endpoint.reception().Enter(words.nonce);
  if (!doors.ok()) return doors.status();
  std::transform(doors->begin(), doors->end(), words.doors, DoorAt);
  words.engines = endpoint.engines();
  words.id = endpoint.identity().id;
  words.secret = endpoint.identity().secret;
  auto listener = std::unique_ptr<Listener>(
      new Listener(endpoint.reception(), words.nonce));
  std::memcpy(listener->handle_.data(), &words, sizeof(words));
  return listener;
}

Listener::~Listener() { reception_.Leave(nonce_); }

absl::StatusOr<std::unique_ptr<FlowEnd>> Listener::Accept() {
  return reception_.Accept(nonce_);
}

// --- Connector -------------------------------------------------------------

Connector::Connector(Endpoint& endpoint) : endpoint_(endpoint) {}

absl::StatusOr<std::unique_ptr<Connector>> Connector::Create(
    Endpoint& endpoint, std::span<const std::byte> handle) {
  HandleWords words;
  if (handle.size() < sizeof(words)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a listen handle has at least ", sizeof(words),
                     " bytes, and not ", handle.size()));
  }
  std::memcpy(&words, handle.data(), sizeof(words));
  auto connector = std::unique_ptr<Connector>(new Connector(endpoint));
  for (const Door& door : words.doors) {
    if (const auto address = AddressOf(door)) {
      connector->doors_.push_back(*address);
    }
  }
  if (words.magic != kHandleMagic || connector->doors_.empty() ||
      words.engines == 0) {
    return absl::InvalidArgumentError(
        "this is not a handle of a Hawser listener; expected the bytes that "
        "listen() filled in, unchanged");
  }
  if (words.version != wire::kHandshakeVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the listener speaks version ", words.version,
        " of Hawser's handshake, this side version ", wire::kHandshakeVersion,
        "; expected the same on both sides"));
  }
  // Comms to one peer are dealt out to its engines and ours alike.
  static std::atomic<uint16_t> next_engine{0};
  const auto engine = static_cast<uint16_t>(
      next_engine.fetch_add(1, std::memory_order_relaxed) %
      std::min(endpoint.engines(), words.engines));
  auto draft = endpoint.OpenFlow(Direction::kSend, engine,
                                 {words.id, words.secret}, engine);
  if (!draft.ok()) return draft.status();
  connector->draft_ = *std::move(draft);
  connector->draft_.introduction.listener_nonce = words.nonce;
  connector->listener_ = {words.id, words.secret};

  if (absl::Status knocked = connector->Knock(); !knocked.ok()) return knocked;
  return connector;
}

absl::Status Connector::Knock() {
  while (tried_ < doors_.size()) {
    const sockaddr_storage& door = doors_[tried_++];
    where_ = ToString(door);
    deadline_ = MonotonicNow() +
                Duration::Millis(endpoint_.config().handshake_timeout_ms) /
                    static_cast<int64_t>(doors_.size());
    const int fd =
        socket(door.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return absl::ResourceExhaustedError(LastError("socket"));
    stream_ = std::make_unique<HandshakeStream>(fd);
    stream_->KeepAlive();
    if (connect(fd, reinterpret_cast<const sockaddr*>(&door), LengthOf(door)) ==
            0 ||
        errno == EINPROGRESS || errno == EINTR) {
      return absl::OkStatus();
    }
    OnNoAnswer(errno);
  }
  return absl::UnavailableError(failures_);
}

void Connector::OnNoAnswer(int error) {
  absl::StrAppend(&failures_, failures_.empty() ? "" : "; ", "connect to ",
                  where_, ": ", strerror(error));
}

Connector::~Connector() {
  // Given up before the end: the listener must not take the flow for made.
  if (stream_ && draft_.flow) stream_->Abort();
}

absl::StatusOr<std::unique_ptr<FlowEnd>> Connector::Connect() {
  if (!greeted_) {
    int error = 0;
    if (!stream_->Connected(&error)) {
      if (MonotonicNow() < deadline_) return std::unique_ptr<FlowEnd>();
      error = ETIMEDOUT;
    }
    if (error != 0) {
      OnNoAnswer(error);
      if (absl::Status knocked = Knock(); !knocked.ok()) return knocked;
      return std::unique_ptr<FlowEnd>();
    }
    if (!stream_->Write(wire::EncodeIntroduction(wire::FrameKind::kHello,
                                                 draft_.introduction))) {
      return absl::UnavailableError(
          absl::StrCat("the listener at ", where_, " closed the connection"));
    }
    greeted_ = true;
  }
  switch (stream_->Read()) {
    case HandshakeStream::Got::kNothing:
      return std::unique_ptr<FlowEnd>();
    case HandshakeStream::Got::kFrame:
      break;
    case HandshakeStream::Got::kForeign:
      return absl::UnavailableError(
          absl::StrCat("what listens at ", where_, " does not speak Hawser"));
    case HandshakeStream::Got::kEnd:
    case HandshakeStream::Got::kBroken:
      return absl::UnavailableError(absl::StrCat(
          "the listener at ", where_, " went away during the handshake"));
  }
  if (const auto reason =
          wire::DecodeRefusal(stream_->header(), stream_->body())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the listener at ", where_, " refused: ", *reason));
  }
  const auto theirs =
      stream_->header().kind == wire::FrameKind::kWelcome
          ? wire::DecodeIntroduction(stream_->header(), stream_->body())
          : std::nullopt;
  if (!theirs) {
    return absl::UnavailableError(absl::StrCat(
        "the listener at ", where_, " sent neither welcome nor refusal"));
  }
  // The flow was opened for the endpoint that the handle speaks of.
  if (theirs->identity != listener_) {
    return absl::UnavailableError(absl::StrCat(
        "the listener at ", where_, " is not the one that made the handle"));
  }
  if (absl::Status connected = endpoint_.ConnectFlow(*draft_.flow, *theirs);
      !connected.ok()) {
    return connected;
  }
  return std::move(draft_.flow);
}

}  // namespace hawser
