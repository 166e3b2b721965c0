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

// Sets only what a kind has use for, so that what comes back is equal. kData:
// for `payload`, of which `length % kCutBytes` is 0 unless it is the last.
inline PacketHeader RandomHeader(CargoKind kind, PacketKey key,
                                 std::span<const std::byte> payload,
                                 Random& random) {
  PacketHeader header;
  header.path.value = static_cast<uint16_t>(random.Below(kMaxPaths));
  header.number.value = random.Next() >> random.Below(60);
  header.open_span = static_cast<uint16_t>(64 * random.Below(kAckWords) + 63);
  header.ack_now = random.Chance(0.5);
  Cargo& cargo = header.cargo;
  cargo.kind = kind;
  if (kind != CargoKind::kData) {
    header.peer.value = static_cast<uint16_t>(random.Next());
  } else {
    header.peer = kNoPeer;
  }
  if (kind == CargoKind::kProbe) {
    header.padded = random.Chance(0.5);
    return header;
  }
  cargo.flow.value = static_cast<uint32_t>(random.Next());
  cargo.message.value = static_cast<uint32_t>(random.Next());
  if (kind == CargoKind::kClose) {
    cargo.from_sender = random.Chance(0.5);
    return header;
  }
  if (kind == CargoKind::kGrant) {
    header.grant.capacity_bytes = static_cast<uint32_t>(random.Next());
    const uint32_t unit = AdmissionUnit(header.grant.capacity_bytes);
    header.grant.admitted_bytes = static_cast<uint32_t>(
        random.Below(header.grant.capacity_bytes / unit + 1) * unit);
    if (random.Chance(0.5)) {
      header.grant.target.address = random.Next();
      header.grant.target.key = 1 + static_cast<uint32_t>(random.Below(~0u));
    } else {
      cargo.length = static_cast<uint32_t>(random.Below(1 + kMaxMoreGranted));
    }
    return header;
  }
  const auto length = static_cast<uint32_t>(payload.size());
  cargo.length = length;
  if (length > 0) {
    cargo.offset = static_cast<uint32_t>(
        random.Below((UINT32_MAX - length) / kCutBytes) * kCutBytes);
  }
  header.last = length % kCutBytes != 0 || random.Chance(0.5);
  header.payload_checked = random.Chance(0.5);
  if (header.payload_checked) header.payload_check = CheckOf(payload, key);
  return header;
}

// What a receiver knows who expects nothing but this packet.
inline Expected ExpectedOf(const PacketHeader& header) {
  return {header.number, header.cargo.flow, header.cargo.message};
}

// A whole packet of any numbered kind, and what it was made of.
struct Sample {
  std::vector<std::byte> bytes;
  PacketHeader header;
  size_t header_bytes = 0;
};
inline Sample RandomPacket(CargoKind kind, PacketKey key, Random& random) {
  std::vector<std::byte> rest;
  if (kind == CargoKind::kData) rest = RandomBytes(random.Below(300), random);
  Sample sample;
  sample.header = RandomHeader(kind, key, rest, random);
  if (sample.header.padded) rest = RandomBytes(random.Below(300), random);
  sample.bytes.resize(kMaxHeaderBytes);
  sample.header_bytes = EncodePacket(sample.header, key, sample.bytes);
  sample.bytes.resize(sample.header_bytes);
  sample.bytes.insert(sample.bytes.end(), rest.begin(), rest.end());
  return sample;
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

inline std::vector<std::byte> RandomControlPacket(PacketKey key,
                                                  Random& random) {
  const auto content = RandomBytes(1 + random.Below(kMaxControlBytes), random);
  std::vector<std::byte> packet(kPrologueBytes + kMaxControlBytes);
  packet.resize(EncodeControl({PeerId{static_cast<uint16_t>(random.Next())},
                               static_cast<uint8_t>(random.Next()), content},
                              key, packet));
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
  introduction.paths = static_cast<uint16_t>(1 + random.Below(kMaxPaths));
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
