// Why a hash and not a CRC: one multiplication takes in 16 bytes and four of
// them overlap, which is fast in plain C++ on every machine; CRC-32C needs an
// instruction per architecture to come near. And a CRC is linear: under any key
// the checks of two packets differ by what the packets differ by, so a key
// could not keep out what an earlier life of the peer has sent. Multiplying the
// two halves of 16 bytes and folding the 128-bit product onto 64 bits is a
// common building block of fast hashes; the arrangement here is our own, and
// docs/wire.md writes it down for those who want to compute it elsewhere.
//
// Why one layout per kind instead of optional fields: each size is then a
// constant, "strict" is one comparison, and every packet has exactly one
// encoding, which the fuzzer holds us to.
#include "transport/wire/header.h"

#include <algorithm>

#include "transport/base/check.h"
#include "transport/base/random.h"
#include "transport/wire/bytes.h"

namespace hawser::wire {
namespace {

// Sizes in bytes, as the tables in docs/wire.md add up to.
constexpr size_t kCheckOffset = 4;
constexpr size_t kNumberedBytes = kPrologueBytes + 2 + 2 + 4;
static_assert(kNumberedBytes == kProbeHeaderBytes);
static_assert(kNumberedBytes + 5 * 4 == kDataHeaderBytes);
static_assert(kNumberedBytes + 3 * 4 + 4 + 8 == kGrantHeaderBytes);
static_assert(kNumberedBytes + 2 * 4 == kCloseHeaderBytes);
static_assert(kGrantHeaderBytes <= kMaxHeaderBytes);
static_assert(kPrologueBytes + kAckBlockBytes + 8 * kAckWords <=
              kMaxAckPacketBytes);

// The 16 bits after the path: the open span, and above it the flags.
constexpr uint16_t kSpanMask = 0x03ff;
constexpr uint16_t kAckNow = 1 << 10;
constexpr uint16_t kResend = 1 << 11;
constexpr uint16_t kFromSender = 1 << 12;
constexpr uint16_t kPadded = 1 << 13;
constexpr uint16_t kPayloadChecked = 1 << 14;
constexpr uint16_t kPlaced = 1 << 15;
static_assert(kAckWindow == kSpanMask + 1);

bool IsNumbered(PacketKind kind) {
  return kind != PacketKind::kAck && kind != PacketKind::kGoodbye;
}

// The flags that mean something for a kind. No others are written, and none
// are accepted: a later version may give them a meaning.
constexpr uint16_t FlagsOf(CargoKind kind) {
  switch (kind) {
    case CargoKind::kData:
      return kAckNow | kResend | kPayloadChecked | kPlaced;
    case CargoKind::kGrant:
      return kAckNow | kResend;
    case CargoKind::kClose:
      return kAckNow | kResend | kFromSender;
    case CargoKind::kProbe:
      return kAckNow | kPadded;
  }
  return 0;
}

// Fractional bits of the square roots of 2, 3, 5 and 7: numbers in which
// nothing can be hidden. (Also in FIPS 180-4, section 5.3.5.)
constexpr uint64_t kRoot2 = 0x6a09e667f3bcc908;
constexpr uint64_t kRoot3 = 0xbb67ae8584caa73b;
constexpr uint64_t kRoot5 = 0x3c6ef372fe94f82b;
constexpr uint64_t kRoot7 = 0xa54ff53a5f1d36f1;

constexpr size_t kStepBytes = 16;    // Taken in by one multiplication.
constexpr size_t kStrideBytes = 64;  // By four of them, one per lane.

inline uint64_t Fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Fewer than 8 bytes as an integer, without touching a ninth: two loads that
// may overlap, for what they both read they agree on.
inline uint64_t LoadShort(const std::byte* at, size_t length) {
  if (length >= 4) {
    return Load<uint32_t>(at) |
           static_cast<uint64_t>(Load<uint32_t>(at + length - 4))
               << 8 * (length - 4);
  }
  if (length == 0) return 0;
  return static_cast<uint64_t>(at[0]) |
         static_cast<uint64_t>(at[length / 2]) << 8 * (length / 2) |
         static_cast<uint64_t>(at[length - 1]) << 8 * (length - 1);
}

// CheckOf, reading the first 8 bytes through `mask`: so a header is checked
// with its own check as zero without being copied. Inputs shorter than 8 bytes
// have no such mask.
inline uint32_t MaskedCheckOf(std::span<const std::byte> bytes, PacketKey key,
                              uint64_t mask) {
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  const uint64_t salt = key ^ kRoot5;
  uint64_t state = Fold(key ^ kRoot2, left ^ kRoot3);
  if (left >= kStrideBytes) {
    // Lanes, because a multiplication takes 3 to 4 cycles but one can start in
    // each: a single chain would leave the multiplier idle.
    uint64_t a = state ^ kRoot2, b = state ^ kRoot3;
    uint64_t c = state ^ kRoot5, d = state ^ kRoot7;
    do {
      a = Fold(a ^ (Load<uint64_t>(at) & mask), salt ^ Load<uint64_t>(at + 8));
      b = Fold(b ^ Load<uint64_t>(at + 16), salt ^ Load<uint64_t>(at + 24));
      c = Fold(c ^ Load<uint64_t>(at + 32), salt ^ Load<uint64_t>(at + 40));
      d = Fold(d ^ Load<uint64_t>(at + 48), salt ^ Load<uint64_t>(at + 56));
      mask = ~uint64_t{0};
      at += kStrideBytes, left -= kStrideBytes;
    } while (left >= kStrideBytes);
    state = Fold(a, salt ^ b) ^ Fold(c, salt ^ d);
  }
  while (left >= kStepBytes) {
    state = Fold(state ^ (Load<uint64_t>(at) & mask),
                 salt ^ Load<uint64_t>(at + 8));
    mask = ~uint64_t{0};
    at += kStepBytes, left -= kStepBytes;
  }
  if (left >= 8) {
    state = Fold(state ^ (Load<uint64_t>(at) & mask),
                 salt ^ LoadShort(at + 8, left - 8));
  } else if (left > 0) {
    state = Fold(state ^ LoadShort(at, left), salt);
  }
  return static_cast<uint32_t>(Mix64(state) >> 32);
}

// `header` is 8 bytes or more; its check reads as zero.
inline uint32_t HeaderCheckOf(std::span<const std::byte> header,
                              PacketKey key) {
  constexpr uint64_t kAllButCheck = 0x00000000ffffffff;
  static_assert(kCheckOffset == 4);
  return MaskedCheckOf(header, key, kAllButCheck);
}

void PutPrologue(PacketKind kind, PeerId peer, Writer& to) {
  to.Put<uint8_t>(kMagic);
  to.Put<uint8_t>(
      static_cast<uint8_t>(kVersion << 4 | static_cast<uint8_t>(kind)));
  to.Put<uint16_t>(peer.value);
  to.Put<uint32_t>(0);  // Until Seal.
}

size_t Seal(std::span<std::byte> header, PacketKey key) {
  Store<uint32_t>(header.data() + kCheckOffset, HeaderCheckOf(header, key));
  return header.size();
}

bool Intact(std::span<const std::byte> header, PacketKey key) {
  return Load<uint32_t>(header.data() + kCheckOffset) ==
         HeaderCheckOf(header, key);
}

uint16_t SpanAndFlags(const PacketHeader& header) {
  uint16_t flags = 0;
  if (header.ack_now) flags |= kAckNow;
  if (header.cargo.resend) flags |= kResend;
  if (header.cargo.from_sender) flags |= kFromSender;
  if (header.padded) flags |= kPadded;
  if (header.payload_checked) flags |= kPayloadChecked;
  if (header.cargo.placed) flags |= kPlaced;
  return header.open_span | (flags & FlagsOf(header.cargo.kind));
}

// False: a flag that this kind does not have.
bool TakeSpanAndFlags(uint16_t bits, PacketHeader& header) {
  if (bits & ~(kSpanMask | FlagsOf(header.cargo.kind))) return false;
  header.open_span = bits & kSpanMask;
  header.ack_now = bits & kAckNow;
  header.padded = bits & kPadded;
  header.payload_checked = bits & kPayloadChecked;
  header.cargo.placed = bits & kPlaced;
  header.cargo.resend = bits & kResend;
  header.cargo.from_sender = bits & kFromSender;
  return true;
}

bool LiesWithinMessage(const PacketHeader& header) {
  return uint64_t{header.cargo.offset} + header.cargo.length <=
         header.message_bytes;
}

}  // namespace

uint32_t CheckOf(std::span<const std::byte> bytes, PacketKey key) {
  return MaskedCheckOf(bytes, key, ~uint64_t{0});
}

size_t EncodePacket(const PacketHeader& header, PacketKey key,
                    std::span<std::byte> out) {
  HAWSER_CHECK(out.size() >= kMaxHeaderBytes);
  HAWSER_CHECK(header.open_span < kAckWindow);
  const Cargo& cargo = header.cargo;
  Writer to(out.first<kMaxHeaderBytes>());
  PutPrologue(static_cast<PacketKind>(cargo.kind), header.peer, to);
  to.Put<uint16_t>(header.path.value);
  to.Put<uint16_t>(SpanAndFlags(header));
  to.Put<uint32_t>(static_cast<uint32_t>(header.number.value));
  switch (cargo.kind) {
    case CargoKind::kData:
      HAWSER_CHECK(LiesWithinMessage(header));
      to.Put<uint32_t>(cargo.flow.value);
      to.Put<uint32_t>(cargo.message.value);
      to.Put<uint32_t>(cargo.offset);
      to.Put<uint32_t>(header.message_bytes);
      // One or the other: a check that holds vouches for the length as well.
      to.Put<uint32_t>(header.payload_checked ? header.payload_check
                                              : cargo.length);
      break;
    case CargoKind::kGrant:
      to.Put<uint32_t>(cargo.flow.value);
      to.Put<uint32_t>(cargo.message.value);
      to.Put<uint32_t>(header.grant.capacity_bytes);
      to.Put<uint32_t>(header.grant.target.key);
      to.Put<uint64_t>(header.grant.target.address);
      break;
    case CargoKind::kClose:
      to.Put<uint32_t>(cargo.flow.value);
      to.Put<uint32_t>(cargo.message.value);
      break;
    case CargoKind::kProbe:
      break;
  }
  return Seal(out.first(to.written()), key);
}

size_t EncodeAcks(const AckPacket& packet, PacketKey key,
                  std::span<std::byte> out, size_t* written) {
  HAWSER_CHECK(packet.count >= 1 && packet.count <= kMaxAcksPerPacket);
  HAWSER_CHECK(out.size() >= kPrologueBytes);
  Writer to(out.first(std::min(out.size(), kMaxAckPacketBytes)));
  PutPrologue(PacketKind::kAck, packet.peer, to);
  *written = 0;
  for (const Ack& ack : std::span(packet.acks).first(packet.count)) {
    HAWSER_CHECK(ack.words >= 1 && ack.words <= kAckWords);
    if (to.room() < kAckBlockBytes + 8 * size_t{ack.words}) break;
    to.Put<uint16_t>(ack.path.value);
    to.Put<uint16_t>(ack.ecn_marked);
    to.Put<uint32_t>(static_cast<uint32_t>(ack.largest.value));
    to.Put<uint32_t>(static_cast<uint32_t>(
        std::clamp<int64_t>(ack.held.nanos(), 0, UINT32_MAX)));
    to.Put<uint32_t>(ack.words);
    for (const uint64_t word : std::span(ack.arrived).first(ack.words)) {
      to.Put<uint64_t>(word);
    }
    ++*written;
  }
  if (*written == 0) return 0;
  return Seal(out.first(to.written()), key);
}

size_t EncodeGoodbye(PeerId peer, PacketKey key, std::span<std::byte> out) {
  HAWSER_CHECK(out.size() >= kPrologueBytes);
  Writer to(out.first<kPrologueBytes>());
  PutPrologue(PacketKind::kGoodbye, peer, to);
  return Seal(out.first<kPrologueBytes>(), key);
}

std::optional<Prologue> DecodePrologue(std::span<const std::byte> in) {
  if (in.size() < kPrologueBytes) return std::nullopt;
  Reader from(in);
  const auto magic = from.Take<uint8_t>();
  const auto version_and_kind = from.Take<uint8_t>();
  const uint8_t kind = version_and_kind & 0x0f;
  if (magic != kMagic || version_and_kind >> 4 != kVersion ||
      kind > static_cast<uint8_t>(PacketKind::kGoodbye)) {
    return std::nullopt;
  }
  return Prologue{static_cast<PacketKind>(kind), PeerId{from.Take<uint16_t>()}};
}

std::optional<DecodedPacket> DecodePacket(std::span<const std::byte> in,
                                          PacketKey key) {
  const std::optional<Prologue> prologue = DecodePrologue(in);
  if (!prologue) return std::nullopt;
  if (!IsNumbered(prologue->kind)) return std::nullopt;
  const size_t header_bytes =
      HeaderBytes(static_cast<CargoKind>(prologue->kind));
  if (in.size() < header_bytes || !Intact(in.first(header_bytes), key)) {
    return std::nullopt;
  }

  std::optional<DecodedPacket> decoded(std::in_place);
  PacketHeader& header = decoded->header;
  Cargo& cargo = header.cargo;
  const std::span<const std::byte> rest = in.subspan(header_bytes);
  Reader from(in.subspan(kPrologueBytes));
  header.peer = prologue->peer;
  cargo.kind = static_cast<CargoKind>(prologue->kind);
  header.path.value = from.Take<uint16_t>();
  if (!TakeSpanAndFlags(from.Take<uint16_t>(), header)) return std::nullopt;
  header.number.value = from.Take<uint32_t>();
  switch (cargo.kind) {
    case CargoKind::kData: {
      // Where the length is not a u32, no message can hold it either.
      if (rest.size() > UINT32_MAX) return std::nullopt;
      cargo.flow.value = from.Take<uint32_t>();
      cargo.message.value = from.Take<uint32_t>();
      cargo.offset = from.Take<uint32_t>();
      cargo.length = static_cast<uint32_t>(rest.size());
      header.message_bytes = from.Take<uint32_t>();
      const auto check_or_length = from.Take<uint32_t>();
      if (cargo.placed) {
        if (!rest.empty() || header.payload_checked || cargo.resend) {
          return std::nullopt;
        }
        cargo.length = check_or_length;
      }
      if (!LiesWithinMessage(header)) return std::nullopt;
      if (header.payload_checked) {
        if (check_or_length != CheckOf(rest, key)) return std::nullopt;
        header.payload_check = check_or_length;
      } else if (check_or_length != cargo.length) {
        return std::nullopt;
      }
      decoded->payload = rest;
      return decoded;
    }
    case CargoKind::kGrant:
      cargo.flow.value = from.Take<uint32_t>();
      cargo.message.value = from.Take<uint32_t>();
      header.grant.capacity_bytes = from.Take<uint32_t>();
      header.grant.target.key = from.Take<uint32_t>();
      header.grant.target.address = from.Take<uint64_t>();
      break;
    case CargoKind::kClose:
      cargo.flow.value = from.Take<uint32_t>();
      cargo.message.value = from.Take<uint32_t>();
      break;
    case CargoKind::kProbe:
      if (header.padded) return decoded;
      break;
  }
  if (!rest.empty()) return std::nullopt;
  return decoded;
}

bool DecodeAcks(std::span<const std::byte> in, PacketKey key, AckPacket* out) {
  const std::optional<Prologue> prologue = DecodePrologue(in);
  if (!prologue || prologue->kind != PacketKind::kAck ||
      in.size() > kMaxAckPacketBytes || !Intact(in, key)) {
    return false;
  }
  out->peer = prologue->peer;
  out->count = 0;
  Reader from(in.subspan(kPrologueBytes));
  while (from.left() > 0) {
    if (out->count == kMaxAcksPerPacket) return false;
    Ack& ack = out->acks[out->count++];
    ack = Ack{};
    ack.path.value = from.Take<uint16_t>();
    ack.ecn_marked = from.Take<uint16_t>();
    ack.largest.value = from.Take<uint32_t>();
    ack.held = Duration::Nanos(from.Take<uint32_t>());
    const auto words = from.Take<uint32_t>();
    if (words == 0 || words > kAckWords) return false;
    ack.words = static_cast<uint8_t>(words);
    for (uint64_t& word : std::span(ack.arrived).first(words)) {
      word = from.Take<uint64_t>();
    }
  }
  return from.whole() && out->count > 0;
}

bool DecodeGoodbye(std::span<const std::byte> in, PacketKey key) {
  const std::optional<Prologue> prologue = DecodePrologue(in);
  return prologue && prologue->kind == PacketKind::kGoodbye &&
         in.size() == kPrologueBytes && Intact(in, key);
}

PacketNumber ExpandNumber(uint32_t low, PacketNumber expected) {
  constexpr uint64_t kWindow = uint64_t{1} << 32;
  constexpr uint64_t kHalf = kWindow / 2;
  const uint64_t near = expected.value;
  const uint64_t candidate = (near & ~(kWindow - 1)) | low;
  // A step that would leave 64 bits is not taken: at either end of the range
  // the nearest number is the one there is.
  if (candidate < near && near - candidate >= kHalf &&
      candidate <= UINT64_MAX - kWindow) {
    return PacketNumber{candidate + kWindow};
  }
  if (candidate > near && candidate - near > kHalf && candidate >= kWindow) {
    return PacketNumber{candidate - kWindow};
  }
  return PacketNumber{candidate};
}

}  // namespace hawser::wire
