#include "tools/hawser_perf/control.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/datapath/interfaces.h"
#include "transport/engine/clock.h"

namespace hawser::perf {
namespace {

using nlohmann::json;

struct FreeAddresses {
  void operator()(addrinfo* found) const { freeaddrinfo(found); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

absl::StatusOr<Addresses> Resolve(const std::string& host, int port,
                                  bool passive) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::NotFoundError(
        absl::StrCat("the address '", host, "': ", gai_strerror(error)));
  }
  return Addresses(found);
}

// True when `fd` is ready for `events`, false when `until` is over.
bool WaitFor(int fd, short events, Time until) {
  while (true) {
    const Duration left = std::max(until - MonotonicNow(), Duration());
    pollfd wanted{fd, events, 0};
    // Rounded up: a wait must not end a little too early, again and again.
    const int ready =
        poll(&wanted, 1,
             static_cast<int>(std::min<int64_t>(left.millis() + 1, 1 << 30)));
    if (ready > 0) return true;
    if (MonotonicNow() >= until) return false;
  }
}

// As users write it: an IPv4 address that came through a socket for both
// families is an IPv4 address.
std::string Plain(const sockaddr_storage& address) {
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (address.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    return ToString(address);
  }
  sockaddr_storage plain{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(plain);
  v4.sin_family = AF_INET;
  v4.sin_port = v6.sin6_port;
  std::memcpy(&v4.sin_addr, v6.sin6_addr.s6_addr + 12, sizeof(v4.sin_addr));
  return ToString(plain);
}

// 0, or why the connection could not be made.
int ConnectTo(int fd, const addrinfo& to, Time until) {
  if (connect(fd, to.ai_addr, to.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!WaitFor(fd, POLLOUT, until)) return ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlLine>> ControlLine::Connect(
    const std::string& host, int port) {
  auto found = Resolve(host, port, false);
  if (!found.ok()) return found.status();
  const Time until = MonotonicNow() + kConnectMost;
  int error = 0;
  for (const addrinfo* to = found->get(); to != nullptr; to = to->ai_next) {
    const int fd =
        socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      error = errno;
      continue;
    }
    error = ConnectTo(fd, *to, until);
    if (error == 0) return std::make_unique<ControlLine>(fd);
    close(fd);
  }
  return absl::UnavailableError(absl::StrCat(
      "no server answers at ", host, ", port ", port, ": ", strerror(error)));
}

ControlLine::ControlLine(int fd) : fd_(fd) {
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getpeername(fd_, reinterpret_cast<sockaddr*>(&address), &length);
  far_ = Plain(address);
}

ControlLine::~ControlLine() { close(fd_); }

absl::Status ControlLine::Write(const json& document) {
  // Names may come from anywhere; what is not UTF-8 in them is replaced.
  const std::string line =
      document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const Time until = MonotonicNow() + kWriteMost;
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n =
        send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      if (!WaitFor(fd_, POLLOUT, until)) {
        return absl::DeadlineExceededError(
            absl::StrCat(far_, " does not read its control line"));
      }
    } else if (errno != EINTR) {
      return absl::AbortedError(
          absl::StrCat("the control line to ", far_, ": ", strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<json>> ControlLine::TryRead() {
  while (true) {
    const size_t end = held_.find('\n', searched_);
    if (end != std::string::npos) {
      json document =
          json::parse(held_.begin(), held_.begin() + end, nullptr, false);
      held_.erase(0, end + 1);
      searched_ = 0;
      if (!document.is_object()) break;
      return std::optional<json>(std::move(document));
    }
    searched_ = held_.size();
    if (held_.size() > kLineMost) break;
    char bytes[64 << 10];
    const ssize_t n = recv(fd_, bytes, sizeof(bytes), 0);
    if (n > 0) {
      held_.append(bytes, static_cast<size_t>(n));
    } else if (n == 0) {
      return absl::AbortedError(absl::StrCat(far_, " closed the control line"));
    } else if (errno == EAGAIN) {
      return std::optional<json>();
    } else if (errno != EINTR) {
      return absl::AbortedError(
          absl::StrCat("the control line to ", far_, ": ", strerror(errno)));
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("what is at ", far_, " is no hawser_perf"));
}

absl::StatusOr<json> ControlLine::Read(Duration patience) {
  const Time until = MonotonicNow() + patience;
  while (true) {
    auto read = TryRead();
    if (!read.ok()) return read.status();
    if (*read) return **std::move(read);
    if (!WaitFor(fd_, POLLIN, until)) {
      return absl::DeadlineExceededError(
          absl::StrCat(far_, " said nothing for ", patience.millis(), " ms"));
    }
  }
}

absl::StatusOr<std::unique_ptr<ControlDoor>> ControlDoor::Open(
    const std::string& address, int port) {
  // One socket for both families, unless an address is asked for; a host
  // without IPv6 has only the other.
  const std::string tried[] = {address.empty() ? "::" : address, "0.0.0.0"};
  absl::Status failure;
  for (const std::string& one : tried) {
    auto found = Resolve(one, port, true);
    if (!found.ok()) return found.status();
    const addrinfo& at = **found;
    const int fd =
        socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1, off = 0;
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd >= 0 && at.ai_family == AF_INET6 && address.empty()) {
      setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (fd >= 0 && bind(fd, at.ai_addr, at.ai_addrlen) == 0 &&
        listen(fd, SOMAXCONN) == 0) {
      return std::unique_ptr<ControlDoor>(new ControlDoor(fd));
    }
    failure = absl::UnavailableError(absl::StrCat(
        "cannot listen at ", one, ", port ", port, ": ", strerror(errno)));
    if (fd >= 0) close(fd);
    if (!address.empty()) break;
  }
  return failure;
}

ControlDoor::~ControlDoor() { close(fd_); }

std::string ControlDoor::where() const {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
  return ToString(address);
}

std::unique_ptr<ControlLine> ControlDoor::Accept(Duration patience) {
  const Time until = MonotonicNow() + patience;
  do {
    const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) return std::make_unique<ControlLine>(fd);
  } while (patience > Duration() && WaitFor(fd_, POLLIN, until));
  return nullptr;
}

}  // namespace hawser::perf
