#include "transport/net/frame.h"

#include <algorithm>
#include <cstring>

#include "transport/base/check.h"

namespace hawser {
namespace {

constexpr uint8_t kEct0 = 0x02;  // "I understand ECN" (RFC 3168, section 5).
constexpr uint8_t kEcnBits = 0x03;
constexpr uint8_t kCe = 0x03;
constexpr uint8_t kHopLimit = 64;  // As Linux's own default.
constexpr uint8_t kProtocolUdp = 17;
constexpr uint8_t kProtocolIcmpv6 = 58;
constexpr uint8_t kProtocolFragment = 44;
constexpr uint16_t kDontFragment = 0x4000;
constexpr uint16_t kFragmentBits = 0x3fff;  // "More", and the offset.
constexpr uint8_t kNeighbourSolicitation = 135;
constexpr uint8_t kNeighbourAdvertisement = 136;
constexpr size_t kArpBytes = 28;

void Put8(std::byte* at, unsigned value) {
  *at = static_cast<std::byte>(value);
}
void Put16(std::byte* at, unsigned value) {
  Put8(at, value >> 8);
  Put8(at + 1, value & 0xff);
}
unsigned Get8(const std::byte* at) { return std::to_integer<unsigned>(*at); }
unsigned Get16(const std::byte* at) { return Get8(at) << 8 | Get8(at + 1); }
// A checksum is in memory's order already.
void PutSum(std::byte* at, uint16_t sum) { std::memcpy(at, &sum, sizeof sum); }

ChecksumPart SumOfAddress(const IpAddress& ip) {
  return SumOf(std::as_bytes(std::span(ip.bytes).first(ip.length)));
}

inline bool Holds(const std::byte* at, const uint8_t* bytes, size_t count) {
  return std::memcmp(at, bytes, count) == 0;
}

ParsedFrame Is(FrameKind kind) {
  ParsedFrame parsed;
  parsed.kind = kind;
  return parsed;
}

// `addresses`: both, of IP. What is behind the datagram is padding.
ParsedFrame ParseUdp(std::span<const std::byte> bytes,
                     std::span<const std::byte> addresses,
                     const FrameFilter& filter, bool checked, bool ce) {
  if (bytes.size() < kUdpBytes) return Is(FrameKind::kMalformed);
  const std::byte* const at = bytes.data();
  if (const unsigned to = Get16(at + 2); to != filter.port) {
    ParsedFrame parsed = Is(FrameKind::kForeign);
    parsed.to_port = static_cast<uint16_t>(to);
    return parsed;
  }
  const size_t length = Get16(at + 4);
  if (length < kUdpBytes || length > bytes.size()) {
    return Is(FrameKind::kMalformed);
  }
  if (Get16(at + 6) == 0) {  // None was made.
    if (!filter.ip.is_v4()) return Is(FrameKind::kBadChecksum);
  } else if (!checked) {
    const ChecksumPart all = SumOf(addresses) + SumOfWord(kProtocolUdp) +
                             SumOfWord(static_cast<uint16_t>(length)) +
                             SumOf(bytes.first(length));
    if (Fold(all) != 0) return Is(FrameKind::kBadChecksum);
  }
  ParsedFrame parsed = Is(FrameKind::kDatagram);
  parsed.ce = ce;
  parsed.payload = bytes.subspan(kUdpBytes, length - kUdpBytes);
  return parsed;
}

ParsedFrame ParseIpv4(std::span<const std::byte> bytes,
                      const FrameFilter& filter, bool checked) {
  if (bytes.size() < kIpv4Bytes) return Is(FrameKind::kMalformed);
  const std::byte* const at = bytes.data();
  const size_t header = (Get8(at) & 0x0f) * 4;
  const size_t length = Get16(at + 2);
  if (Get8(at) >> 4 != 4 || header < kIpv4Bytes || length < header ||
      length > bytes.size()) {
    return Is(FrameKind::kMalformed);
  }
  if (!filter.ip.is_v4() || !Holds(at + 16, filter.ip.bytes.data(), 4)) {
    return Is(FrameKind::kForeign);
  }
  if (!checked && Fold(SumOf(bytes.first(header))) != 0) {
    return Is(FrameKind::kBadChecksum);
  }
  if ((Get16(at + 6) & kFragmentBits) != 0) return Is(FrameKind::kFragment);
  if (Get8(at + 9) != kProtocolUdp || header != kIpv4Bytes) {
    return Is(FrameKind::kForeign);
  }
  return ParseUdp(bytes.subspan(kIpv4Bytes, length - kIpv4Bytes),
                  bytes.subspan(12, 8), filter, checked,
                  (Get8(at + 1) & kEcnBits) == kCe);
}

ParsedFrame ParseIpv6(std::span<const std::byte> bytes,
                      const FrameFilter& filter, bool checked) {
  if (bytes.size() < kIpv6Bytes) return Is(FrameKind::kMalformed);
  const std::byte* const at = bytes.data();
  const size_t length = Get16(at + 4);
  if (Get8(at) >> 4 != 6 || kIpv6Bytes + length > bytes.size()) {
    return Is(FrameKind::kMalformed);
  }
  const auto payload = bytes.subspan(kIpv6Bytes, length);
  const unsigned protocol = Get8(at + 6);
  if (protocol == kProtocolIcmpv6 && filter.ip.length == 16) {
    // Asked of a group, or of us; it is in the message whom it concerns.
    const bool neighbour =
        !payload.empty() && (Get8(payload.data()) == kNeighbourSolicitation ||
                             Get8(payload.data()) == kNeighbourAdvertisement);
    // From off the link it could not have 255 (RFC 4861, section 7.1).
    if (!neighbour || Get8(at + 7) != 255) return Is(FrameKind::kForeign);
    ParsedFrame parsed = Is(FrameKind::kNeighbour);
    IpAddress to;
    to.length = parsed.from.length = 16;
    std::memcpy(parsed.from.bytes.data(), at + 8, 16);
    std::memcpy(to.bytes.data(), at + 24, 16);
    if (Icmpv6Checksum(parsed.from, to, payload) != 0) {
      return Is(FrameKind::kBadChecksum);
    }
    parsed.payload = payload;
    return parsed;
  }
  if (filter.ip.length != 16 || !Holds(at + 24, filter.ip.bytes.data(), 16)) {
    return Is(FrameKind::kForeign);
  }
  if (protocol == kProtocolFragment) return Is(FrameKind::kFragment);
  if (protocol != kProtocolUdp) return Is(FrameKind::kForeign);
  const bool ce = (Get8(at + 1) >> 4 & kEcnBits) == kCe;
  return ParseUdp(payload, bytes.subspan(8, 32), filter, checked, ce);
}

// Of a datagram over IPv4 without options, and of a frame without a tag.
constexpr size_t kPlainBytes = kEthernetBytes + kIpv4Bytes + kUdpBytes;
constexpr size_t kUdpAt = kEthernetBytes + kIpv4Bytes;

// The frame that nearly all are: such a one, for us, whole, intact, and without
// a checksum of UDP's or with one that the NIC has seen. False: look closely.
inline bool IsPlain(std::span<const std::byte> frame, const FrameFilter& filter,
                    bool checked, ParsedFrame* parsed) {
  if (frame.size() < kPlainBytes || filter.vlan != kNoVlan ||
      !filter.ip.is_v4()) {
    return false;
  }
  const std::byte* const at = frame.data();
  const std::byte* const ip = at + kEthernetBytes;
  const std::byte* const udp = at + kUdpAt;
  const size_t ip_bytes = Get16(ip + 2);
  const size_t udp_bytes = Get16(udp + 4);
  // In two steps, for both of which there is an instruction.
  if (!Holds(at, filter.mac.bytes.data(), 4) ||
      !Holds(at + 4, filter.mac.bytes.data() + 4, 2) ||
      Get16(at + 12) != static_cast<unsigned>(EtherType::kIpv4) ||
      Get8(ip) != 0x45 || (Get16(ip + 6) & kFragmentBits) != 0 ||
      Get8(ip + 9) != kProtocolUdp ||
      !Holds(ip + 16, filter.ip.bytes.data(), 4) ||
      Get16(udp + 2) != filter.port || (!checked && Get16(udp + 6) != 0) ||
      udp_bytes < kUdpBytes || kIpv4Bytes + udp_bytes > ip_bytes ||
      kEthernetBytes + ip_bytes > frame.size()) {
    return false;
  }
  if (!checked) {
    uint64_t words[2];
    uint32_t last;
    std::memcpy(words, ip, sizeof words);
    std::memcpy(&last, ip + sizeof words, sizeof last);
    const ChecksumPart sum = ChecksumPart{words[0]} + ChecksumPart{words[1]};
    if (Fold(sum + ChecksumPart{last}) != 0) return false;
  }
  parsed->kind = FrameKind::kDatagram;
  parsed->ce = (Get8(ip + 1) & kEcnBits) == kCe;
  parsed->payload = frame.subspan(kPlainBytes, udp_bytes - kUdpBytes);
  return true;
}

}  // namespace

size_t WriteEthernet(const MacAddress& to, const MacAddress& from,
                     uint16_t vlan, EtherType type, std::span<std::byte> out) {
  HAWSER_CHECK(out.size() >= kEthernetBytes + kVlanBytes);
  std::memcpy(out.data(), to.bytes.data(), 6);
  std::memcpy(out.data() + 6, from.bytes.data(), 6);
  std::byte* at = out.data() + 12;
  if (vlan != kNoVlan) {
    Put16(at, static_cast<unsigned>(EtherType::kVlan));
    Put16(at + 2, vlan);
    at += kVlanBytes;
  }
  Put16(at, static_cast<unsigned>(type));
  return static_cast<size_t>(at + 2 - out.data());
}

FrameHeader::FrameHeader(const Route& route) : is_v4_(route.to.is_v4()) {
  HAWSER_CHECK(route.from.length == route.to.length);
  ip_at_ = static_cast<uint8_t>(
      WriteEthernet(route.to_mac, route.from_mac, route.vlan,
                    is_v4_ ? EtherType::kIpv4 : EtherType::kIpv6, bytes_));
  const unsigned traffic = (route.traffic_class & ~kEcnBits) | kEct0;
  std::byte* const ip = bytes_.data() + ip_at_;
  std::byte* udp = nullptr;
  if (is_v4_) {
    Put8(ip, 0x45);
    Put8(ip + 1, traffic);
    // Its identification stays 0: nothing that must not be fragmented needs
    // one (RFC 6864, section 4.1).
    Put16(ip + 6, kDontFragment);
    Put8(ip + 8, kHopLimit);
    Put8(ip + 9, kProtocolUdp);
    std::memcpy(ip + 12, route.from.bytes.data(), 4);
    std::memcpy(ip + 16, route.to.bytes.data(), 4);
    ip_ = SumOf({ip, kIpv4Bytes});
    udp = ip + kIpv4Bytes;
  } else {
    Put8(ip, 0x60 | traffic >> 4);
    Put8(ip + 1, (traffic & 0x0f) << 4);
    Put8(ip + 6, kProtocolUdp);
    Put8(ip + 7, kHopLimit);
    std::memcpy(ip + 8, route.from.bytes.data(), 16);
    std::memcpy(ip + 24, route.to.bytes.data(), 16);
    udp = ip + kIpv6Bytes;
  }
  Put16(udp + 2, route.to_port);
  pseudo_ = SumOfAddress(route.from) + SumOfAddress(route.to) +
            SumOfWord(kProtocolUdp);
  size_ = static_cast<uint8_t>(udp + kUdpBytes - bytes_.data());
}

void FrameHeader::Write(uint16_t from_port, size_t payload_bytes, ChecksumBy by,
                        ChecksumPart payload, std::byte* out) const {
  by = ChecksumsBy(by);
  // A copy whose size is known beforehand is a few instructions.
  if (size_ == kPlainBytes) {
    std::memcpy(out, bytes_.data(), kPlainBytes);
  } else {
    std::memcpy(out, bytes_.data(), size_);
  }
  std::byte* const ip = out + ip_at_;
  std::byte* udp = nullptr;
  const auto udp_bytes = static_cast<uint16_t>(kUdpBytes + payload_bytes);
  if (is_v4_) {
    const auto length = static_cast<uint16_t>(kIpv4Bytes + udp_bytes);
    Put16(ip + 2, length);
    if (by != ChecksumBy::kPort) {
      PutSum(ip + 10, Fold(ip_ + SumOfWord(length)));
    }
    udp = ip + kIpv4Bytes;
  } else {
    // 20 bits, and not those of neighbouring ports side by side.
    const uint32_t label = from_port * 0x9e3779b1u >> 12;
    Put8(ip + 1, (Get8(ip + 1) & 0xf0) | label >> 16);
    Put16(ip + 2, label & 0xffff);
    Put16(ip + 4, udp_bytes);
    udp = ip + kIpv6Bytes;
  }
  Put16(udp, from_port);
  Put16(udp + 4, udp_bytes);
  const ChecksumPart pseudo = pseudo_ + SumOfWord(udp_bytes);
  if (by == ChecksumBy::kPort) {
    PutSum(udp + 6, static_cast<uint16_t>(~Fold(pseudo)));
  } else if (by == ChecksumBy::kUs) {
    const uint16_t sum = Fold(pseudo + SumOf({udp, kUdpBytes}) + payload);
    PutSum(udp + 6, sum == 0 ? uint16_t{0xffff} : sum);
  }
}

ParsedFrame ParseFrame(std::span<const std::byte> frame,
                       const FrameFilter& filter, bool checked) {
  ParsedFrame plain;
  if (IsPlain(frame, filter, checked, &plain)) return plain;
  if (frame.size() < kEthernetBytes) return Is(FrameKind::kMalformed);
  const std::byte* const at = frame.data();
  const bool to_us = Holds(at, filter.mac.bytes.data(), 6);
  const bool to_group = (Get8(at) & 1) != 0;
  if (!to_us && !to_group) return Is(FrameKind::kForeign);
  unsigned type = Get16(at + 12);
  uint16_t vlan = kNoVlan;
  auto rest = frame.subspan(kEthernetBytes);
  if (type == static_cast<unsigned>(EtherType::kVlan)) {
    if (rest.size() < kVlanBytes) return Is(FrameKind::kMalformed);
    vlan = static_cast<uint16_t>(Get16(rest.data()) & 0x0fff);
    type = Get16(rest.data() + 2);
    rest = rest.subspan(kVlanBytes);
  }
  if (vlan != filter.vlan) return Is(FrameKind::kForeign);
  switch (static_cast<EtherType>(type)) {
    case EtherType::kIpv4:
      return ParseIpv4(rest, filter, checked);
    case EtherType::kIpv6:
      return ParseIpv6(rest, filter, checked);
    case EtherType::kArp: {
      if (rest.size() < kArpBytes) return Is(FrameKind::kMalformed);
      ParsedFrame parsed = Is(FrameKind::kArp);
      parsed.payload = rest.first(kArpBytes);
      return parsed;
    }
    default:
      return Is(FrameKind::kForeign);
  }
}

uint16_t Icmpv6Checksum(const IpAddress& from, const IpAddress& to,
                        std::span<const std::byte> message) {
  return Fold(
      SumOfAddress(from) + SumOfAddress(to) + SumOfWord(kProtocolIcmpv6) +
      SumOfWord(static_cast<uint16_t>(message.size())) + SumOf(message));
}

}  // namespace hawser
