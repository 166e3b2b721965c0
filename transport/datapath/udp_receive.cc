// Why whole trains: UDP_GRO hands over up to 64 KiB of packets of one size in
// one message, with one arrival time and one TOS byte; the kernel never merges
// packets whose ECN bits differ, so one mark per train is exact. Why the
// kernel's arrival time: a busy engine reads its socket late, and that delay
// is ours, not the network's; congestion control must be able to take it out.

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
    pieces[i] = {buffers.get() + i * kArrivalBytes, kArrivalBytes};
    messages[i] = {};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_control = controls[i].bytes;
  }
}

size_t UdpDatapath::Impl::Receive(std::span<RxPacket> out) {
  HAWSER_CHECK(!lent);
  if (!waiting.empty()) Retry();
  if (out.empty()) return 0;
  if (arrivals_begin == arrivals_end && !Refill()) return 0;
  const int64_t now_nanos = WallClockNanos();
  size_t given = 0;
  while (given < out.size() && arrivals_begin < arrivals_end) {
    Arrival& train = arrivals[arrivals_begin];
    const uint32_t length = std::min(train.step, train.end - train.begin);
    RxPacket& packet = out[given++];
    packet.bytes = {train.bytes + train.begin, length};
    packet.ecn_marked = train.ecn_marked;
    packet.waited =
        train.stamp_nanos == 0
            ? Duration()
            : std::clamp(Duration::Nanos(now_nanos - train.stamp_nanos),
                         Duration(), kMaxWait);
    train.begin += length;
    if (train.begin == train.end) ++arrivals_begin;
  }
  lent = true;
  if (arrivals_begin < arrivals_end) KeepReadable(true);
  return given;
}

bool UdpDatapath::Impl::Refill() {
  for (mmsghdr& message : messages) {
    message.msg_hdr.msg_controllen = sizeof controls[0].bytes;
    message.msg_hdr.msg_flags = 0;
  }
  arrivals_begin = arrivals_end = 0;
  const int count = recvmmsg(receiver.get(), messages.data(), kArrivals,
                             MSG_DONTWAIT, nullptr);
  for (int i = 0; i < count; ++i) Accept(messages[static_cast<size_t>(i)]);
  if (arrivals_end > 0) return true;
  KeepReadable(false);
  return false;
}

void UdpDatapath::Impl::Accept(const mmsghdr& message) {
  const msghdr& head = message.msg_hdr;
  // Without its controls a train cannot be cut where it was coupled.
  if ((head.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    ++counts.truncated;
    return;
  }
  Arrival train;
  train.bytes = static_cast<const std::byte*>(head.msg_iov->iov_base);
  train.end = message.msg_len;
  train.step = message.msg_len;
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
  arrivals[arrivals_end++] = train;
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
