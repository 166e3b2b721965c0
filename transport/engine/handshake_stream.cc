#include "transport/engine/handshake_stream.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace hawser {
namespace {

// A far side whose host died is noticed by the kernel's keepalive: after 10 s
// of silence, six probes 5 s apart.
constexpr int kKeepIdleSeconds = 10, kKeepIntervalSeconds = 5, kKeepProbes = 6;

}  // namespace

HandshakeStream::HandshakeStream(int fd) : fd_(fd) {
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// A process that was forked meanwhile has a copy of the descriptor, and while
// one is open close() tells the far side nothing.
HandshakeStream::~HandshakeStream() {
  shutdown(fd_, SHUT_WR);
  close(fd_);
}

void HandshakeStream::KeepAlive() const {
  const int on = 1;
  setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd_, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepIdleSeconds, sizeof(int));
  setsockopt(fd_, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepIntervalSeconds,
             sizeof(int));
  setsockopt(fd_, IPPROTO_TCP, TCP_KEEPCNT, &kKeepProbes, sizeof(int));
}

bool HandshakeStream::Connected(int* error) const {
  pollfd waits = {fd_, POLLOUT, 0};
  if (poll(&waits, 1, 0) <= 0) return false;
  socklen_t length = sizeof(*error);
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, error, &length) != 0) {
    *error = errno;
  }
  return true;
}

bool HandshakeStream::Write(std::span<const std::byte> frame) const {
  return send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(frame.size());
}

HandshakeStream::Got HandshakeStream::Read() {
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

bool HandshakeStream::Taken() const {
  int bytes_left = 0;
  return ioctl(fd_, SIOCOUTQ, &bytes_left) == 0 && bytes_left == 0;
}

void HandshakeStream::NextFrame() {
  held_ = 0;
  header_.reset();
}

void HandshakeStream::Abort() const {
  const sockaddr nowhere = {AF_UNSPEC, {}};
  connect(fd_, &nowhere, sizeof(nowhere));
}

}  // namespace hawser
