// What only UDP promises: ports, ECN, MTUs, arrival times, and what it does
// where the system is full or lacks something. Everything stays on loopback,
// some of it on the loopback of a network namespace made for the test.

#include "transport/datapath/udp.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/datapath/loopback.h"

namespace {

// How often the datapath has set an option of a socket.
thread_local int options_set = 0;

}  // namespace

// In place of the C library's, for this program.
int setsockopt(int socket, int level, int option, const void* value,
               socklen_t bytes) noexcept {
  ++options_set;
  return static_cast<int>(
      syscall(SYS_setsockopt, socket, level, option, value, bytes));
}

namespace hawser {
namespace {

using testing::HasSubstr;

constexpr PeerId kPeer{2};
constexpr Duration kPatience = Duration::Seconds(5);
constexpr Duration kSilence = Duration::Millis(100);

std::unique_ptr<UdpDatapath> Make(const UdpOptions& options) {
  auto made = UdpDatapath::Create(options, nullptr);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : nullptr;
}

struct Datagram {
  std::vector<std::byte> bytes;
  uint16_t from_port = 0;
  int tos = -1;
};

// A plain socket on 127.0.0.1: what the rest of the world sees of us.
class PlainSocket {
 public:
  PlainSocket() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in any = {};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
    const int on = 1;
    setsockopt(fd_, IPPROTO_IP, IP_RECVTOS, &on, sizeof on);
  }
  ~PlainSocket() { close(fd_); }
  PlainSocket(const PlainSocket&) = delete;

  uint16_t port() const {
    sockaddr_in bound = {};
    socklen_t length = sizeof bound;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &length);
    return ntohs(bound.sin_port);
  }

  // As udp.h tells the layout, and not as udp.cc writes it.
  PlaneAddress address() const {
    PlaneAddress made;
    made.length = 7;
    made.max_packet_bytes = 65507;
    const uint8_t bytes[] = {4,
                             static_cast<uint8_t>(port() >> 8),
                             static_cast<uint8_t>(port()),
                             127,
                             0,
                             0,
                             1};
    std::memcpy(made.bytes.data(), bytes, sizeof bytes);
    return made;
  }

  void SendTo(const Datapath& plane, const std::vector<std::byte>& bytes,
              int tos = 0) {
    const auto there = UdpDatapath::SocketAddress(plane.address());
    ASSERT_TRUE(there);
    setsockopt(fd_, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
    ASSERT_EQ(
        sendto(fd_, bytes.data(), bytes.size(), 0,
               reinterpret_cast<const sockaddr*>(&*there), sizeof(sockaddr_in)),
        static_cast<ssize_t>(bytes.size()));
  }

  std::optional<Datagram> Read(Duration limit = kPatience) {
    if (!WaitReadable(fd_, limit)) return std::nullopt;
    Datagram read;
    read.bytes.resize(65536);
    sockaddr_in from = {};
    alignas(cmsghdr) char control[64];
    iovec piece = {read.bytes.data(), read.bytes.size()};
    msghdr head = {};
    head.msg_name = &from;
    head.msg_namelen = sizeof from;
    head.msg_iov = &piece;
    head.msg_iovlen = 1;
    head.msg_control = control;
    head.msg_controllen = sizeof control;
    const ssize_t length = recvmsg(fd_, &head, 0);
    if (length < 0) return std::nullopt;
    read.bytes.resize(static_cast<size_t>(length));
    read.from_port = ntohs(from.sin_port);
    for (cmsghdr* one = CMSG_FIRSTHDR(&head); one != nullptr;
         one = CMSG_NXTHDR(&head, one)) {
      if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_TOS) {
        read.tos = *CMSG_DATA(one);
      }
    }
    return read;
  }

 private:
  int fd_;
};

std::vector<std::byte> Filled(size_t length, int value) {
  return std::vector<std::byte>(length, static_cast<std::byte>(value));
}

TxPacket PacketOf(std::vector<std::byte>& bytes, uint16_t entropy = 0) {
  TxPacket packet;
  packet.peer = kPeer;
  packet.entropy = entropy;
  packet.payload = {bytes.data(), static_cast<uint32_t>(bytes.size()), 0};
  return packet;
}

// `count` packets of `length` bytes; the first byte of each counts up.
std::vector<std::vector<std::byte>> Series(size_t count, size_t length) {
  std::vector<std::vector<std::byte>> made;
  for (size_t i = 0; i < count; ++i) {
    made.push_back(Filled(length, static_cast<int>(i)));
  }
  return made;
}

