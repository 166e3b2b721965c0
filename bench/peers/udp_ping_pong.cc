// The plainest ping-pong that the kernel offers: one UDP datagram back and
// forth between two processes that block in recv. What any transport over UDP
// sockets is to be held against. The client prints one line, round trips:
//   COUNT P50_US P99_US P99.9_US MIN_US MAX_US
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kDatagramMost = 65507;
// Loopback loses nothing, so this only ends a client whose server is gone.
constexpr time_t kPatienceS = 2;
// Before anything is counted: caches, and the clock of the cores.
constexpr double kWarmUpS = 0.1;
// Not one more is kept: far above what any duration that is used here gives.
constexpr size_t kSamplesMost = size_t{1} << 24;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(1);
}

sockaddr_in AddressOf(const char* text, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
    std::fprintf(stderr, "udp_ping_pong: %s is no IPv4 address\n", text);
    std::exit(2);
  }
  return address;
}

void Serve(int fd, const sockaddr_in& address) {
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
      0) {
    Die("bind");
  }
  std::vector<char> bytes(kDatagramMost);
  while (true) {
    sockaddr_in from{};
    socklen_t length = sizeof(from);
    const ssize_t size = recvfrom(fd, bytes.data(), bytes.size(), 0,
                                  reinterpret_cast<sockaddr*>(&from), &length);
    if (size < 0) Die("recvfrom");
    if (sendto(fd, bytes.data(), static_cast<size_t>(size), 0,
               reinterpret_cast<const sockaddr*>(&from), length) < 0) {
      Die("sendto");
    }
  }
}

double PlayOnce(int fd, std::vector<char>* bytes) {
  const auto begin = Clock::now();
  if (send(fd, bytes->data(), bytes->size(), 0) < 0) Die("send");
  if (recv(fd, bytes->data(), bytes->size(), 0) < 0) Die("recv");
  return std::chrono::duration<double, std::micro>(Clock::now() - begin)
      .count();
}

void Play(int fd, const sockaddr_in& address, size_t size_bytes,
          double duration_s) {
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    Die("connect");
  }
  const timeval patience{kPatienceS, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  std::vector<char> bytes(size_bytes, 'x');
  std::vector<double> times_us;
  times_us.reserve(1 << 20);  // No page is touched before its time.
  const auto seconds = [](double s) {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(s));
  };
  const auto warm = Clock::now() + seconds(kWarmUpS);
  while (Clock::now() < warm) PlayOnce(fd, &bytes);
  const auto end = Clock::now() + seconds(duration_s);
  while (Clock::now() < end && times_us.size() < kSamplesMost) {
    times_us.push_back(PlayOnce(fd, &bytes));
  }
  std::sort(times_us.begin(), times_us.end());
  // The least time that so many are not above.
  const auto at = [&](double fraction) {
    const double rank =
        std::ceil(fraction * static_cast<double>(times_us.size()));
    return times_us[static_cast<size_t>(std::max(rank, 1.0)) - 1];
  };
  if (times_us.empty()) {
    std::fprintf(stderr, "udp_ping_pong: nothing came back in time\n");
    std::exit(1);
  }
  std::printf("%zu %.3f %.3f %.3f %.3f %.3f\n", times_us.size(), at(0.5),
              at(0.99), at(0.999), times_us.front(), times_us.back());
}

}  // namespace

int main(int argc, char** argv) {
  const bool server = argc == 4 && std::strcmp(argv[1], "server") == 0;
  const bool client = argc == 6 && std::strcmp(argv[1], "client") == 0;
  if (!server && !client) {
    std::fprintf(stderr,
                 "usage: udp_ping_pong server ADDRESS PORT\n"
                 "       udp_ping_pong client ADDRESS PORT BYTES SECONDS\n");
    return 2;
  }
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) Die("socket");
  const sockaddr_in address = AddressOf(argv[2], std::atoi(argv[3]));
  if (server) {
    Serve(fd, address);
  } else {
    const size_t size_bytes = std::strtoul(argv[4], nullptr, 10);
    if (size_bytes < 1 || size_bytes > kDatagramMost) {
      std::fprintf(stderr, "udp_ping_pong: 1 to %zu bytes\n", kDatagramMost);
      return 2;
    }
    Play(fd, address, size_bytes, std::atof(argv[5]));
  }
  return 0;
}
