// UdpDatapath: one interface, through the kernel's UDP sockets. Runs anywhere.
// Knows: sockets, segmentation offload, ECN bits.  Never: what a packet means.
//
// One socket receives; it is the address that peers are told. One more socket
// per entropy sends, each bound to a port of its own: the source port is what
// the network hashes. The sending sockets are never connected: the kernel
// stamps the packets of a connected socket with a hash of the socket, which
// forwarding on the same machine prefers to the ports.
//
// Packets in a row to one (peer, entropy) leave in one call as a train
// (UDP_SEGMENT), and trains are received whole (UDP_GRO). Where the system
// lacks either, single packets are sent and received instead.
//
// Peek shows what waits in the socket (SO_PEEK_OFF), one call for all of it, up
// to the first train: of that only the first header could be seen.
//
// What a full socket does not take is copied and waits here, and tx_room() is
// 0 until it has left: Receive tries again, each time, and poll_fd() becomes
// readable when that will help. Packets to a peer that is not open are lost,
// and counted in sends_dropped.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/datapath/datapath.h"

namespace hawser {

struct UdpOptions {
  sockaddr_storage local = {};    // The interface's address; its port is the
                                  // receiving port, 0: any.
  uint32_t interface_mtu = 1500;  // Bytes of an IP packet.
  uint16_t entropies = 16;        // 1..kMaxPaths
  uint32_t max_packet_bytes = 65507;  // Never more, whatever the MTU.
  int socket_buffer_bytes = 4 << 20;  // Asked for, each way.
  int traffic_class = 0;              // The IP TOS byte without its ECN bits.
};

class UdpDatapath final : public Datapath {
 public:
  // What stands in the way is said in the Status. What merely makes it slow,
  // such as a system limit on socket buffers, is appended to `warnings`, with
  // the command that mends it.
  static absl::StatusOr<std::unique_ptr<UdpDatapath>> Create(
      const UdpOptions& options, std::vector<std::string>* warnings);
  ~UdpDatapath() override;

  PlaneAddress address() const override;
  uint16_t entropies() const override;
  uint32_t max_packet_bytes(PeerId peer) const override;
  uint32_t burst_packets(PeerId peer) const override;
  size_t tx_room() const override;
  DatapathCounts counts() const override;
  int poll_fd() const override;
  bool OpenPeer(PeerId peer, const PlaneAddress& there) override;
  void ClosePeer(PeerId peer) override;
  void Send(std::span<const TxPacket> batch) override;
  std::span<RxFront> Peek() override;
  size_t Receive(std::span<RxPacket> out) override;
  void Recycle() override;

  // The socket address in a PlaneAddress that a UdpDatapath made; nullopt if
  // it is not one. Its bytes, all numbers big-endian:
  //   IPv4:  4, port (2 bytes), address (4)
  //   IPv6:  6, port (2 bytes), address (16), scope (4)
  static std::optional<sockaddr_storage> SocketAddress(
      const PlaneAddress& address);

 private:
  struct Impl;
  explicit UdpDatapath(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser
