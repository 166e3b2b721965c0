#include "transport/engine/rendezvous.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "transport/engine/clock.h"

namespace hawser {
namespace {

constexpr uint32_t kHandleMagic = 0x48575331;  // "HWS1"
// Strangers may open connections and say nothing; the oldest gives way.
constexpr size_t kMaxGuests = 256;
// A listener whose host died is noticed by the kernel's keepalive: after 10 s
// of silence, six probes 5 s apart.
constexpr int kKeepIdleSeconds = 10, kKeepIntervalSeconds = 5, kKeepProbes = 6;

// Where a listener can be reached, as docs/wire.md draws it.
struct Door {
  enum Family : uint16_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };
  uint16_t family = kNone;
  uint16_t port = 0;  // Network byte order, as is the address.
  uint8_t address[16] = {};
};
constexpr size_t kMaxDoors = 4;

// The handle's layout. Only ever copied, never pointed at.
struct HandleWords {
  uint32_t magic = kHandleMagic;
  uint16_t version = wire::kHandshakeVersion;
  uint16_t engines = 0;
  uint64_t id = 0, secret = 0, nonce = 0;
  Door doors[kMaxDoors];
};
static_assert(sizeof(HandleWords) == kListenHandleBytes);

std::string LastError(const char* what) {
  return absl::StrCat(what, ": ", strerror(errno));
}

// Of accept(): all but these are the troubles of one connection, which Linux
// reports where it is taken off the queue, and no reason to give up.
bool IsOfTheSystem(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM || error == EBADF || error == EINVAL;
}

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

// One TCP connection that carries frames. Owns the descriptor.
class HandshakeStream {
 public:
  explicit HandshakeStream(int fd) : fd_(fd) {
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  // A process that was forked meanwhile has a copy of the descriptor, and
  // while one is open close() tells the far side nothing.
  ~HandshakeStream() {
    shutdown(fd_, SHUT_WR);
    close(fd_);
  }
  HandshakeStream(const HandshakeStream&) = delete;
  HandshakeStream& operator=(const HandshakeStream&) = delete;

  // A far side whose host died is noticed all the same.
  void KeepAlive() const {
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd_, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepIdleSeconds, sizeof(int));
    setsockopt(fd_, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepIntervalSeconds,
               sizeof(int));
    setsockopt(fd_, IPPROTO_TCP, TCP_KEEPCNT, &kKeepProbes, sizeof(int));
  }
  // Whether connect() has come to an end; its errno in `*error`.
  bool Connected(int* error) const {
    pollfd waits = {fd_, POLLOUT, 0};
    if (poll(&waits, 1, 0) <= 0) return false;
    socklen_t length = sizeof(*error);
    if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, error, &length) != 0) {
      *error = errno;
    }
    return true;
  }
  // A frame is far smaller than a socket's buffer: all of it goes, or the
  // connection is broken.
  bool Write(std::span<const std::byte> frame) const {
    return send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(frame.size());
  }
  // Reads what is there. kFrame: header() and body() are whole. kForeign: it
  // does not speak our language. kEnd: closed in an orderly way, on a frame's
  // border.
  enum class Got : uint8_t { kNothing, kFrame, kForeign, kEnd, kBroken };
  Got Read() {
    while (true) {
      size_t wanted = wire::kFrameHeaderBytes;
      if (held_ >= wire::kFrameHeaderBytes) {
        if (!header_) {
          header_ = wire::DecodeFrameHeader(
              std::span(bytes_).first(wire::kFrameHeaderBytes));
          if (!header_) return Got::kForeign;
        }
        wanted += header_->body_bytes;
        if (held_ == wanted) return Got::kFrame;
      }
      const ssize_t got =
          recv(fd_, bytes_.data() + held_, wanted - held_, MSG_DONTWAIT);
      if (got == 0) return held_ == 0 ? Got::kEnd : Got::kBroken;
      if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? Got::kNothing : Got::kBroken;
      }
      held_ += static_cast<size_t>(got);
    }
  }
  // Whether the far side's system has taken all that was written. Known at the
  // end of file: what it had not by then it will never have.
  bool Taken() const {
    int bytes_left = 0;
    return ioctl(fd_, SIOCOUTQ, &bytes_left) == 0 && bytes_left == 0;
  }
  const wire::FrameHeader& header() const { return *header_; }
  std::span<const std::byte> body() const {
    return std::span(bytes_).subspan(wire::kFrameHeaderBytes,
                                     header_->body_bytes);
  }
  void NextFrame() {
    held_ = 0;
    header_.reset();
  }
  // The far side sees a reset, and not an end of file, whoever else has a copy
  // of the descriptor.
  void Abort() const {
    const sockaddr nowhere = {AF_UNSPEC, {}};
    connect(fd_, &nowhere, sizeof(nowhere));
  }

 private:
  const int fd_;
  std::array<std::byte, wire::kMaxFrameBytes> bytes_;
  size_t held_ = 0;
  std::optional<wire::FrameHeader> header_;
};

