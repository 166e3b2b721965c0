// Random but valid things that travel, for the tests of this room.
// Knows: the ranges of the fields.  Never: their layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/base/random.h"
#include "transport/wire/handshake.h"
#include "transport/wire/header.h"

namespace hawser::wire {

inline std::string Hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    text += kDigits[static_cast<int>(b) >> 4];
    text += kDigits[static_cast<int>(b) & 15];
  }
  return text;
}

inline std::vector<std::byte> RandomBytes(size_t length, Random& random) {
  std::vector<std::byte> bytes(length);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next());
  return bytes;
}

inline std::string RandomText(size_t length, Random& random) {
  std::string text(length, ' ');
  for (char& c : text) c = static_cast<char>(0x20 + random.Below(0x5f));
  return text;
}

// Sets only what travels for its kind, so that what comes back is equal.
// kData: for `payload`.
inline PacketHeader RandomHeader(CargoKind kind, PacketKey key,
                                 std::span<const std::byte> payload,
                                 Random& random) {
  PacketHeader header;
  header.peer.value = static_cast<uint16_t>(random.Next());
  header.path.value = static_cast<uint16_t>(random.Next());
  header.number.value = static_cast<uint32_t>(random.Next());
  header.open_span = static_cast<uint16_t>(random.Below(kAckWindow));
  header.ack_now = random.Chance(0.5);
  Cargo& cargo = header.cargo;
  cargo.kind = kind;
  if (kind == CargoKind::kProbe) {
    header.padded = random.Chance(0.5);
    return header;
  }
  cargo.flow.value = static_cast<uint32_t>(random.Next());
  cargo.resend = random.Chance(0.5);
  cargo.message.value = static_cast<uint32_t>(random.Next());
  if (kind == CargoKind::kClose) {
    cargo.from_sender = random.Chance(0.5);
    return header;
  }
  if (kind == CargoKind::kGrant) {
    header.grant.capacity_bytes = static_cast<uint32_t>(random.Next());
    header.grant.target.address = random.Next();
    header.grant.target.key = static_cast<uint32_t>(random.Next());
    return header;
  }
  const auto length = static_cast<uint32_t>(payload.size());
  cargo.length = length;
  cargo.offset = static_cast<uint32_t>(random.Below(UINT32_MAX - length));
  header.message_bytes =
      cargo.offset + length +
      static_cast<uint32_t>(random.Below(UINT32_MAX - length - cargo.offset));
  header.payload_checked = random.Chance(0.5);
  if (header.payload_checked) header.payload_check = CheckOf(payload, key);
  return header;
}

// A whole packet of any numbered kind; `header_bytes` may be null.
inline std::vector<std::byte> RandomPacket(CargoKind kind, PacketKey key,
                                           Random& random,
                                           size_t* header_bytes = nullptr) {
  std::vector<std::byte> rest;
  if (kind == CargoKind::kData) rest = RandomBytes(random.Below(300), random);
  const PacketHeader header = RandomHeader(kind, key, rest, random);
  if (header.padded) rest = RandomBytes(random.Below(300), random);
  std::vector<std::byte> packet(kMaxHeaderBytes);
  packet.resize(EncodePacket(header, key, packet));
  if (header_bytes != nullptr) *header_bytes = packet.size();
  packet.insert(packet.end(), rest.begin(), rest.end());
  return packet;
}

inline AckPacket RandomAcks(Random& random) {
  AckPacket packet;
  packet.peer.value = static_cast<uint16_t>(random.Next());
  packet.count = static_cast<uint8_t>(1 + random.Below(kMaxAcksPerPacket));
  for (Ack& ack : std::span(packet.acks).first(packet.count)) {
    ack.path.value = static_cast<uint16_t>(random.Next());
    ack.largest.value = static_cast<uint32_t>(random.Next());
    ack.held = Duration::Nanos(static_cast<uint32_t>(random.Next()));
    ack.ecn_marked = static_cast<uint16_t>(random.Next());
    ack.words = static_cast<uint8_t>(1 + random.Below(kAckWords));
    for (uint64_t& word : std::span(ack.arrived).first(ack.words)) {
      word = random.Next();
    }
  }
  return packet;
}

inline std::vector<std::byte> RandomAckPacket(PacketKey key, Random& random) {
  std::vector<std::byte> packet(kMaxAckPacketBytes);
  size_t written = 0;
  packet.resize(EncodeAcks(RandomAcks(random), key, packet, &written));
  return packet;
}

inline Introduction RandomIntroduction(Random& random) {
  Introduction introduction;
  introduction.listener_nonce = random.Next();
  introduction.identity = {random.Next(), random.Next()};
  introduction.datapath = RandomText(1 + random.Below(16), random);
  introduction.engine = static_cast<uint16_t>(random.Next());
  introduction.peer.value = static_cast<uint16_t>(random.Next());
  introduction.flow.value = static_cast<uint32_t>(random.Next());
  introduction.paths = static_cast<uint16_t>(1 + random.Below(256));
  introduction.planes.resize(1 + random.Below(kMaxPlanes));
  for (PlaneAddress& plane : introduction.planes) {
    plane.length = static_cast<uint8_t>(random.Below(33));
    for (std::byte& b : std::span(plane.bytes).first(plane.length)) {
      b = static_cast<std::byte>(random.Next());
    }
    plane.max_packet_bytes =
        256 + static_cast<uint32_t>(random.Below(65536 - 256 + 1));
  }
  introduction.host = RandomText(random.Below(65), random);
  return introduction;
}

}  // namespace hawser::wire
