// Why trains: a pass through the kernel's IP stack costs about 2 us, and
// UDP_SEGMENT spends it once for up to 64 packets of one size (the last may be
// shorter), which the NIC, or the last step before it, cuts apart. (W. de
// Bruijn, E. Dumazet, "Optimizing UDP for content delivery: GSO, pacing and
// zerocopy", Linux Plumbers 2018.) All packets of a train share one route, so
// a train never spans two entropies.
//
// Why what does not fit is copied and kept: Send promises that the bytes may
// be overwritten when it returns, and a packet dropped for want of socket
// buffer would look to its path like congestion in the network. The kept
// packets stay in order and stop everything behind them: the sockets of one
// plane share one queue in front of the NIC, and fill up together.

#include <netinet/udp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "transport/base/check.h"
#include "transport/datapath/udp_impl.h"

namespace hawser {
namespace {

size_t SizeOf(const TxPacket& packet) {
  return packet.header.size() + packet.payload.length;
}

// What systems answer that know UDP_SEGMENT but cannot do it here: a device
// without checksum offload (EIO), a tunnel, an older limit (EINVAL).
bool MayRefuseTrains(int error) {
  return error == EIO || error == EINVAL || error == ENOPROTOOPT ||
         error == EOPNOTSUPP;
}

}  // namespace

void UdpDatapath::Impl::PrepareToSend() {
  for (auto& control : trains.controls) {
    control = {};
    auto* head = reinterpret_cast<cmsghdr*>(control.bytes);
    head->cmsg_level = IPPROTO_UDP;
    head->cmsg_type = UDP_SEGMENT;
    head->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  }
  waiting.reserve(kMaxBatchPackets);
  // Room for the worst batch; the system backs only what is ever touched.
  waiting_bytes = std::make_unique_for_overwrite<std::byte[]>(
      size_t{kMaxBatchPackets} * address.max_packet_bytes);
}

void UdpDatapath::Impl::Send(std::span<const TxPacket> batch) {
  if (!waiting.empty()) return Retry();  // There was no room: batch is empty.
  const size_t gone = Push(batch);
  if (gone < batch.size()) Defer(batch.subspan(gone));
}

void UdpDatapath::Impl::Retry() {
  waiting_begin += Push(std::span(waiting).subspan(waiting_begin));
  if (waiting_begin < waiting.size()) {
    AwaitRoom(senders[waiting[waiting_begin].entropy].get());
    return;
  }
  waiting.clear();
  waiting_begin = 0;
  AwaitRoom(-1);
}

void UdpDatapath::Impl::Defer(std::span<const TxPacket> packets) {
  std::byte* to = waiting_bytes.get();
  for (const TxPacket& packet : packets) {
    TxPacket kept = packet;
    kept.header = {to, SizeOf(packet)};
    kept.payload = {};
    to = std::copy(packet.header.begin(), packet.header.end(), to);
    to = std::copy_n(packet.payload.data, packet.payload.length, to);
    waiting.push_back(kept);
  }
  counts.sends_deferred += packets.size();
  AwaitRoom(senders[waiting.front().entropy].get());
}

void UdpDatapath::Impl::AwaitRoom(int fd) {
  if (fd == awaited) return;
  if (awaited >= 0) epoll_ctl(poll.get(), EPOLL_CTL_DEL, awaited, nullptr);
  awaited = -1;
  if (fd < 0) return;
  epoll_event event = {};
  event.events = EPOLLOUT;
  // If the system is out of memory even for this, the caller's next turn, for
  // whatever reason it comes, tries again.
  if (epoll_ctl(poll.get(), EPOLL_CTL_ADD, fd, &event) == 0) awaited = fd;
}

void UdpDatapath::Impl::Couple(std::span<const TxPacket> packets) {
  const uint16_t entropy = packets[0].entropy;
  HAWSER_CHECK(entropy < senders.size());
  trains.count = 0;
  size_t pieces_used = 0;
  size_t first_bytes = 0;  // Of the train that is being coupled:
  size_t train_bytes = 0;
  bool ended = true;  // Nothing may follow in it.
  const TxPacket* before = nullptr;
  for (const TxPacket& packet : packets) {
    if (packet.entropy != entropy || !IsOpen(packet.peer)) break;
    const size_t bytes = SizeOf(packet);
    HAWSER_CHECK(bytes <= address.max_packet_bytes);
    const bool follows = coupling && !ended && packet.peer == before->peer &&
                         bytes > 0 && bytes <= first_bytes &&
                         train_bytes + bytes <= kMaxDatagramBytes;
    if (!follows) {
      Peer& peer = peers[packet.peer.value];
      msghdr& head = trains.messages[trains.count].msg_hdr;
      head = {};
      head.msg_name = &peer.address;
      head.msg_namelen = sockaddr_bytes;
      head.msg_iov = &trains.pieces[pieces_used];
      trains.packets[trains.count] = 0;
      ++trains.count;
      first_bytes = bytes;
      train_bytes = 0;
    }
    const size_t train = trains.count - 1;
    msghdr& head = trains.messages[train].msg_hdr;
    if (!packet.header.empty()) {
      trains.pieces[pieces_used++] = {
          const_cast<std::byte*>(packet.header.data()), packet.header.size()};
      ++head.msg_iovlen;
    }
    if (packet.payload.length > 0) {
      trains.pieces[pieces_used++] = {packet.payload.data,
                                      packet.payload.length};
      ++head.msg_iovlen;
    }
    if (++trains.packets[train] == 2) {
      auto& control = trains.controls[train];
      const auto size = static_cast<uint16_t>(first_bytes);
      std::memcpy(CMSG_DATA(reinterpret_cast<cmsghdr*>(control.bytes)), &size,
                  sizeof size);
      head.msg_control = control.bytes;
      head.msg_controllen = sizeof control.bytes;
    }
    train_bytes += bytes;
    ended = bytes < first_bytes || trains.packets[train] == kMaxTrainPackets;
    before = &packet;
  }
}

size_t UdpDatapath::Impl::Push(std::span<const TxPacket> packets) {
  size_t gone = 0;
  bool trial = false;  // A train was refused; is it so alone, too?
  while (gone < packets.size()) {
    if (!IsOpen(packets[gone].peer)) {
      ++counts.sends_dropped;
      ++gone;
      continue;
    }
    Couple(packets.subspan(gone, trial ? 1 : packets.size() - gone));
    const int fd = senders[packets[gone].entropy].get();
    for (size_t next = 0; next < trains.count;) {
      const int sent =
          sendmmsg(fd, &trains.messages[next],
                   static_cast<unsigned>(trains.count - next), MSG_DONTWAIT);
      if (sent > 0) {
        if (trial) coupling = false;  // The packet leaves, the train does not.
        trial = false;
        for (int i = 0; i < sent; ++i) gone += trains.packets[next++];
        continue;
      }
      // The error is that of the first train that was offered.
      const int error = errno;
      if (error == EAGAIN || error == EWOULDBLOCK) return gone;
      if (error == EINTR) continue;
      const uint16_t refused = trains.packets[next];
      if (refused > 1 && MayRefuseTrains(error)) {
        trial = true;
        break;
      }
      const TxPacket& packet = packets[gone];
      if (error == EMSGSIZE) Shrink(peers[packet.peer.value], SizeOf(packet));
      counts.sends_dropped += refused;
      trial = false;
      gone += refused;
      ++next;
    }
  }
  return gone;
}

void UdpDatapath::Impl::Shrink(Peer& peer, size_t refused_bytes) {
  if (refused_bytes > peer.max_packet_bytes) return;  // Known already.
  const auto route = AskRoute(peer.address);
  if (route) peer.max_packet_bytes = std::min(peer.max_packet_bytes, *route);
}

}  // namespace hawser