// --- Listener --------------------------------------------------------------

// A connection that may become a flow.
struct Listener::Guest {
  Guest(int fd, Time until) : stream(fd), deadline(until) {
    stream.KeepAlive();
  }
  HandshakeStream stream;
  Time deadline;                  // Of its Hello.
  std::unique_ptr<FlowEnd> flow;  // Once the Hello was good.
};

Listener::Listener(Endpoint& endpoint) : endpoint_(endpoint) {}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Create(Endpoint& endpoint) {
  auto listener = std::unique_ptr<Listener>(new Listener(endpoint));
  HandleWords words;
  absl::Status first_failure;
  for (const Interface& interface : endpoint.interfaces()) {
    if (listener->fds_.size() == kMaxDoors) break;
    sockaddr_storage address = interface.address;
    if (absl::Status opened = listener->OpenDoor(address); opened.ok()) {
      words.doors[listener->fds_.size() - 1] = DoorAt(address);
    } else {
      endpoint.Log(LogLevel::kInfo, std::string(opened.message()));
      first_failure.Update(opened);
    }
  }
  // An interface may be gone by now; one that is left will do.
  if (listener->fds_.empty()) return first_failure;
  if (getrandom(&listener->nonce_, sizeof(listener->nonce_), 0) !=
      sizeof(listener->nonce_)) {
    return absl::ResourceExhaustedError(LastError("getrandom"));
  }
  words.engines = endpoint.engines();
  words.id = endpoint.identity().id;
  words.secret = endpoint.identity().secret;
  words.nonce = listener->nonce_;
  std::memcpy(listener->handle_.data(), &words, sizeof(words));
  return listener;
}

absl::Status Listener::OpenDoor(sockaddr_storage& address) {
  const std::string where = ToString(address);
  const int fd =
      socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ResourceExhaustedError(LastError("socket"));
  socklen_t length = LengthOf(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(fd, SOMAXCONN) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    const std::string why =
        LastError(absl::StrCat("cannot listen on ", where).c_str());
    close(fd);
    return absl::ResourceExhaustedError(why);
  }
  fds_.push_back(fd);
  return absl::OkStatus();
}

Listener::~Listener() {
  for (const auto& guest : guests_) guest->stream.Abort();
  for (const int fd : fds_) {
    shutdown(fd, SHUT_RDWR);  // Whoever waits in its queue is reset.
    close(fd);
  }
}

// Of those that have said nothing yet, if there is one.
void Listener::DropOldest() {
  const auto silent =
      std::find_if(guests_.begin(), guests_.end(),
                   [](const auto& guest) { return guest->flow == nullptr; });
  guests_.erase(silent != guests_.end() ? silent : guests_.begin());
}