std::vector<TxPacket> BatchOf(std::vector<std::vector<std::byte>>& series) {
  std::vector<TxPacket> batch;
  for (auto& bytes : series) batch.push_back(PacketOf(bytes));
  return batch;
}

// Receives until nothing has come for `limit`, or `count` packets have.
std::vector<std::vector<std::byte>> ReadAll(Datapath& plane, size_t count,
                                            Duration limit = kPatience) {
  std::vector<std::vector<std::byte>> read;
  std::vector<RxPacket> out(64);
  while (read.size() < count) {
    const size_t got = plane.Receive(out);
    for (size_t i = 0; i < got; ++i) {
      read.emplace_back(out[i].bytes.begin(), out[i].bytes.end());
    }
    plane.Recycle();
    if (got == 0 && !WaitReadable(plane.poll_fd(), limit)) break;
  }
  return read;
}

// This process's socket that is bound to `port`.
int SocketAtPort(uint16_t port) {
  int found = -1;
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return found;
  while (const dirent* entry = readdir(folder)) {
    sockaddr_in bound = {};
    socklen_t length = sizeof bound;
    const int fd = std::atoi(entry->d_name);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) == 0 &&
        bound.sin_family == AF_INET && ntohs(bound.sin_port) == port) {
      found = fd;
    }
  }
  closedir(folder);
  return found;
}

// Runs `body` in a thread with a loopback of its own, which vanishes with the
// thread. Returns why that cannot be done here; empty: it was.
std::string InOwnNetwork(const std::function<void()>& body) {
  std::string why_not;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      why_not = std::string("no network namespace: ") + std::strerror(errno);
    } else if (std::system("ip link set lo up") != 0) {
      why_not = "`ip` cannot set the interface up";
    } else {
      body();
    }
  }).join();
  return why_not;
}

void SetLoopbackMtu(int mtu) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_mtu = mtu;
  EXPECT_EQ(ioctl(fd, SIOCSIFMTU, &request), 0) << std::strerror(errno);
  close(fd);
}

TEST(UdpDatapathCreate, SaysWhatStandsInTheWay) {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.entropies = 0;
  EXPECT_THAT(UdpDatapath::Create(options, nullptr).status().ToString(),
              HasSubstr("entropies must be 1 to 1024, not 0"));
  options.entropies = kMaxPaths + 1;
  EXPECT_FALSE(UdpDatapath::Create(options, nullptr).ok());

  options = LoopbackOptions("127.0.0.1");
  options.interface_mtu = 200;
  EXPECT_THAT(UdpDatapath::Create(options, nullptr).status().ToString(),
              HasSubstr("MTU 200"));

  EXPECT_FALSE(UdpDatapath::Create(UdpOptions{}, nullptr).ok());
  EXPECT_FALSE(UdpDatapath::Create(LoopbackOptions("0.0.0.0"), nullptr).ok());
  EXPECT_FALSE(UdpDatapath::Create(LoopbackOptions("224.0.0.1"), nullptr).ok());
  // TEST-NET-1 (RFC 5737) is nobody's address.
  EXPECT_THAT(UdpDatapath::Create(LoopbackOptions("192.0.2.1"), nullptr)
                  .status()
                  .ToString(),
              HasSubstr("cannot bind a UDP socket at 192.0.2.1"));

  const PlainSocket taken;
  options = LoopbackOptions("127.0.0.1");
  reinterpret_cast<sockaddr_in&>(options.local).sin_port = htons(taken.port());
  EXPECT_THAT(UdpDatapath::Create(options, nullptr).status().ToString(),
              HasSubstr("cannot bind"));
}

// Descriptors are the application's as well, and it may have used them up.
TEST(UdpDatapathCreate, SaysWhatManyPathsNeed) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.entropies = 512;
  const absl::Status status = UdpDatapath::Create(options, nullptr).status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.ToString(), HasSubstr("more than 100 files open"));
  EXPECT_THAT(status.ToString(), HasSubstr("ulimit -n"));
  EXPECT_THAT(status.ToString(), HasSubstr("HAWSER_PATHS"));
}

