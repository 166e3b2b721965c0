// Any bytes into every decoder: none may read out of bounds, and what one
// accepts must be exactly what the encoder would have written.
//
// Random bytes never pass a 32-bit check, so most of what there is to test
// would never be reached. The first byte of an input therefore says which of
// the outer shells are made right before the decoders see it; the layers below
// are then the fuzzer's to break.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "transport/base/check.h"
#include "transport/wire/bundle.h"
#include "transport/wire/handshake.h"
#include "transport/wire/header.h"

namespace hawser::wire {
namespace {

// Bits of the first byte of an input.
constexpr uint8_t kRepairStart = 1;  // Version; of a frame, magic.
constexpr uint8_t kRepairRest = 2;   // What vouches for the payload or body.
constexpr uint8_t kRepairCheck = 4;  // The check of the header.

using Bytes = std::vector<std::byte>;

bool SameBytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

template <class Int>
void Poke(Bytes& bytes, size_t offset, Int value) {
  if (offset + sizeof(Int) > bytes.size()) return;
  std::memcpy(bytes.data() + offset, &value, sizeof(Int));
}

// Whoever receives the packets of this fuzzer expects this.
constexpr Expected kExpected{PacketNumber{0x0123456789abcdef},
                             FlowId{0x00020003}, MessageId{0xfffffffe}};

// Offsets and sizes as docs/wire.md has them, on purpose not as header.cc.
void RepairPacket(uint8_t repair, PacketKey key, Bytes& packet) {
  if (packet.size() < 8) return;
  if (repair & kRepairStart) {
    packet[0] = std::byte{0x40} | (packet[0] & std::byte{0x0f});
  }
  constexpr size_t kHeaderBytes[] = {16, 40, 22, 14};
  const auto kind = static_cast<size_t>(packet[0] & std::byte{0x0f});
  size_t header = packet.size();
  if (kind < 4) header = std::min(header, kHeaderBytes[kind]);
  const bool checked = kind == 0 && packet.size() >= 20 &&
                       (packet[1] & std::byte{4}) != std::byte{0};
  if (checked) header = 20;
  if ((repair & kRepairRest) && checked) {
    Poke(packet, 16, CheckOf(std::span(packet).subspan(20), key));
  }
  if (!(repair & kRepairCheck)) return;
  Poke<uint32_t>(packet, 4, 0);
  Bytes covered(packet.begin(), packet.begin() + header);
  if (kind < 4 && header >= kHeaderBytes[kind]) {
    // As it reads to who expects kExpected.
    const size_t size = covered.size();
    covered.resize(size + (kind == 0 ? 20 : 8));
    uint64_t place = 0;
    std::memcpy(&place, packet.data() + 8, kind == 0 ? 8 : 6);
    const auto low = static_cast<uint32_t>(place >> (kind == 0 ? 10 : 16));
    Poke(covered, size,
         kind == 0 ? ExpandNumber(low & 0x3fff, 14, kExpected.number).value
                   : ExpandNumber(low, 32, kExpected.number).value);
    if (kind == 0) {
      const auto message = static_cast<uint32_t>(place >> 24) & 0xfff;
      // 0xfffffffe is 2 before the wrap.
      Poke(covered, size + 8, kExpected.flow.value);
      Poke(covered, size + 12,
           message < 0x7fe ? message : message | 0xfffff000);
      Poke(covered, size + 16, static_cast<uint32_t>(packet.size() - header));
    }
  }
  Poke<uint32_t>(packet, 4, CheckOf(covered, key));
}

void RepairFrame(uint8_t repair, Bytes& frame) {
  if (frame.size() < 16) return;
  if (repair & kRepairStart) {
    Poke<uint32_t>(frame, 0, 0x53574148);
    frame[5] = frame[7] = std::byte{0};
  }
  const auto body = std::span(frame).subspan(16);
  if (repair & kRepairRest) {
    Poke(frame, 8, static_cast<uint32_t>(body.size()));
  }
  if (repair & kRepairCheck) {
    uint64_t key = 0;  // Magic, version and kind, as they stand in the frame.
    std::memcpy(&key, frame.data(), 8);
    Poke(frame, 12, CheckOf(body, key));
  }
}

void TryPacket(std::span<const std::byte> in, PacketKey key) {
  const auto decoded = DecodePacket(in, key, kExpected);
  if (!decoded) return;
  const PacketHeader& header = decoded->header;
  HAWSER_CHECK(DecodePrologue(in));
  HAWSER_CHECK(header.open_span < kAckWindow);
  std::byte again[kMaxHeaderBytes];
  const size_t size = EncodePacket(header, key, again);
  HAWSER_CHECK(SameBytes(in.first(size), std::span(again).first(size)));
  const std::span<const std::byte> rest = in.subspan(size);
  if (header.cargo.kind == CargoKind::kData) {
    HAWSER_CHECK(decoded->payload.data() == rest.data());
    HAWSER_CHECK(decoded->payload.size() == rest.size());
    // What was placed is not in the packet, which says how much it was.
    HAWSER_CHECK(header.cargo.placed ? rest.empty()
                                     : header.cargo.length == rest.size());
    HAWSER_CHECK(header.cargo.flow == kExpected.flow);
    HAWSER_CHECK(uint64_t{header.cargo.offset} + header.cargo.length <=
                 UINT32_MAX);
    HAWSER_CHECK(header.last || header.cargo.length % kCutBytes == 0);
  } else {
    HAWSER_CHECK(decoded->payload.empty());
    HAWSER_CHECK(rest.empty() || header.padded);
  }
}

void TryAcks(std::span<const std::byte> in, PacketKey key) {
  AckPacket packet;
  if (!DecodeAcks(in, key, &packet)) return;
  HAWSER_CHECK(packet.count >= 1 && packet.count <= kMaxAcksPerPacket);
  std::byte again[kMaxAckPacketBytes];
  size_t written = 0;
  const size_t size = EncodeAcks(packet, key, again, &written);
  HAWSER_CHECK(written == packet.count);
  HAWSER_CHECK(SameBytes(in, std::span(again).first(size)));
}

void TryGoodbye(std::span<const std::byte> in, PacketKey key) {
  if (!DecodeGoodbye(in, key)) return;
  std::byte again[kPrologueBytes];
  HAWSER_CHECK(EncodeGoodbye(DecodePrologue(in)->peer, key, again) ==
               in.size());
  HAWSER_CHECK(SameBytes(in, again));
}

void TryControl(std::span<const std::byte> in, PacketKey key) {
  const auto packet = DecodeControl(in, key);
  if (!packet) return;
  HAWSER_CHECK(!packet->content.empty());
  std::byte again[kPrologueBytes + kMaxControlBytes];
  const size_t size = EncodeControl(*packet, key, again);
  HAWSER_CHECK(SameBytes(in, std::span(again).first(size)));
}

void TryFrame(std::span<const std::byte> in) {
  const auto header = DecodeFrameHeader(in);
  if (!header) return;
  const std::span<const std::byte> body = in.subspan(kFrameHeaderBytes);
  HAWSER_CHECK(header->body_bytes <= kMaxFrameBytes - kFrameHeaderBytes);
  const auto introduction = DecodeIntroduction(*header, body);
  const auto reason = DecodeRefusal(*header, body);
  HAWSER_CHECK(!introduction || !reason);
  if (introduction) {
    HAWSER_CHECK(
        SameBytes(in, EncodeIntroduction(header->kind, *introduction)));
  }
  if (reason && header->version == kHandshakeVersion) {
    HAWSER_CHECK(SameBytes(in, EncodeRefusal(*reason)));
  }
}

// Every byte of a datagram is in one packet or in a length, and none in two.
void TryBundle(std::span<const std::byte> in, PacketKey key) {
  BundleReader reader(in);
  const std::byte* end = in.data();
  while (const auto packet = reader.Next()) {
    HAWSER_CHECK(packet->data() >= end);
    end = packet->data() + packet->size();
    HAWSER_CHECK(end <= in.data() + in.size());
    TryPacket(*packet, key);
    TryAcks(*packet, key);
  }
  HAWSER_CHECK(end == in.data() + in.size());
}

// One byte of repairs, 8 of key, then the packet or the frame.
void TestOneInput(std::span<const std::byte> input) {
  constexpr size_t kPrefixBytes = 1 + sizeof(PacketKey);
  if (input.size() < kPrefixBytes) return;
  const auto repair = static_cast<uint8_t>(input[0]);
  PacketKey key;
  std::memcpy(&key, input.data() + 1, sizeof(key));
  const std::span<const std::byte> in = input.subspan(kPrefixBytes);

  // Copies of exactly their size, so that a sanitizer sees a read beyond.
  Bytes packet(in.begin(), in.end());
  RepairPacket(repair, key, packet);
  DecodePrologue(packet);
  TryPacket(packet, key);
  TryAcks(packet, key);
  TryGoodbye(packet, key);
  TryControl(packet, key);
  TryBundle(packet, key);
  Bytes frame(in.begin(), in.end());
  RepairFrame(repair, frame);
  TryFrame(frame);
}

}  // namespace
}  // namespace hawser::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  hawser::wire::TestOneInput(std::as_bytes(std::span(bytes, size)));
  return 0;
}
