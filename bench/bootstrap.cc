#include "bench/bootstrap.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "bench/fail.h"

namespace hawser::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kMagic = 0x48415731;  // "HAW1".
// The longest frame: what the paths of one rank can fill many times over.
constexpr uint64_t kFrameMax = uint64_t{64} << 20;
// A stranger that says nothing holds up the others for so long.
constexpr int kHelloMs = 3000;
constexpr int kRetryMs = 50;  // Between attempts to reach rank 0.
// A rank that waits here waits for others that wait in the plugin; they know
// better what they wait for, so they shall speak first.
constexpr int kPatienceS = 5;
// How long a launched rank waits to be ended before it complains by itself.
constexpr int kQuietS = 10;

struct Hello {
  uint32_t magic;
  uint32_t rank;
  uint32_t ranks;
};
static_assert(sizeof(Hello) == 12);

addrinfo* Resolve(const std::string& address, bool passive) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) Fail("--root %s: %s", address.c_str(), gai_strerror(error));
  return found;
}

void NoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// True when `fd` is readable, false after `timeout_ms`.
bool WaitReadable(int fd, int64_t timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    pollfd wanted{fd, POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - Clock::now());
    const int ready =
        poll(&wanted, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

bool ReadHello(int fd, Hello* hello) {
  char* bytes = reinterpret_cast<char*>(hello);
  size_t got = 0;
  while (got < sizeof(*hello)) {
    if (!WaitReadable(fd, kHelloMs)) return false;
    const ssize_t n = recv(fd, bytes + got, sizeof(*hello) - got, 0);
    if (n <= 0) return false;
    got += static_cast<size_t>(n);
  }
  return hello->magic == kMagic;
}

}  // namespace

int ListenAt(const std::string& address) {
  addrinfo* found = Resolve(address, true);
  const int fd =
      socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, found->ai_protocol);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 ||
      listen(fd, SOMAXCONN) != 0) {
    Fail("cannot listen at %s: %s", address.c_str(), std::strerror(errno));
  }
  freeaddrinfo(found);
  return fd;
}

int PortOf(int listening_fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getsockname(listening_fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

Bootstrap::Bootstrap(const Place& place)
    : place_(place), fds_(static_cast<size_t>(place.ranks), -1) {
  if (place_.rank == 0) {
    const int fd = place_.root_fd >= 0 ? place_.root_fd : ListenAt(place_.root);
    Serve(fd);
    close(fd);
  } else {
    Join();
  }
  Barrier();
}

Bootstrap::~Bootstrap() {
  for (const int fd : fds_) {
    if (fd >= 0) close(fd);
  }
}

void Bootstrap::Serve(int listening_fd) {
  const auto deadline =
      Clock::now() + std::chrono::seconds(place_.timeout_s + kPatienceS);
  for (int missing = place_.ranks - 1; missing > 0;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - Clock::now());
    if (!WaitReadable(listening_fd, left.count())) {
      Fail("%d of %d ranks did not come within %d s", missing, place_.ranks,
           place_.timeout_s);
    }
    const int fd = accept4(listening_fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    Hello hello{};
    if (!ReadHello(fd, &hello)) {  // A stranger.
      close(fd);
      continue;
    }
    if (hello.ranks != static_cast<uint32_t>(place_.ranks)) {
      Fail("rank %u was started with --ranks %u, this one with %d", hello.rank,
           hello.ranks, place_.ranks);
    }
    if (hello.rank == 0 || hello.rank >= hello.ranks || fds_[hello.rank] >= 0) {
      Fail("two ranks with number %u", hello.rank);
    }
    NoDelay(fd);
    fds_[hello.rank] = fd;
    --missing;
  }
}

void Bootstrap::Join() {
  addrinfo* found = Resolve(place_.root, false);
  const auto deadline =
      Clock::now() + std::chrono::seconds(place_.timeout_s + kPatienceS);
  int fd = -1;
  while (fd < 0) {
    for (addrinfo* to = found; to != nullptr && fd < 0; to = to->ai_next) {
      fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, to->ai_protocol);
      if (fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
      }
    }
    if (fd >= 0) break;
    const int error = errno;
    if (Clock::now() > deadline) {
      Fail("rank 0 does not answer at %s: %s", place_.root.c_str(),
           std::strerror(error));
    }
    poll(nullptr, 0, kRetryMs);
  }
  freeaddrinfo(found);
  NoDelay(fd);
  fds_[0] = fd;
  const Hello hello{kMagic, static_cast<uint32_t>(place_.rank),
                    static_cast<uint32_t>(place_.ranks)};
  static_assert(std::is_trivially_copyable_v<Hello>);
  SendAll(0, {reinterpret_cast<const char*>(&hello), sizeof(hello)});
}

std::vector<std::string> Bootstrap::AllGather(std::string_view mine) {
  const auto frame = [](std::string_view bytes) {
    const uint64_t size = bytes.size();
    std::string framed(reinterpret_cast<const char*>(&size), sizeof(size));
    framed += bytes;
    return framed;
  };
  std::vector<std::string> all(fds_.size());
  if (place_.rank != 0) {
    SendAll(0, frame(mine));
    for (std::string& one : all) one = ReceiveFrame(0);
    return all;
  }
  all[0] = mine;
  for (int rank = 1; rank < place_.ranks; ++rank) {
    all[static_cast<size_t>(rank)] = ReceiveFrame(rank);
  }
  std::string bundle;
  for (const std::string& one : all) bundle += frame(one);
  for (int rank = 1; rank < place_.ranks; ++rank) SendAll(rank, bundle);
  return all;
}

void Bootstrap::CheckAllHere() {
  for (size_t peer = 0; peer < fds_.size(); ++peer) {
    if (fds_[peer] < 0) continue;
    pollfd watched{fds_[peer], POLLRDHUP, 0};
    if (poll(&watched, 1, 0) > 0) Gone(static_cast<int>(peer), "it has left");
  }
}

void Bootstrap::SendAll(int peer, std::string_view bytes) {
  const int fd = fds_[static_cast<size_t>(peer)];
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Gone(peer, std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string Bootstrap::ReceiveAll(int peer, size_t size) {
  const int fd = fds_[static_cast<size_t>(peer)];
  const int64_t patience_ms = (int64_t{place_.timeout_s} + kPatienceS) * 1000;
  std::string bytes(size, '\0');
  size_t got = 0;
  while (got < size) {
    if (!WaitReadable(fd, patience_ms)) {
      Fail("rank %d was not heard of for %d s", peer,
           place_.timeout_s + kPatienceS);
    }
    const ssize_t n = recv(fd, bytes.data() + got, size - got, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Gone(peer, std::strerror(errno));
    if (n == 0) Gone(peer, "it has left");
    got += static_cast<size_t>(n);
  }
  return bytes;
}

std::string Bootstrap::ReceiveFrame(int peer) {
  const std::string head = ReceiveAll(peer, sizeof(uint64_t));
  uint64_t size = 0;
  std::memcpy(&size, head.data(), sizeof(size));
  if (size > kFrameMax) Fail("rank %d sent a broken frame", peer);
  return ReceiveAll(peer, static_cast<size_t>(size));
}

void Bootstrap::Gone(int peer, const char* why) {
  if (place_.launched) poll(nullptr, 0, kQuietS * 1000);
  Fail("lost rank %d: %s", peer, why);
}

}  // namespace hawser::bench