TEST(UdpDatapathCreate, WarnsOfASmallSystemLimit) {
  std::vector<std::string> warnings;
  std::thread([&] {
    // Only this thread gives up the right to exceed the limits.
    __user_cap_header_struct who = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct rights[2] = {};
    ASSERT_EQ(syscall(SYS_capset, &who, rights), 0);
    UdpOptions options = LoopbackOptions("127.0.0.1");
    options.socket_buffer_bytes = 1 << 30;
    EXPECT_TRUE(UdpDatapath::Create(options, &warnings).ok());
  }).join();
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_THAT(warnings[0], HasSubstr("sysctl -w net.core.rmem_max=1073741824"));
  EXPECT_THAT(warnings[1], HasSubstr("sysctl -w net.core.wmem_max=1073741824"));
  warnings.clear();
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.socket_buffer_bytes = 16 << 10;  // Any system grants this.
  EXPECT_TRUE(UdpDatapath::Create(options, &warnings).ok());
  EXPECT_THAT(warnings, testing::IsEmpty());
}

TEST(UdpDatapathAddress, FollowsTheMtu) {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.interface_mtu = 1500;
  EXPECT_EQ(Make(options)->address().max_packet_bytes, 1472u);
  options.interface_mtu = 65536;
  EXPECT_EQ(Make(options)->address().max_packet_bytes, 65507u);
  options.max_packet_bytes = 4096;
  EXPECT_EQ(Make(options)->address().max_packet_bytes, 4096u);
  options = LoopbackOptions("::1");
  options.interface_mtu = 9000;
  const auto six = UdpDatapath::Create(options, nullptr);
  if (six.ok()) {
    EXPECT_EQ((*six)->address().max_packet_bytes, 8952u);
  }
}

TEST(UdpDatapathAddress, CanBeReadBack) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlaneAddress address = plane->address();
  EXPECT_EQ(address.length, 7);
  const auto parsed = UdpDatapath::SocketAddress(address);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->ss_family, AF_INET);
  EXPECT_NE(reinterpret_cast<const sockaddr_in&>(*parsed).sin_port, 0);

  const auto refused = [&](size_t at, uint8_t value) {
    PlaneAddress changed = address;
    changed.bytes[at] = static_cast<std::byte>(value);
    return !UdpDatapath::SocketAddress(changed).has_value();
  };
  EXPECT_TRUE(refused(0, 6));    // IPv6, but too short for it.
  EXPECT_TRUE(refused(0, 0));    // No family.
  EXPECT_TRUE(refused(3, 224));  // A group.
  PlaneAddress changed = address;
  changed.bytes[1] = changed.bytes[2] = std::byte{0};  // No port.
  EXPECT_FALSE(UdpDatapath::SocketAddress(changed));
  changed = address;
  changed.max_packet_bytes = 65537;
  EXPECT_FALSE(UdpDatapath::SocketAddress(changed));
}

TEST(UdpDatapathOpenPeer, RefusesAnotherFamilyAndWhatHasNoRoute) {
  const auto four = Make(LoopbackOptions("127.0.0.1"));
  const auto six = UdpDatapath::Create(LoopbackOptions("::1"), nullptr);
  if (six.ok()) {
    EXPECT_FALSE(four->OpenPeer(kPeer, (*six)->address()));
    EXPECT_FALSE((*six)->OpenPeer(kPeer, four->address()));
  }
  // Loopback has no way to TEST-NET-1; asking sends nothing.
  PlaneAddress far = four->address();
  const uint8_t host[] = {192, 0, 2, 1};
  std::memcpy(far.bytes.data() + 3, host, sizeof host);
  EXPECT_FALSE(four->OpenPeer(kPeer, far));
  EXPECT_EQ(four->max_packet_bytes(kPeer), 0u);
}

TEST(UdpDatapathOpenPeer, BurstsAreWhatATrainHoldsOrACall) {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  const auto burst = [&](uint32_t max_packet_bytes) {
    options.interface_mtu = 65536;
    options.max_packet_bytes = max_packet_bytes;
    const auto plane = Make(options);
    EXPECT_TRUE(plane->OpenPeer(kPeer, plane->address()));
    return plane->burst_packets(kPeer);
  };
  EXPECT_EQ(burst(256), 64u);
  EXPECT_EQ(burst(1472), 44u);
  EXPECT_EQ(burst(8972), 7u);
  EXPECT_EQ(burst(32656), 2u);
  EXPECT_EQ(burst(65507), 8u);  // No train at all.
}

