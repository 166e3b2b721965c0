// UdpDatapath::Impl: the sockets, what waits to be sent, what has arrived.
// Knows: everything that udp.cc, udp_send.cc and udp_receive.cc share.
// Never: anyone but these three.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "transport/datapath/udp.h"

namespace hawser {

// What IPv4 leaves for a datagram; IPv6 would leave 20 bytes more.
inline constexpr uint32_t kMaxDatagramBytes = 65507;
// The bits of a traffic class that are ECN's (RFC 3168, section 5).
inline constexpr int kEcnBits = 0x03;
// UDP_MAX_SEGMENTS of kernels before 6.9; 128 since.
inline constexpr uint32_t kMaxTrainPackets = 64;
// Where each packet fills a datagram, so many are worth a sendmmsg, and small
// ones that come between them go along (docs/performance.md).
inline constexpr uint32_t kSinglesPerBurst = 8;
// What tx_room() says when nothing waits: four trains of an Ethernet path, and
// as many small packets as one sendmmsg is still cheap for.
inline constexpr uint32_t kMaxBatchPackets = 256;
// Trains read by one recvmmsg. More would only push the oldest out of the
// cache before the engine reads them.
inline constexpr uint32_t kArrivals = 16;
inline constexpr size_t kArrivalBytes = 64 << 10;  // Above any datagram.
// What Peek shows: room for a few small packets in front of a large one.
inline constexpr size_t kFrontBytes = 256;

// A file descriptor with one owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct UdpDatapath::Impl {
  struct Peer {
    bool open = false;
    uint32_t max_packet_bytes = 0;
    sockaddr_storage address = {};
  };

  // The messages of one sendmmsg; `packets[i]` are coupled in `messages[i]`.
  struct Trains {
    struct alignas(cmsghdr) Control {
      std::byte bytes[CMSG_SPACE(sizeof(uint16_t))];
    };
    size_t count = 0;
    std::array<mmsghdr, kMaxBatchPackets> messages;
    std::array<uint16_t, kMaxBatchPackets> packets;
    std::array<Control, kMaxBatchPackets> controls;
    std::array<iovec, 2 * kMaxBatchPackets> pieces;
  };

  // A received train, of which the bytes from `begin` on are still to be given
  // out, `step` at a time.
  struct Arrival {
    const std::byte* bytes = nullptr;
    std::span<const std::byte> rest;  // Where its place was.
    uint32_t begin = 0;
    uint32_t end = 0;
    uint32_t step = 0;
    bool ecn_marked = false;
    int64_t stamp_nanos = 0;  // On the wall clock; 0: none.
  };

  struct alignas(cmsghdr) ArrivalControl {
    std::byte bytes[CMSG_SPACE(sizeof(timespec)) + 2 * CMSG_SPACE(sizeof(int))];
  };

  // What recvmmsg is asked for, again and again; each of its messages is ready
  // but for what the system wrote into those that it filled.
  struct Inquiry {
    std::array<mmsghdr, kArrivals> messages = {};
    std::array<std::array<iovec, 2>, kArrivals> pieces = {};
    size_t filled = 0;
  };

  // Setup: udp.cc.
  absl::Status Open(const UdpOptions& wanted,
                    std::vector<std::string>* warnings);
  bool OpenPeer(PeerId id, const PlaneAddress& there);
  void ClosePeer(PeerId id);
  bool IsOpen(PeerId id) const {
    return id.value < peers.size() && peers[id.value].open;
  }
  // The largest datagram that the route to `there` takes whole, as the system
  // knows it now; nullopt if there is no route.
  std::optional<uint32_t> AskRoute(const sockaddr_storage& there) const;

  // Sending: udp_send.cc.
  void PrepareToSend();
  void Send(std::span<const TxPacket> batch);
  void Retry();  // Sends what waits, as far as the system takes it.
  // Sends or drops packets from the front and returns how many; fewer than all
  // if the socket of the next one is full.
  size_t Push(std::span<const TxPacket> packets);
  void Couple(std::span<const TxPacket> packets);
  void Shrink(Peer& peer, size_t refused_bytes);
  void Defer(std::span<const TxPacket> packets);
  void AwaitRoom(int fd);  // -1: no longer.

  // Receiving: udp_receive.cc.
  void PrepareToReceive();
  std::span<RxFront> Peek();
  size_t Receive(std::span<RxPacket> out);
  bool Refill();  // False: nothing has come.
  void StartPeeking();
  std::span<std::byte> BufferOf(size_t arrival) const {
    return {buffers.get() + arrival * kArrivalBytes, kArrivalBytes};
  }
  void Prepare(Inquiry& inquiry, size_t index, std::span<std::byte> bytes,
               std::span<std::byte> rest = {});
  // As recvmmsg; returns those that were filled.
  std::span<const mmsghdr> Ask(Inquiry& inquiry, size_t most, int flags);
  void Accept(size_t index);  // What came there.
  bool WasShown(size_t index) const;
  static Arrival ReadControls(const msghdr& head, uint32_t length);
  void KeepReadable(bool readable);

  UdpOptions options;
  PlaneAddress address;
  socklen_t sockaddr_bytes = 0;
  uint32_t overhead_bytes = 0;  // IP and UDP headers.
  DatapathCounts counts;
  Descriptor poll;
  std::vector<Peer> peers;  // By PeerId.

  std::vector<Descriptor> senders;  // By entropy.
  bool coupling = true;             // Until the system refuses a train.
  Trains trains;
  // What the system had no room for: packets whose whole bytes are `header`,
  // in `waiting_bytes`. Those before `waiting_begin` are gone.
  std::vector<TxPacket> waiting;
  size_t waiting_begin = 0;
  std::unique_ptr<std::byte[]> waiting_bytes;
  int awaited = -1;  // The socket whose room poll_fd() tells.

  Descriptor receiver;
  std::unique_ptr<std::byte[]> buffers;  // kArrivals of kArrivalBytes.
  Inquiry incoming;                      // Each into its buffer.
  Inquiry fronts_of_incoming;
  std::array<ArrivalControl, kArrivals> controls;
  bool peeking = false;  // The system can.
  // Of the oldest that wait in the socket: what Peek has seen, and how many it
  // has shown.
  size_t peeked_bytes = 0;
  size_t shown = 0;
  bool none_waits = false;  // Peek has just asked.
  std::array<RxFront, kArrivals> fronts;
  std::array<std::array<std::byte, kFrontBytes>, kArrivals> front_bytes;
  std::array<Arrival, kArrivals> arrivals;
  size_t arrivals_begin = 0;
  size_t arrivals_end = 0;
  bool lent = false;           // Between Receive and Recycle.
  bool kept_readable = false;  // poll_fd() is, whatever the socket holds.
};

}  // namespace hawser