absl::StatusOr<std::unique_ptr<FlowEnd>> Listener::Accept() {
  const Time now = MonotonicNow();
  const Duration patience =
      Duration::Millis(endpoint_.config().handshake_timeout_ms);
  for (const int door : fds_) {
    while (true) {
      const int fd =
          accept4(door, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (IsOfTheSystem(errno)) {
          return absl::ResourceExhaustedError(LastError("accept"));
        }
        break;  // Nobody there, or nobody any more.
      }
      if (guests_.size() == kMaxGuests) DropOldest();
      guests_.push_back(std::make_unique<Guest>(fd, now + patience));
    }
  }
  for (size_t i = 0; i < guests_.size();) {
    switch (Serve(*guests_[i], now)) {
      case Progress::kAgain:
        ++i;
        break;
      case Progress::kGone:
        guests_.erase(guests_.begin() + i);
        break;
      case Progress::kAccepted: {
        std::unique_ptr<FlowEnd> flow = std::move(guests_[i]->flow);
        guests_.erase(guests_.begin() + i);
        return flow;
      }
    }
  }
  return std::unique_ptr<FlowEnd>();
}

Listener::Progress Listener::Serve(Guest& guest, Time now) {
  switch (guest.stream.Read()) {
    case HandshakeStream::Got::kNothing:
      // Who was welcomed may come back to its connector minutes later, and
      // then takes the flow for made. Only the connection tells if it will.
      if (guest.flow || now < guest.deadline) return Progress::kAgain;
      endpoint_.Log(LogLevel::kInfo, "a connection said no hello in time");
      return Progress::kGone;
    case HandshakeStream::Got::kEnd:
      // It came to its end without the Welcome if it was killed before that
      // arrived. (Where it had arrived unread, the system resets.)
      return guest.flow && guest.stream.Taken() ? Progress::kAccepted
                                                : Progress::kGone;
    case HandshakeStream::Got::kForeign:
      endpoint_.Log(LogLevel::kInfo,
                    "a connection that does not speak Hawser was closed");
      return Progress::kGone;
    case HandshakeStream::Got::kBroken:
      return Progress::kGone;
    case HandshakeStream::Got::kFrame:
      break;
  }
  const absl::Status greeted = Greet(guest);
  if (greeted.ok()) {
    guest.stream.NextFrame();
    return Progress::kAgain;
  }
  endpoint_.Log(LogLevel::kInfo,
                absl::StrCat("a handshake was refused: ", greeted.message()));
  guest.stream.Write(wire::EncodeRefusal(
      {greeted.message().data(), greeted.message().size()}));
  return Progress::kGone;
}

// Judges a Hello and answers it with a Welcome; what it returns is the reason
// for a refusal.
absl::Status Listener::Greet(Guest& guest) {
  const wire::FrameHeader& header = guest.stream.header();
  if (header.version != wire::kHandshakeVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("this side speaks version ", wire::kHandshakeVersion,
                     " of Hawser's handshake, the other side version ",
                     header.version, "; expected the same on both sides"));
  }
  const auto theirs =
      header.kind == wire::FrameKind::kHello && !guest.flow
          ? wire::DecodeIntroduction(header, guest.stream.body())
          : std::nullopt;
  if (!theirs) {
    return absl::InvalidArgumentError("expected one intact hello");
  }
  if (theirs->listener_nonce != nonce_) {
    return absl::PermissionDeniedError(
        "the hello does not know this listener's handle");
  }
  // Before anything is kept of who asks.
  if (theirs->datapath != endpoint_.datapath()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this side uses the datapath ", endpoint_.datapath(),
                     ", the other side ", theirs->datapath,
                     "; expected the same HAWSER_DATAPATH on both sides"));
  }
  auto draft = endpoint_.OpenFlow(Direction::kReceive, theirs->engine,
                                  theirs->identity, theirs->engine);
  if (!draft.ok()) return draft.status();
  if (absl::Status connected = endpoint_.ConnectFlow(*draft->flow, *theirs);
      !connected.ok()) {
    return connected;
  }
  if (!guest.stream.Write(wire::EncodeIntroduction(wire::FrameKind::kWelcome,
                                                   draft->introduction))) {
    return absl::UnavailableError("the connection broke");
  }
  guest.flow = std::move(draft->flow);
  return absl::OkStatus();
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