TEST(UdpDatapathSend, EachEntropyHasAPortOfItsOwn) {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.entropies = 8;
  const auto plane = Make(options);
  PlainSocket there;
  ASSERT_TRUE(plane->OpenPeer(kPeer, there.address()));
  std::map<uint16_t, uint16_t> port_of;
  std::set<uint16_t> ports;
  for (int round = 0; round < 3; ++round) {
    for (uint16_t entropy = 0; entropy < 8; ++entropy) {
      auto bytes = Filled(10, entropy);
      const TxPacket packet = PacketOf(bytes, entropy);
      plane->Send({&packet, 1});
      const auto read = there.Read();
      ASSERT_TRUE(read);
      EXPECT_EQ(read->bytes, bytes);
      if (round == 0) port_of[entropy] = read->from_port;
      EXPECT_EQ(read->from_port, port_of[entropy]);
      ports.insert(read->from_port);
    }
  }
  EXPECT_EQ(ports.size(), 8u);
}

TEST(UdpDatapathSend, SaysThatItUnderstandsEcn) {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.traffic_class = 0x68 | 0x03;  // The ECN bits are not the caller's.
  const auto plane = Make(options);
  PlainSocket there;
  ASSERT_TRUE(plane->OpenPeer(kPeer, there.address()));
  auto series = Series(3, 100);  // A train, too.
  plane->Send(BatchOf(series));
  for (int i = 0; i < 3; ++i) {
    const auto read = there.Read();
    ASSERT_TRUE(read);
    EXPECT_EQ(read->bytes.size(), 100u);  // Cut where it was coupled.
    EXPECT_EQ(read->tos, 0x68 | 0x02);
  }
}

TEST(UdpDatapathSend, AClosedPeersPacketsAreLostAndCounted) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlainSocket there;
  ASSERT_TRUE(plane->OpenPeer(kPeer, there.address()));
  plane->ClosePeer(kPeer);
  auto series = Series(5, 100);
  plane->Send(BatchOf(series));
  EXPECT_EQ(plane->counts().sends_dropped, 5u);
  EXPECT_FALSE(there.Read(kSilence));
}

TEST(UdpDatapathSend, APeerThatIsGoneIsNoError) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  {
    PlainSocket there;
    ASSERT_TRUE(plane->OpenPeer(kPeer, there.address()));
  }
  for (int i = 0; i < 3; ++i) {  // ICMP says that nobody is there.
    auto series = Series(4, 100);
    plane->Send(BatchOf(series));
    EXPECT_GT(plane->tx_room(), 0u);
  }
  EXPECT_EQ(plane->counts().sends_dropped, 0u);
  EXPECT_FALSE(WaitReadable(plane->poll_fd(), kSilence));
}

TEST(UdpDatapathSend, NoiseToASendingPortIsIgnored) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlainSocket there;
  ASSERT_TRUE(plane->OpenPeer(kPeer, there.address()));
  auto bytes = Filled(10, 1);
  const TxPacket packet = PacketOf(bytes);
  plane->Send({&packet, 1});
  const auto read = there.Read();
  ASSERT_TRUE(read);
  const int sender = SocketAtPort(read->from_port);
  ASSERT_GE(sender, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(read->from_port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(
      sendto(fd, "noise", 5, 0, reinterpret_cast<sockaddr*>(&to), sizeof to),
      5);
  close(fd);
  EXPECT_FALSE(WaitReadable(plane->poll_fd(), kSilence));
  int waiting = -1;
  EXPECT_EQ(ioctl(sender, FIONREAD, &waiting), 0);
  EXPECT_EQ(waiting, 0);  // It takes no memory, either.
}

TEST(UdpDatapathSend, WhereTrainsAreRefusedPacketsLeaveSingly) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlainSocket there;
  ASSERT_TRUE(plane->OpenPeer(kPeer, there.address()));
  auto series = Series(1, 100);
  plane->Send(BatchOf(series));
  const auto first = there.Read();
  ASSERT_TRUE(first);
  // Without checksums the kernel answers a train with EIO, as it does for a
  // device that cannot compute them.
  const int on = 1;
  ASSERT_EQ(setsockopt(SocketAtPort(first->from_port), SOL_SOCKET, SO_NO_CHECK,
                       &on, sizeof on),
            0);
  for (int round = 0; round < 2; ++round) {
    series = Series(100, 200);
    plane->Send(BatchOf(series));
    for (int i = 0; i < 100; ++i) {
      const auto read = there.Read();
      ASSERT_TRUE(read) << i;
      EXPECT_EQ(read->bytes, Filled(200, i));
    }
  }
  EXPECT_EQ(plane->counts().sends_dropped, 0u);
}

