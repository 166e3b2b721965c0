// Why sockets at all: they run on every machine, through every firewall that
// passes UDP, and with GSO and GRO they cost one system call per 64 KiB, not
// per packet. Why one sending socket per entropy and not raw packets: the
// kernel then owns the ports, nobody else can be given them, and no privilege
// is needed. This file sets up; udp_send.cc and udp_receive.cc move packets.

#include "transport/datapath/udp.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "transport/base/check.h"
#include "transport/datapath/interfaces.h"
#include "transport/datapath/udp_impl.h"

namespace hawser {
namespace {

constexpr int kEct0 = 0x02;  // "I understand ECN" (RFC 3168, section 5).
constexpr uint32_t kUdpHeaderBytes = 8;

bool SetOption(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

absl::Status Failure(const char* what, const sockaddr_storage& where) {
  const int error = errno;  // Before anything below can change it.
  return absl::ErrnoToStatus(error,
                             absl::StrCat(what, " at ", ToString(where)));
}

uint16_t PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

sockaddr_storage WithPort(sockaddr_storage address, uint16_t port) {
  if (address.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);
  }
  return address;
}

// One host, and not a group of them or a wildcard.
bool IsUnicast(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const uint32_t host =
        ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr);
    return host != INADDR_ANY && host != INADDR_BROADCAST &&
           !IN_MULTICAST(host);
  }
  if (address.ss_family == AF_INET6) {
    const in6_addr& host =
        reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    return !IN6_IS_ADDR_UNSPECIFIED(&host) && !IN6_IS_ADDR_MULTICAST(&host) &&
           !IN6_IS_ADDR_V4MAPPED(&host);
  }
  return false;
}

// The layout is told in udp.h, at SocketAddress.
PlaneAddress Pack(const sockaddr_storage& address, uint32_t max_packet_bytes) {
  PlaneAddress packed;
  packed.max_packet_bytes = max_packet_bytes;
  const auto put = [&packed](const void* from, size_t length) {
    std::memcpy(packed.bytes.data() + packed.length, from, length);
    packed.length = static_cast<uint8_t>(packed.length + length);
  };
  const uint8_t family = address.ss_family == AF_INET ? 4 : 6;
  put(&family, 1);
  if (family == 4) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    put(&in.sin_port, 2);
    put(&in.sin_addr, 4);
  } else {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
    const uint32_t scope = htonl(in6.sin6_scope_id);
    put(&in6.sin6_port, 2);
    put(&in6.sin6_addr, 16);
    put(&scope, 4);
  }
  return packed;
}

// Asks for `bytes` of buffer, beyond the system's limit where we may. The
// system doubles what it was given, for its own bookkeeping.
void AskForBuffer(int fd, int force, int plain, int bytes, const char* limit,
                  std::string* warning) {
  if (!SetOption(fd, SOL_SOCKET, force, bytes)) {
    SetOption(fd, SOL_SOCKET, plain, bytes);
  }
  int given = 0;
  socklen_t length = sizeof given;
  getsockopt(fd, SOL_SOCKET, plain, &given, &length);
  if (given / 2 >= bytes) return;
  *warning = absl::StrCat(
      "UDP socket buffers of ", bytes, " bytes were asked for, ", given / 2,
      " given, because net.core.", limit,
      " is too small: bursts will be lost; to mend it: sysctl -w net.core.",
      limit, "=", bytes);
}

absl::Status TooManyOpen() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return absl::ResourceExhaustedError(absl::StrCat(
      "each path needs a UDP socket, and this process may have no more than ",
      limit.rlim_cur, " files open; to mend it: ulimit -n ",
      uint64_t{4} * limit.rlim_cur, ", or a smaller HAWSER_PATHS"));
}

absl::StatusOr<Descriptor> BoundSocket(const sockaddr_storage& at,
                                       socklen_t length) {
  Descriptor made(
      socket(at.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!made.valid()) {
    if (errno == EMFILE) return TooManyOpen();
    return Failure("cannot make a UDP socket", at);
  }
  // Otherwise IPv4 packets would come to an IPv6 socket, with other controls.
  if (at.ss_family == AF_INET6) {
    SetOption(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  }
  if (bind(made.get(), reinterpret_cast<const sockaddr*>(&at), length) != 0) {
    return Failure("cannot bind a UDP socket", at);
  }
  return made;
}

bool SetUpReceiver(int fd, int family) {
  if (family == AF_INET) {
    SetOption(fd, IPPROTO_IP, IP_RECVTOS, 1);
  } else {
    SetOption(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
  }
  SetOption(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
  return SetOption(fd, IPPROTO_UDP, UDP_GRO, 1);
}

// False if the system knows no trains.
bool SetUpSender(int fd, int family, int traffic_class) {
  const int tos = (traffic_class & ~kEcnBits) | kEct0;
  if (family == AF_INET) {
    SetOption(fd, IPPROTO_IP, IP_TOS, tos);
    SetOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
  } else {
    SetOption(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
    SetOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    SetOption(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
  }
  // Nobody is told this port; whatever comes to it is noise, and must not
  // occupy memory: a filter that lets nothing in, and the smallest buffer.
  sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog filter = {1, &nothing};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
  SetOption(fd, SOL_SOCKET, SO_RCVBUF, 0);
  // 0 is "no trains unless a message asks"; only a system that knows the
  // option takes it. Older ones ignore the message's control and would send
  // the whole train as one datagram.
  return SetOption(fd, IPPROTO_UDP, UDP_SEGMENT, 0);
}

absl::Status Validate(const UdpOptions& options, uint32_t overhead_bytes) {
  if (!IsUnicast(options.local)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "not the address of an interface: ", ToString(options.local)));
  }
  if (options.entropies < 1 || options.entropies > kMaxPaths) {
    return absl::InvalidArgumentError(absl::StrCat(
        "entropies must be 1 to ", kMaxPaths, ", not ", options.entropies));
  }
  if (options.max_packet_bytes < PlaneAddress::kLeastPacketBytes ||
      options.interface_mtu <
          PlaneAddress::kLeastPacketBytes + overhead_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "packets of ", PlaneAddress::kLeastPacketBytes,
        " bytes must fit; max_packet_bytes is ", options.max_packet_bytes,
        ", the interface's MTU ", options.interface_mtu));
  }
  if (options.socket_buffer_bytes < 1) {
    return absl::InvalidArgumentError("socket_buffer_bytes must be positive");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status UdpDatapath::Impl::Open(const UdpOptions& wanted,
                                     std::vector<std::string>* warnings) {
  options = wanted;
  const int family = options.local.ss_family;
  sockaddr_bytes =
      family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  overhead_bytes = kUdpHeaderBytes + (family == AF_INET ? 20 : 40);
  if (auto status = Validate(options, overhead_bytes); !status.ok()) {
    return status;
  }

  auto made = BoundSocket(options.local, sockaddr_bytes);
  if (!made.ok()) return made.status();
  receiver = *std::move(made);
  const bool merges = SetUpReceiver(receiver.get(), family);
  std::string short_receive_buffer;
  AskForBuffer(receiver.get(), SO_RCVBUFFORCE, SO_RCVBUF,
               options.socket_buffer_bytes, "rmem_max", &short_receive_buffer);
  std::string short_send_buffer;
  for (uint16_t i = 0; i < options.entropies; ++i) {
    made = BoundSocket(WithPort(options.local, 0), sockaddr_bytes);
    if (!made.ok()) return made.status();
    senders.push_back(*std::move(made));
    const int fd = senders.back().get();
    coupling &= SetUpSender(fd, family, options.traffic_class);
    AskForBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.socket_buffer_bytes,
                 "wmem_max", &short_send_buffer);
  }
  if (warnings != nullptr) {
    for (std::string* text : {&short_receive_buffer, &short_send_buffer}) {
      if (!text->empty()) warnings->push_back(std::move(*text));
    }
    if (!coupling || !merges) {
      warnings->push_back(
          "this kernel lacks UDP segmentation offload (UDP_SEGMENT since 4.18, "
          "UDP_GRO since 5.0): every packet costs a pass through the kernel; "
          "to mend it: a newer kernel");
    }
  }

  sockaddr_storage bound = {};
  socklen_t length = sizeof bound;
  if (getsockname(receiver.get(), reinterpret_cast<sockaddr*>(&bound),
                  &length) != 0) {
    return Failure("cannot learn the port", options.local);
  }
  address = Pack(bound, std::min({options.max_packet_bytes,
                                  options.interface_mtu - overhead_bytes,
                                  kMaxDatagramBytes}));

  poll = Descriptor(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event = {};
  event.events = EPOLLIN;
  if (!poll.valid() ||
      epoll_ctl(poll.get(), EPOLL_CTL_ADD, receiver.get(), &event) != 0) {
    return Failure("cannot make an epoll descriptor", options.local);
  }
  PrepareToSend();
  PrepareToReceive();
  return absl::OkStatus();
}

std::optional<uint32_t> UdpDatapath::Impl::AskRoute(
    const sockaddr_storage& there) const {
  // A connected socket has a route, and the route knows its MTU, whether it is
  // the link's or was lowered by an ICMP message. Connecting sends nothing.
  const auto asker = BoundSocket(WithPort(options.local, 0), sockaddr_bytes);
  if (!asker.ok()) return std::nullopt;
  if (connect(asker->get(), reinterpret_cast<const sockaddr*>(&there),
              sockaddr_bytes) != 0) {
    return std::nullopt;
  }
  int mtu = 0;
  socklen_t length = sizeof mtu;
  const bool known =
      options.local.ss_family == AF_INET
          ? getsockopt(asker->get(), IPPROTO_IP, IP_MTU, &mtu, &length) == 0
          : getsockopt(asker->get(), IPPROTO_IPV6, IPV6_MTU, &mtu, &length) ==
                0;
  if (!known) return std::nullopt;
  // Where even the least packet does not fit, saying so would help nobody:
  // sends then fail, and the paths over this plane die.
  return std::max(static_cast<uint32_t>(std::max(mtu, 0)),
                  overhead_bytes + PlaneAddress::kLeastPacketBytes) -
         overhead_bytes;
}

bool UdpDatapath::Impl::OpenPeer(PeerId id, const PlaneAddress& there) {
  HAWSER_CHECK(id != kNoPeer);
  ClosePeer(id);
  auto parsed = SocketAddress(there);
  if (!parsed || parsed->ss_family != options.local.ss_family) return false;
  if (parsed->ss_family == AF_INET6) {
    // A scope is the sender's own number of a link, and link-local peers are
    // on the link that we are on.
    auto& in6 = reinterpret_cast<sockaddr_in6&>(*parsed);
    in6.sin6_scope_id =
        reinterpret_cast<const sockaddr_in6&>(options.local).sin6_scope_id;
  }
  const auto route = AskRoute(*parsed);
  if (!route) return false;
  if (id.value >= peers.size()) peers.resize(id.value + size_t{1});
  Peer& peer = peers[id.value];
  peer.open = true;
  peer.address = *parsed;
  peer.max_packet_bytes =
      std::min({address.max_packet_bytes, there.max_packet_bytes, *route});
  return true;
}

void UdpDatapath::Impl::ClosePeer(PeerId id) {
  if (!IsOpen(id)) return;
  peers[id.value].open = false;
  // Its id may soon mean another host, to which nothing of this may go.
  for (size_t i = waiting_begin; i < waiting.size(); ++i) {
    if (waiting[i].peer == id) waiting[i].peer = kNoPeer;
  }
}

absl::StatusOr<std::unique_ptr<UdpDatapath>> UdpDatapath::Create(
    const UdpOptions& options, std::vector<std::string>* warnings) {
  auto impl = std::make_unique<Impl>();
  if (auto status = impl->Open(options, warnings); !status.ok()) return status;
  return std::unique_ptr<UdpDatapath>(new UdpDatapath(std::move(impl)));
}

std::optional<sockaddr_storage> UdpDatapath::SocketAddress(
    const PlaneAddress& address) {
  sockaddr_storage parsed = {};
  const std::byte* from = address.bytes.data();
  if (address.length == 1 + 2 + 4 && from[0] == std::byte{4}) {
    auto& in = reinterpret_cast<sockaddr_in&>(parsed);
    in.sin_family = AF_INET;
    std::memcpy(&in.sin_port, from + 1, 2);
    std::memcpy(&in.sin_addr, from + 3, 4);
  } else if (address.length == 1 + 2 + 16 + 4 && from[0] == std::byte{6}) {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(parsed);
    uint32_t scope = 0;
    in6.sin6_family = AF_INET6;
    std::memcpy(&in6.sin6_port, from + 1, 2);
    std::memcpy(&in6.sin6_addr, from + 3, 16);
    std::memcpy(&scope, from + 19, 4);
    in6.sin6_scope_id = ntohl(scope);
  } else {
    return std::nullopt;
  }
  if (!IsUnicast(parsed) || PortOf(parsed) == 0 ||
      address.max_packet_bytes < PlaneAddress::kLeastPacketBytes ||
      address.max_packet_bytes > kArrivalBytes) {
    return std::nullopt;
  }
  return parsed;
}

UdpDatapath::UdpDatapath(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UdpDatapath::~UdpDatapath() = default;

PlaneAddress UdpDatapath::address() const { return impl_->address; }

uint16_t UdpDatapath::entropies() const { return impl_->options.entropies; }

uint32_t UdpDatapath::max_packet_bytes(PeerId peer) const {
  return impl_->IsOpen(peer) ? impl_->peers[peer.value].max_packet_bytes : 0;
}

uint32_t UdpDatapath::burst_packets(PeerId peer) const {
  const uint32_t size = max_packet_bytes(peer);
  if (size == 0) return 1;
  const uint32_t train = std::min(kMaxDatagramBytes / size, kMaxTrainPackets);
  return train > 1 ? train : kSinglesPerBurst;
}

size_t UdpDatapath::tx_room() const {
  return impl_->waiting.empty() ? kMaxBatchPackets : 0;
}

DatapathCounts UdpDatapath::counts() const { return impl_->counts; }

int UdpDatapath::poll_fd() const { return impl_->poll.get(); }

bool UdpDatapath::OpenPeer(PeerId peer, const PlaneAddress& there) {
  return impl_->OpenPeer(peer, there);
}

void UdpDatapath::ClosePeer(PeerId peer) { impl_->ClosePeer(peer); }

void UdpDatapath::Send(std::span<const TxPacket> batch) {
  HAWSER_CHECK(batch.size() <= tx_room());
  impl_->Send(batch);
}

std::span<RxFront> UdpDatapath::Peek() { return impl_->Peek(); }

size_t UdpDatapath::Receive(std::span<RxPacket> out) {
  return impl_->Receive(out);
}

void UdpDatapath::Recycle() { impl_->lent = false; }

}  // namespace hawser
