// Why whole trains: UDP_GRO hands over up to 64 KiB of packets of one size in
// one message, with one arrival time and one TOS byte; the kernel never merges
// packets whose ECN bits differ, so one mark per train is exact. Why the
// kernel's arrival time: a busy engine reads its socket late, and that delay
// is ours, not the network's; congestion control must be able to take it out.
//
// Why to peek: the kernel can copy a payload to where it belongs as well as to
// a buffer of ours, if it is told before. A socket with SO_PEEK_OFF goes on
// behind what it has shown, and with MSG_TRUNC that is the next datagram, so
// one call shows how all begin that wait. Nobody else reads from the socket:
// what is received next is what was shown. The kernel checks UDP's checksum as
// it shows, so that what was damaged is gone by then. An empty datagram is
// shown but once, wherever one begins to look, so nothing is shown where there
// is one: all of them leave together.

#include <netinet/udp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "transport/base/check.h"
#include "transport/datapath/udp_impl.h"

namespace hawser {
namespace {

constexpr int kCe = 0x03;  // "Congestion experienced" (RFC 3168, section 5).
// Both stamps are of the wall clock, which may be set while a packet waits.
constexpr Duration kMaxWait = Duration::Seconds(10);

int64_t Nanos(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

int64_t WallClockNanos() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return Nanos(now);
}

size_t BytesOf(std::span<const mmsghdr> messages) {
  size_t bytes = 0;
  for (const mmsghdr& message : messages) bytes += message.msg_len;
  return bytes;
}

template <class T>
T Read(const cmsghdr* control) {
  T value;
  std::memcpy(&value, CMSG_DATA(control), sizeof value);
  return value;
}

}  // namespace

void UdpDatapath::Impl::PrepareToReceive() {
  buffers =
      std::make_unique_for_overwrite<std::byte[]>(kArrivals * kArrivalBytes);
  for (size_t i = 0; i < kArrivals; ++i) {
    Prepare(incoming, i, BufferOf(i));
    Prepare(fronts_of_incoming, i, front_bytes[i]);
  }
  incoming.filled = fronts_of_incoming.filled = kArrivals;
  StartPeeking();
}

void UdpDatapath::Impl::Prepare(Inquiry& inquiry, size_t index,
                                std::span<std::byte> bytes,
                                std::span<std::byte> rest) {
  auto& pieces = inquiry.pieces[index];
  pieces = {iovec{bytes.data(), bytes.size()}, iovec{rest.data(), rest.size()}};
  msghdr& head = inquiry.messages[index].msg_hdr;
  head.msg_iov = pieces.data();
  head.msg_iovlen = rest.empty() ? 1 : 2;
  head.msg_control = controls[index].bytes;
}

// Also from where it was left, if that is not where the socket begins.
void UdpDatapath::Impl::StartPeeking() {
  const int offset = 0;
  peeking = setsockopt(receiver.get(), SOL_SOCKET, SO_PEEK_OFF, &offset,
                       sizeof offset) == 0;
}

std::span<RxFront> UdpDatapath::Impl::Peek() {
  HAWSER_CHECK(!lent);
  shown = 0;
  if (!peeking || arrivals_begin < arrivals_end) return {};
  const auto seen = Ask(fronts_of_incoming, kArrivals, MSG_PEEK | MSG_TRUNC);
  none_waits = seen.empty() && (errno == EAGAIN || errno == EWOULDBLOCK);
  peeked_bytes = BytesOf(seen);
  if (std::any_of(seen.begin(), seen.end(),
                  [](const mmsghdr& one) { return one.msg_len == 0; })) {
    return {};
  }
  // What is shown is one packet each: so a train ends it.
  for (; shown < seen.size(); ++shown) {
    const mmsghdr& message = seen[shown];
    const uint32_t length = message.msg_len;
    if (ReadControls(message.msg_hdr, length).step != length) break;
    fronts[shown] = {std::span<const std::byte>(front_bytes[shown])
                         .first(std::min<size_t>(length, kFrontBytes)),
                     length,
                     {}};
  }
  return std::span(fronts).first(shown);
}

std::span<const mmsghdr> UdpDatapath::Impl::Ask(Inquiry& inquiry, size_t most,
                                                int flags) {
  for (mmsghdr& message : std::span(inquiry.messages).first(inquiry.filled)) {
    message.msg_hdr.msg_controllen = sizeof controls[0].bytes;
    message.msg_hdr.msg_flags = 0;
  }
  const int count =
      recvmmsg(receiver.get(), inquiry.messages.data(),
               static_cast<unsigned>(most), MSG_DONTWAIT | flags, nullptr);
  inquiry.filled = static_cast<size_t>(std::max(count, 0));
  return std::span(inquiry.messages).first(inquiry.filled);
}

size_t UdpDatapath::Impl::Receive(std::span<RxPacket> out) {
  HAWSER_CHECK(!lent && out.size() >= shown);
  if (!waiting.empty()) Retry();
  if (out.empty()) return 0;
  if (arrivals_begin == arrivals_end && !Refill()) return 0;
  const int64_t now_nanos = WallClockNanos();
  size_t given = 0;
  while (given < out.size() && arrivals_begin < arrivals_end) {
    Arrival& train = arrivals[arrivals_begin];
    const uint32_t length = std::min(train.step, train.end - train.begin);
    const Duration waited =
        train.stamp_nanos == 0
            ? Duration()
            : std::clamp(Duration::Nanos(now_nanos - train.stamp_nanos),
                         Duration(), kMaxWait);
    out[given++] = {.bytes = {train.bytes + train.begin, length},
                    .ecn_marked = train.ecn_marked,
                    .waited = waited,
                    .rest = train.rest};
    train.begin += length;
    if (train.begin == train.end) ++arrivals_begin;
  }
  lent = true;
  if (arrivals_begin < arrivals_end) KeepReadable(true);
  return given;
}

bool UdpDatapath::Impl::Refill() {
  arrivals_begin = arrivals_end = 0;
  for (size_t i = 0; i < shown; ++i) {
    const std::span<std::byte> place = fronts[i].place;
    HAWSER_CHECK(place.empty() || place.size() < fronts[i].length);
    if (place.empty()) continue;
    Prepare(incoming, i, BufferOf(i).first(fronts[i].length - place.size()),
            place);
  }
  std::span<const mmsghdr> received;
  if (!std::exchange(none_waits, false)) {
    received = Ask(incoming, shown > 0 ? shown : kArrivals, /*flags=*/0);
  }
  for (size_t i = 0; i < received.size(); ++i) Accept(i);
  for (; shown > 0; --shown) Prepare(incoming, shown - 1, BufferOf(shown - 1));
  // What is shown next must be what comes next, and the system has gone back by
  // what was received.
  if (std::exchange(peeked_bytes, 0) > BytesOf(received)) StartPeeking();
  if (arrivals_end > 0) return true;
  KeepReadable(false);
  return false;
}

void UdpDatapath::Impl::Accept(size_t index) {
  const msghdr& head = incoming.messages[index].msg_hdr;
  const uint32_t length = incoming.messages[index].msg_len;
  // Without its controls a train cannot be cut where it was coupled.
  if ((head.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    ++counts.truncated;
    return;
  }
  Arrival train = ReadControls(head, length);
  train.bytes = static_cast<const std::byte*>(head.msg_iov->iov_base);
  train.end = length;
  if (head.msg_iovlen > 1) {
    train.rest = fronts[index].place;
    train.end -= static_cast<uint32_t>(train.rest.size());
    if (length != fronts[index].length || train.step != length ||
        !WasShown(index)) {
      // This is another one: somebody else reads from our socket.
      ++counts.truncated;
      return;
    }
    train.step = train.end;
  }
  arrivals[arrivals_end++] = train;
}

// What has come begins as what was shown.
bool UdpDatapath::Impl::WasShown(size_t index) const {
  const iovec& came = incoming.pieces[index][0];
  const size_t bytes = std::min(fronts[index].bytes.size(), came.iov_len);
  return std::memcmp(came.iov_base, fronts[index].bytes.data(), bytes) == 0;
}

UdpDatapath::Impl::Arrival UdpDatapath::Impl::ReadControls(const msghdr& head,
                                                           uint32_t length) {
  Arrival train;
  train.step = length;
  // CMSG_NXTHDR wants a header that it may change, and does not change it.
  auto* mutable_head = const_cast<msghdr*>(&head);
  for (cmsghdr* control = CMSG_FIRSTHDR(mutable_head); control != nullptr;
       control = CMSG_NXTHDR(mutable_head, control)) {
    const int level = control->cmsg_level;
    const int type = control->cmsg_type;
    if (level == IPPROTO_UDP && type == UDP_GRO) {
      const int size = Read<int>(control);
      if (size > 0) train.step = static_cast<uint32_t>(size);
    } else if (level == IPPROTO_IP && type == IP_TOS) {
      train.ecn_marked = (Read<uint8_t>(control) & kEcnBits) == kCe;
    } else if (level == IPPROTO_IPV6 && type == IPV6_TCLASS) {
      train.ecn_marked = (Read<int>(control) & kEcnBits) == kCe;
    } else if (level == SOL_SOCKET && type == SCM_TIMESTAMPNS) {
      train.stamp_nanos = Nanos(Read<timespec>(control));
    }
  }
  return train;
}

void UdpDatapath::Impl::KeepReadable(bool readable) {
  // While a train is given out in parts, the socket may be empty although
  // Receive has something. The receiving socket never sends and can therefore
  // always be written to; watching for that makes poll_fd() readable. It stays
  // so until Receive finds nothing, which spares a busy engine the two system
  // calls per train and costs an idle one a single needless turn.
  if (readable == kept_readable) return;
  epoll_event event = {};
  event.events = readable ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (epoll_ctl(poll.get(), EPOLL_CTL_MOD, receiver.get(), &event) == 0) {
    kept_readable = readable;
  }
}

}  // namespace hawser