TEST(UdpDatapathSend, LearnsThatThePathBecameNarrower) {
  const std::string why_not = InOwnNetwork([] {
    SetLoopbackMtu(9000);
    UdpOptions options = LoopbackOptions("127.0.0.1");
    options.interface_mtu = 9000;
    const auto left = Make(options);
    const auto right = Make(options);
    ASSERT_TRUE(left->OpenPeer(kPeer, right->address()));
    EXPECT_EQ(left->max_packet_bytes(kPeer), 8972u);
    auto series = Series(7, 8972);
    left->Send(BatchOf(series));
    EXPECT_EQ(ReadAll(*right, 7).size(), 7u);

    SetLoopbackMtu(1500);
    series = Series(7, 8972);
    left->Send(BatchOf(series));
    EXPECT_EQ(left->counts().sends_dropped, 7u);
    EXPECT_EQ(left->max_packet_bytes(kPeer), 1472u);
    series = Series(44, 1472);
    left->Send(BatchOf(series));
    EXPECT_EQ(ReadAll(*right, 44).size(), 44u);
    series = Series(1, 1473);  // Alone, too, it is not cut in pieces.
    left->Send(BatchOf(series));
    EXPECT_EQ(left->counts().sends_dropped, 8u);
    EXPECT_EQ(left->max_packet_bytes(kPeer), 1472u);
    EXPECT_EQ(left->counts().sends_deferred, 0u);

    // What is opened now is asked for anew.
    SetLoopbackMtu(576);
    ASSERT_TRUE(left->OpenPeer(kPeer, right->address()));
    EXPECT_EQ(left->max_packet_bytes(kPeer), 548u);
  });
  if (!why_not.empty()) GTEST_SKIP() << why_not;
}

// 20 Mb/s and room for half a second of it; the socket holds far less.
constexpr const char* kSlowLoopback =
    "tc qdisc add dev lo root tbf rate 20mbit burst 4kb limit 2mb 2>/dev/null";

TEST(UdpDatapathSend, WhatDoesNotFitWaitsAndThenLeavesInOrder) {
  std::string why_not;
  const std::string no_network = InOwnNetwork([&why_not] {
    if (std::system(kSlowLoopback) != 0) {
      why_not = "no tbf queue here";
      return;
    }
    UdpOptions options = LoopbackOptions("127.0.0.1");
    const auto right = Make(options);
    options.socket_buffer_bytes = 8 << 10;
    options.entropies = 2;
    const auto left = Make(options);
    ASSERT_TRUE(left->OpenPeer(kPeer, right->address()));
    std::vector<std::byte> next(2);
    for (int round = 0; round < 3; ++round) {
      const size_t count = left->tx_room();
      ASSERT_GT(count, 0u);
      auto series = Series(count, 1000);
      auto batch = BatchOf(series);
      for (size_t i = 0; i < count; ++i) batch[i].entropy = i / 32 % 2;
      left->Send(batch);
      for (auto& bytes : series) bytes = Filled(1000, 0xee);  // Copied by now.
      EXPECT_EQ(left->tx_room(), 0u);
      EXPECT_GT(left->counts().sends_deferred, 0u);
      // poll_fd() sleeps until the socket has room, and then wakes: hundreds of
      // turns are enough, a spinning descriptor would need millions.
      int turns = 0;
      RxPacket none;
      while (left->tx_room() == 0) {
        ASSERT_TRUE(WaitReadable(left->poll_fd(), kPatience));
        EXPECT_EQ(left->Receive({&none, 1}), 0u);
        left->Recycle();
        ASSERT_LT(++turns, 2000);
      }
      EXPECT_FALSE(WaitReadable(left->poll_fd(), Duration()));
      const auto read = ReadAll(*right, count);
      ASSERT_EQ(read.size(), count);
      for (size_t i = 0; i < count; ++i) {
        // The two entropies share one queue here, so all are in order.
        EXPECT_EQ(read[i], Filled(1000, static_cast<int>(i))) << i;
      }
    }
    EXPECT_EQ(left->counts().sends_dropped, 0u);
  });
  if (!no_network.empty()) GTEST_SKIP() << no_network;
  if (!why_not.empty()) GTEST_SKIP() << why_not;
}

