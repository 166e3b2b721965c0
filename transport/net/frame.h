// Datagrams as Ethernet frames: IEEE 802.3, 802.1Q, IPv4 (RFC 791), IPv6
// (RFC 8200), UDP (RFC 768).
// Knows: headers, byte by byte.  Never: ports of this host, who is listening.
//
// No options, extension headers or fragments: we send none, and what comes with
// any is not ours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "transport/net/address.h"
#include "transport/net/checksum.h"

namespace hawser {

inline constexpr size_t kEthernetBytes = 14;
inline constexpr size_t kVlanBytes = 4;
inline constexpr size_t kIpv4Bytes = 20;
inline constexpr size_t kIpv6Bytes = 40;
inline constexpr size_t kUdpBytes = 8;
inline constexpr size_t kMaxFrameHeaderBytes =
    kEthernetBytes + kVlanBytes + kIpv6Bytes + kUdpBytes;
inline constexpr uint16_t kNoVlan = 0;
inline constexpr uint16_t kMaxVlan = 4094;

enum class EtherType : uint16_t {
  kIpv4 = 0x0800,
  kArp = 0x0806,
  kVlan = 0x8100,
  kIpv6 = 0x86dd,
};

// The Ethernet header alone, perhaps with a tag; returns its size.
size_t WriteEthernet(const MacAddress& to, const MacAddress& from,
                     uint16_t vlan, EtherType type, std::span<std::byte> out);

// Who makes the checksums of what is sent.
enum class ChecksumBy : uint8_t {
  kUs,      // Both, here.
  kPort,    // The NIC, both; UDP's field holds the sum of the pseudo header.
  kNobody,  // IPv4's here, UDP's says that there is none (RFC 768). IPv6 does
            // not allow that (RFC 8200, section 8.1): there it is kUs.
};

struct Route {
  MacAddress from_mac, to_mac;  // `to_mac`: of the next hop.
  uint16_t vlan = kNoVlan;      // 1..4094
  IpAddress from, to;           // Of one family.
  uint16_t to_port = 0;
  uint8_t traffic_class = 0;  // Its ECN bits become ECT(0).
};

// What all datagrams of a route begin with; a packet changes a few fields.
class FrameHeader {
 public:
  FrameHeader() = default;
  explicit FrameHeader(const Route& route);

  size_t size() const { return size_; }
  size_t ethernet_bytes() const { return ip_at_; }
  bool is_v4() const { return is_v4_; }
  // `by` as it turns out for this family.
  ChecksumBy ChecksumsBy(ChecksumBy by) const {
    return by == ChecksumBy::kNobody && !is_v4_ ? ChecksumBy::kUs : by;
  }
  // Writes size() bytes. `payload_bytes` fit into an IP packet; `payload` is
  // their sum, which is looked at with kUs alone. `from_port` is what the
  // network hashes, together with the flow label made of it (RFC 6438).
  void Write(uint16_t from_port, size_t payload_bytes, ChecksumBy by,
             ChecksumPart payload, std::byte* out) const;

 private:
  std::array<std::byte, kMaxFrameHeaderBytes> bytes_ = {};
  uint8_t size_ = 0;
  uint8_t ip_at_ = 0;
  bool is_v4_ = false;
  ChecksumPart ip_;      // Of the IPv4 header without what changes.
  ChecksumPart pseudo_;  // Of addresses and protocol.
};

// What a plane takes in.
struct FrameFilter {
  MacAddress mac;
  uint16_t vlan = kNoVlan;
  IpAddress ip;
  uint16_t port = 0;
};

enum class FrameKind : uint8_t {
  kDatagram,     // For us, whole and intact.
  kArp,          // An ARP packet for IPv4 over Ethernet: for Neighbours.
  kNeighbour,    // A neighbour solicitation or advertisement: the same.
  kForeign,      // Somebody else's address, port, tag or protocol.
  kFragment,     // Part of an IP packet.
  kMalformed,    // Lengths or versions that cannot be.
  kBadChecksum,  // Of IPv4, UDP or ICMPv6.
};

struct ParsedFrame {
  FrameKind kind = FrameKind::kForeign;
  bool ce = false;  // Congestion was experienced (RFC 3168).
  // kDatagram: UDP's. kArp: from the ARP header on. kNeighbour: from the
  // ICMPv6 header on.
  std::span<const std::byte> payload;
  IpAddress from;  // kNeighbour alone.
  // kForeign: a datagram for our address, and this UDP port; 0: something else.
  uint16_t to_port = 0;
};

// `checked`: the NIC found IP's and UDP's checksums right already.
ParsedFrame ParseFrame(std::span<const std::byte> frame,
                       const FrameFilter& filter, bool checked);

// The same sum for ICMPv6 (RFC 4443, section 2.3): 0 where `message`, its
// checksum field included, is intact; and what belongs into the field where
// that is 0.
uint16_t Icmpv6Checksum(const IpAddress& from, const IpAddress& to,
                        std::span<const std::byte> message);

}  // namespace hawser
