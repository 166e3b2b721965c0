#include "transport/net/neighbours.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "transport/base/check.h"

namespace hawser {
namespace {

// RFC 826: Ethernet, IPv4, 6 and 4 bytes of address.
constexpr uint8_t kArpStart[] = {0, 1, 8, 0, 6, 4};
constexpr unsigned kArpRequest = 1;
constexpr unsigned kArpReply = 2;
constexpr size_t kArpBytes = 28;
// What a frame has at least, without its check sequence (IEEE 802.3).
constexpr size_t kLeastFrameBytes = 60;

// RFC 4861, sections 4.3, 4.4 and 4.6.1.
constexpr unsigned kSolicitation = 135;
constexpr unsigned kAdvertisement = 136;
constexpr unsigned kSolicited = 0x40;
constexpr unsigned kOverride = 0x20;
constexpr unsigned kSourceMac = 1;  // Options.
constexpr unsigned kTargetMac = 2;
constexpr size_t kNeighbourBytes = 24;
constexpr size_t kMacOptionBytes = 8;
constexpr uint8_t kProtocolIcmpv6 = 58;

unsigned Get8(const std::byte* at) { return std::to_integer<unsigned>(*at); }
void Put8(std::byte* at, unsigned value) {
  *at = static_cast<std::byte>(value);
}

IpAddress Ipv4At(const std::byte* at) {
  IpAddress ip;
  ip.length = 4;
  std::memcpy(ip.bytes.data(), at, 4);
  return ip;
}
IpAddress Ipv6At(const std::byte* at) {
  IpAddress ip;
  ip.length = 16;
  std::memcpy(ip.bytes.data(), at, 16);
  return ip;
}
MacAddress MacAt(const std::byte* at) {
  MacAddress mac;
  std::memcpy(mac.bytes.data(), at, 6);
  return mac;
}

// All that listen for solicitations of `ip` (RFC 4291, section 2.7.1).
IpAddress SolicitedGroup(const IpAddress& ip) {
  IpAddress group{16, {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}};
  std::copy_n(ip.bytes.begin() + 13, 3, group.bytes.begin() + 13);
  return group;
}
MacAddress MacOfGroup(const IpAddress& ip) {  // RFC 2464, section 7.
  const auto& b = ip.bytes;
  return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

std::optional<MacAddress> MacOption(std::span<const std::byte> options,
                                    unsigned type) {
  while (options.size() >= 8) {
    const size_t bytes = 8 * Get8(options.data() + 1);
    if (bytes == 0 || bytes > options.size()) return std::nullopt;
    if (Get8(options.data()) == type) return MacAt(options.data() + 2);
    options = options.subspan(bytes);
  }
  return std::nullopt;
}

}  // namespace

Neighbours::Neighbours(const MacAddress& mac, uint16_t vlan,
                       const IpAddress& ip)
    : mac_(mac), vlan_(vlan), ip_(ip) {}

size_t Neighbours::Add(const IpAddress& ip, Time now) {
  HAWSER_CHECK(ip.length == ip_.length);
  const auto found =
      std::find_if(entries_.begin(), entries_.end(),
                   [&](const Entry& entry) { return entry.ip == ip; });
  const auto index = static_cast<size_t>(found - entries_.begin());
  if (found == entries_.end()) {
    entries_.emplace_back().ip = ip;
    Ask(entries_.back(), now);
  } else if (found->silent) {
    Ask(*found, now);
  }
  return index;
}

size_t Neighbours::AddKnown(const IpAddress& ip, const MacAddress& mac) {
  const size_t index = Add(ip, Time());
  Entry& entry = entries_[index];
  entry.mac = mac;
  entry.known = entry.fixed = true;
  entry.ask_at = Time::Never();
  ++changes_;
  return index;
}

void Neighbours::Ask(Entry& entry, Time now) {
  entry.silent = false;
  entry.ask_at = now;
  entry.silent_at = now + kPatience;
  entry.pause = kFirstPause;
}

void Neighbours::AskAgain(Time now) {
  for (Entry& entry : entries_) {
    if (!entry.fixed) Ask(entry, now);
  }
}

const MacAddress* Neighbours::Find(size_t index) const {
  return entries_[index].known ? &entries_[index].mac : nullptr;
}

Time Neighbours::deadline() const {
  if (!answers_.empty()) return Time();
  Time next = Time::Never();
  for (const Entry& entry : entries_) next = std::min(next, entry.ask_at);
  return next;
}

size_t Neighbours::TakeFrame(Time now, std::span<std::byte> out) {
  HAWSER_CHECK(out.size() >= kMaxFrameBytes);
  if (!answers_.empty()) return WriteAnswer(answers_.Pop(), out);
  for (Entry& entry : entries_) {
    if (entry.ask_at > now) continue;
    entry.silent = !entry.known && entry.silent_at <= now;
    entry.ask_at = now + entry.pause;
    entry.pause = std::min(2 * entry.pause, kLongestPause);
    return WriteQuestion(entry, out);
  }
  return 0;
}

bool Neighbours::IsAnswer(const ParsedFrame& frame) {
  const auto bytes = frame.payload;
  if (frame.kind == FrameKind::kArp) {
    return bytes.size() >= kArpBytes &&
           (Get8(bytes.data() + 6) << 8 | Get8(bytes.data() + 7)) == kArpReply;
  }
  return frame.kind == FrameKind::kNeighbour && !bytes.empty() &&
         Get8(bytes.data()) == kAdvertisement;
}

void Neighbours::OnFrame(const ParsedFrame& frame, Time now) {
  if (frame.kind == FrameKind::kArp) OnArp(frame.payload, now);
  if (frame.kind == FrameKind::kNeighbour) OnNeighbour(frame, now);
}

void Neighbours::Learn(const IpAddress& ip, const MacAddress& mac, Time now) {
  if (mac.is_group()) return;
  for (Entry& entry : entries_) {
    if (entry.ip != ip || entry.fixed) continue;
    if (!entry.known || entry.mac != mac) ++changes_;
    entry.mac = mac;
    entry.known = true;
    Ask(entry, now + kFresh);
  }
}

// --- ARP -------------------------------------------------------------------

void Neighbours::OnArp(std::span<const std::byte> packet, Time now) {
  const std::byte* const at = packet.data();
  if (!ip_.is_v4() || packet.size() < kArpBytes ||
      std::memcmp(at, kArpStart, sizeof kArpStart) != 0) {
    return;
  }
  const unsigned operation = Get8(at + 6) << 8 | Get8(at + 7);
  const MacAddress mac = MacAt(at + 8);
  const IpAddress from = Ipv4At(at + 14);
  if (from == ip_) return;  // Our own, or somebody who takes our address.
  Learn(from, mac, now);
  if (operation == kArpRequest && Ipv4At(at + 24) == ip_ && !answers_.full()) {
    answers_.Push({from, mac});
  }
}

size_t Neighbours::WriteArp(unsigned operation, const MacAddress& to_mac,
                            const IpAddress& to,
                            std::span<std::byte> out) const {
  std::fill(out.begin(), out.begin() + kMaxFrameBytes, std::byte{0});
  std::byte* at =
      out.data() + WriteEthernet(to_mac, mac_, vlan_, EtherType::kArp, out);
  std::memcpy(at, kArpStart, sizeof kArpStart);
  Put8(at + 7, operation);
  std::memcpy(at + 8, mac_.bytes.data(), 6);
  std::memcpy(at + 14, ip_.bytes.data(), 4);
  if (!to_mac.is_group()) std::memcpy(at + 18, to_mac.bytes.data(), 6);
  std::memcpy(at + 24, to.bytes.data(), 4);
  return std::max(static_cast<size_t>(at + kArpBytes - out.data()),
                  kLeastFrameBytes);
}

// --- Neighbour discovery ---------------------------------------------------

void Neighbours::OnNeighbour(const ParsedFrame& frame, Time now) {
  const auto message = frame.payload;
  if (ip_.length != 16 || message.size() < kNeighbourBytes) return;
  const IpAddress target = Ipv6At(message.data() + 8);
  const auto options = message.subspan(kNeighbourBytes);
  if (Get8(message.data()) == kAdvertisement) {
    const auto mac = MacOption(options, kTargetMac);
    if (mac) Learn(target, *mac, now);
    return;
  }
  const auto mac = MacOption(options, kSourceMac);
  const bool nobody = frame.from == IpAddress{16, {}};
  if (mac && !nobody) Learn(frame.from, *mac, now);
  if (target != ip_ || answers_.full()) return;
  // Who has no address yet wants to know whether ours is free (RFC 4862).
  if (nobody) {
    answers_.Push({});
  } else if (mac && !mac->is_group()) {
    answers_.Push({frame.from, *mac});
  }
}

size_t Neighbours::WriteNeighbour(unsigned type, unsigned flags,
                                  const IpAddress& target, const IpAddress& to,
                                  const MacAddress& to_mac,
                                  std::span<std::byte> out) const {
  constexpr size_t kMessageBytes = kNeighbourBytes + kMacOptionBytes;
  std::fill(out.begin(), out.begin() + kMaxFrameBytes, std::byte{0});
  std::byte* const ip =
      out.data() + WriteEthernet(to_mac, mac_, vlan_, EtherType::kIpv6, out);
  Put8(ip, 0x60);
  Put8(ip + 5, kMessageBytes);
  Put8(ip + 6, kProtocolIcmpv6);
  Put8(ip + 7, 255);
  std::memcpy(ip + 8, ip_.bytes.data(), 16);
  std::memcpy(ip + 24, to.bytes.data(), 16);
  std::byte* const message = ip + kIpv6Bytes;
  Put8(message, type);
  Put8(message + 4, flags);
  std::memcpy(message + 8, target.bytes.data(), 16);
  std::byte* const option = message + kNeighbourBytes;
  Put8(option, type == kSolicitation ? kSourceMac : kTargetMac);
  Put8(option + 1, kMacOptionBytes / 8);
  std::memcpy(option + 2, mac_.bytes.data(), 6);
  const uint16_t sum = Icmpv6Checksum(ip_, to, {message, kMessageBytes});
  std::memcpy(message + 2, &sum, sizeof sum);
  return static_cast<size_t>(message + kMessageBytes - out.data());
}

// --- Both ------------------------------------------------------------------

size_t Neighbours::WriteQuestion(const Entry& entry,
                                 std::span<std::byte> out) const {
  // To whom it was when it was last heard; anybody, if it does not answer.
  const bool direct = entry.known && entry.pause <= 4 * kFirstPause;
  if (ip_.is_v4()) {
    return WriteArp(kArpRequest, direct ? entry.mac : kBroadcastMac, entry.ip,
                    out);
  }
  const IpAddress group = SolicitedGroup(entry.ip);
  return WriteNeighbour(kSolicitation, 0, entry.ip, direct ? entry.ip : group,
                        direct ? entry.mac : MacOfGroup(group), out);
}

size_t Neighbours::WriteAnswer(const Answer& answer,
                               std::span<std::byte> out) const {
  if (ip_.is_v4()) return WriteArp(kArpReply, answer.mac, answer.ip, out);
  if (answer.ip.length == 0) {
    const IpAddress all{16,
                        {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    return WriteNeighbour(kAdvertisement, kOverride, ip_, all, MacOfGroup(all),
                          out);
  }
  return WriteNeighbour(kAdvertisement, kSolicited | kOverride, ip_, answer.ip,
                        answer.mac, out);
}

}  // namespace hawser