TEST(UdpDatapathSend, WhatWaitsForAClosedPeerNeverLeaves) {
  std::string why_not;
  const std::string no_network = InOwnNetwork([&why_not] {
    if (std::system(kSlowLoopback) != 0) {
      why_not = "no tbf queue here";
      return;
    }
    UdpOptions options = LoopbackOptions("127.0.0.1");
    const auto right = Make(options);
    const auto other = Make(options);
    options.socket_buffer_bytes = 8 << 10;
    const auto left = Make(options);
    ASSERT_TRUE(left->OpenPeer(kPeer, right->address()));
    auto series = Series(left->tx_room(), 1000);
    left->Send(BatchOf(series));
    ASSERT_EQ(left->tx_room(), 0u);
    const uint64_t deferred = left->counts().sends_deferred;
    left->ClosePeer(kPeer);
    ASSERT_TRUE(left->OpenPeer(kPeer, other->address()));
    left->Send({});
    EXPECT_GT(left->tx_room(), 0u);
    EXPECT_EQ(left->counts().sends_dropped, deferred);
    EXPECT_FALSE(WaitReadable(left->poll_fd(), kSilence));
    EXPECT_EQ(ReadAll(*right, series.size(), kSilence).size(),
              series.size() - deferred);
    EXPECT_EQ(ReadAll(*other, 1, kSilence).size(), 0u);
  });
  if (!no_network.empty()) GTEST_SKIP() << no_network;
  if (!why_not.empty()) GTEST_SKIP() << why_not;
}

TEST(UdpDatapathReceive, ReportsWhatTheNetworkMarked) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlainSocket there;
  for (int tos : {0x00, 0x02, 0x01, 0x03, 0x6a, 0x6b}) {
    there.SendTo(*plane, Filled(20, tos), tos);
    ASSERT_TRUE(WaitReadable(plane->poll_fd(), kPatience));
    RxPacket packet;
    ASSERT_EQ(plane->Receive({&packet, 1}), 1u);
    EXPECT_EQ(packet.bytes.size(), 20u);
    EXPECT_EQ(packet.ecn_marked, (tos & 3) == 3) << tos;
    plane->Recycle();
  }
}

TEST(UdpDatapathReceive, ReportsMarksOverIpv6) {
  const auto made = UdpDatapath::Create(LoopbackOptions("::1"), nullptr);
  if (!made.ok()) GTEST_SKIP() << made.status();
  UdpDatapath& plane = **made;
  const auto there = UdpDatapath::SocketAddress(plane.address());
  ASSERT_TRUE(there);
  const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (int tos : {0x02, 0x03}) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos);
    ASSERT_EQ(
        sendto(fd, "bytes", 5, 0, reinterpret_cast<const sockaddr*>(&*there),
               sizeof(sockaddr_in6)),
        5);
    ASSERT_TRUE(WaitReadable(plane.poll_fd(), kPatience));
    RxPacket packet;
    ASSERT_EQ(plane.Receive({&packet, 1}), 1u);
    EXPECT_EQ(packet.ecn_marked, tos == 0x03);
    plane.Recycle();
  }
  close(fd);
}

TEST(UdpDatapathReceive, ForeignDatagramsAreBytes) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlainSocket stranger;
  const size_t lengths[] = {1, 0, 1472, 65507, 7};  // Above our MTU, too.
  for (size_t length : lengths) stranger.SendTo(*plane, Filled(length, 0x5a));
  const auto read = ReadAll(*plane, std::size(lengths));
  ASSERT_EQ(read.size(), std::size(lengths));
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i], Filled(lengths[i], 0x5a));
  }
  EXPECT_EQ(plane->counts().truncated, 0u);
}

