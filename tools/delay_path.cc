// Wires with a delay, for kernels without netem: carries Ethernet frames
// between pairs of TAP devices in two network namespaces, each frame after its
// wire's delay, in order.
//
//   delay_path TABLE NETNS DEVICE NETNS DEVICE [NETNS DEVICE NETNS DEVICE]...
//
// Four arguments are a wire. TABLE is a file of two 64-bit numbers per wire,
// the delays there and back in nanoseconds; it is mapped, so whoever writes to
// it changes the delay of the frames that enter from then on. Says "ready" when
// all devices are open, and ends when one of them is gone.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace {

constexpr size_t kFrameBytes = 9216;   // An MTU of 9000, and its header.
constexpr size_t kMaxFrames = 65'536;  // Under way in a direction; more drop.
constexpr int kReadBatch = 32;         // Then the other wires have their turn.
constexpr int64_t kSecond = 1'000'000'000;

using Buffer = std::unique_ptr<char[]>;

struct Frame {
  int64_t due;
  size_t bytes;
  Buffer buffer;
};

// One direction of a wire.
struct Way {
  int in, out;
  const std::atomic<uint64_t>* delay_ns;
  std::deque<Frame> under_way;
};

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

int64_t Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

int OpenTap(const char* netns, const char* device) {
  const int ns = open(netns, O_RDONLY | O_CLOEXEC);
  if (ns < 0 || setns(ns, CLONE_NEWNET) != 0) Die(netns);
  close(ns);
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) Die("/dev/net/tun");
  ifreq request = {};
  std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (ioctl(fd, TUNSETIFF, &request) != 0) Die(device);
  return fd;
}

// Buffers that were used last are used next: they are still in the cache.
class Pool {
 public:
  Buffer Take() {
    if (free_.empty()) return Buffer(new char[kFrameBytes]);
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void Give(Buffer buffer) { free_.push_back(std::move(buffer)); }

 private:
  std::vector<Buffer> free_;
};

void Enter(Way& way, Pool& pool) {
  for (int i = 0; i < kReadBatch; ++i) {
    Buffer buffer = pool.Take();
    const ssize_t bytes = read(way.in, buffer.get(), kFrameBytes);
    if (bytes < 0 && errno != EAGAIN && errno != EINTR) std::exit(0);
    if (bytes <= 0 || way.under_way.size() >= kMaxFrames) {
      pool.Give(std::move(buffer));
      if (bytes <= 0) return;
      continue;
    }
    const uint64_t delay = way.delay_ns->load(std::memory_order_relaxed);
    way.under_way.push_back({Now() + static_cast<int64_t>(delay),
                             static_cast<size_t>(bytes), std::move(buffer)});
  }
}

void Leave(Way& way, Pool& pool) {
  const int64_t now = Now();
  while (!way.under_way.empty() && way.under_way.front().due <= now) {
    Frame frame = std::move(way.under_way.front());
    way.under_way.pop_front();
    // A receiver that is down or full loses the frame, as on any wire.
    if (write(way.out, frame.buffer.get(), frame.bytes) < 0 &&
        errno == EBADFD) {
      std::exit(0);
    }
    pool.Give(std::move(frame.buffer));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6 || (argc - 2) % 4 != 0) {
    std::fprintf(stderr, "usage: delay_path TABLE NETNS DEVICE NETNS DEVICE\n");
    return 2;
  }
  const size_t wires = static_cast<size_t>(argc - 2) / 4;
  const int file = open(argv[1], O_RDONLY | O_CLOEXEC);
  if (file < 0) Die(argv[1]);
  const void* table = mmap(nullptr, wires * 2 * sizeof(uint64_t), PROT_READ,
                           MAP_SHARED, file, 0);
  if (table == MAP_FAILED) Die(argv[1]);
  const auto* delays = static_cast<const std::atomic<uint64_t>*>(table);

  std::deque<Way> ways;  // Which needs no copies to grow.
  std::vector<pollfd> polled;
  for (size_t w = 0; w < wires; ++w) {
    char** const words = argv + 2 + 4 * w;
    const int one = OpenTap(words[0], words[1]);
    const int other = OpenTap(words[2], words[3]);
    ways.push_back({one, other, &delays[2 * w], {}});
    ways.push_back({other, one, &delays[2 * w + 1], {}});
    polled.push_back({one, POLLIN, 0});
    polled.push_back({other, POLLIN, 0});
  }
  prctl(PR_SET_TIMERSLACK, 1);  // By default a sleep takes 50 us longer.
  std::puts("ready");
  std::fclose(stdout);

  Pool pool;
  while (true) {
    int64_t wake = INT64_MAX;
    for (const Way& way : ways) {
      if (!way.under_way.empty()) {
        wake = std::min(wake, way.under_way.front().due);
      }
    }
    timespec wait = {};
    if (wake != INT64_MAX) {
      const int64_t pause = std::max<int64_t>(wake - Now(), 0);
      wait = {pause / kSecond, pause % kSecond};
    }
    if (ppoll(polled.data(), polled.size(), wake == INT64_MAX ? nullptr : &wait,
              nullptr) < 0 &&
        errno != EINTR) {
      Die("poll");
    }
    for (size_t i = 0; i < ways.size(); ++i) {
      if (polled[i].revents != 0) Enter(ways[i], pool);
      Leave(ways[i], pool);
    }
  }
}