// The kernel shows an empty datagram but once, and whoever looks again looks
// past it: then what is shown is not what comes.
TEST(UdpDatapathReceive, EmptyDatagramsOfAStrangerPutNothingOutOfPlace) {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.interface_mtu = 65536;
  auto left = Make(options), right = Make(options);
  ASSERT_TRUE(left && right);
  ASSERT_TRUE(left->OpenPeer(kPeer, right->address()));
  PlainSocket stranger;
  constexpr size_t kLarge = 3000, kRest = 2000;
  int value = 0;
  const auto send = [&](size_t packets, size_t length) {
    std::vector<std::vector<std::byte>> bytes;
    for (size_t i = 0; i < packets; ++i) {
      bytes.push_back(Filled(length, ++value));
    }
    std::vector<TxPacket> batch;
    for (auto& one : bytes) batch.push_back(PacketOf(one));
    left->Send(batch);
  };
  // One that is shown, a train that is not, an empty one behind it, and then
  // more than one look shows.
  send(1, kLarge);
  send(4, 1000);
  stranger.SendTo(*right, {});
  for (int i = 0; i < 20; ++i) send(1, kLarge);

  std::vector<std::vector<std::byte>> memory(64, Filled(kRest, 0));
  std::array<RxPacket, 64> out;
  int seen = 0, placed = 0;
  for (int turn = 0; turn < 100 && seen < value; ++turn) {
    if (!WaitReadable(right->poll_fd(), kPatience)) break;
    size_t used = 0;
    for (RxFront& front : right->Peek()) {
      if (front.length == kLarge) front.place = memory[used++];
    }
    const size_t count = right->Receive(out);
    for (size_t i = 0; i < count; ++i) {
      if (out[i].bytes.empty()) continue;
      ++seen;
      EXPECT_EQ(out[i].bytes.front(), std::byte(seen));
      if (out[i].rest.empty()) continue;
      ++placed;
      EXPECT_EQ(out[i].bytes.size() + out[i].rest.size(), kLarge);
      EXPECT_EQ(out[i].rest.front(), std::byte(seen));
      EXPECT_EQ(out[i].rest.back(), std::byte(seen));
    }
    right->Recycle();
  }
  EXPECT_EQ(seen, value);
  EXPECT_GE(placed, 4);
  EXPECT_EQ(right->counts().truncated, 0u);
}

TEST(UdpDatapathReceive, SaysHowLongAPacketHasWaited) {
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlainSocket there;
  const auto clock = [] {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return Duration::Seconds(now.tv_sec) + Duration::Nanos(now.tv_nsec);
  };
  constexpr Duration kDelay = Duration::Millis(2);
  // The first socket that asks for arrival times turns them on some time
  // later; packets before that count as just arrived.
  for (int attempt = 0; attempt < 500; ++attempt) {
    there.SendTo(*plane, Filled(20, attempt));
    const Duration sent = clock();
    while (clock() - sent < kDelay) {
    }
    RxPacket packets[2];
    ASSERT_TRUE(WaitReadable(plane->poll_fd(), kPatience));
    ASSERT_EQ(plane->Receive(packets), 1u);
    plane->Recycle();
    EXPECT_GE(packets[0].waited, Duration());
    EXPECT_LE(packets[0].waited, Duration::Seconds(10));
    if (packets[0].waited >= kDelay / 2) return;
  }
  FAIL() << "no packet has waited";
}

// Whoever waits looks again and again, and pays for every system call.
TEST(UdpDatapathReceive, WhereNothingWaitsPeekingIsNotStartedAgain) {
  options_set = 0;
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  ASSERT_GT(options_set, 0);  // They are counted.
  std::vector<RxPacket> out(8);
  options_set = 0;
  ASSERT_EQ(plane->Receive(out), 0u);
  EXPECT_EQ(options_set, 0);
  ASSERT_TRUE(plane->Peek().empty());
  ASSERT_EQ(plane->Receive(out), 0u);
  ASSERT_EQ(plane->Receive(out), 0u);
  EXPECT_EQ(options_set, 0);
}

TEST(UdpDatapathReceiveDeathTest, MustBeRecycledFirst) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  PlainSocket there;
  there.SendTo(*plane, Filled(20, 1));
  ASSERT_TRUE(WaitReadable(plane->poll_fd(), kPatience));
  RxPacket packet;
  ASSERT_EQ(plane->Receive({&packet, 1}), 1u);
  EXPECT_DEATH(plane->Receive({&packet, 1}), "broken promise");
}

TEST(UdpDatapathSendDeathTest, NeverBeyondItsRoom) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto plane = Make(LoopbackOptions("127.0.0.1"));
  ASSERT_TRUE(plane->OpenPeer(kPeer, plane->address()));
  auto series = Series(plane->tx_room() + 1, 10);
  const auto batch = BatchOf(series);
  EXPECT_DEATH(plane->Send(batch), "broken promise");
}

}  // namespace
}  // namespace hawser
