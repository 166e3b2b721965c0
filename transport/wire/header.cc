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
// constant but for the payload's check, "strict" is one comparison, and every
// packet has exactly one encoding, which the fuzzer holds us to.
#include "transport/wire/header.h"

#include <algorithm>
#include <array>

#include "transport/base/check.h"
#include "transport/base/random.h"
#include "transport/wire/bytes.h"

namespace hawser::wire {
namespace {

// Sizes in bytes, as the tables in docs/wire.md add up to.
constexpr size_t kCheckOffset = 4;
// But of data, where both are some bits of a word.
constexpr size_t kPathBytes = 2, kNumberBytes = 4;
static_assert(kPrologueBytes + kPathBytes + kNumberBytes == kProbeHeaderBytes);
static_assert(kPrologueBytes + 8 == kDataHeaderBytes);
static_assert(kProbeHeaderBytes + 3 * 4 + 2 * 2 == kGrantHeaderBytes);
static_assert(kProbeHeaderBytes + 2 * 4 == kCloseHeaderBytes);
static_assert(kGrantHeaderBytes + kTargetBytes <= kMaxHeaderBytes);
static_assert(kDataHeaderBytes + kPayloadWordBytes <= kMaxHeaderBytes);
static_assert(kPrologueBytes + kAckBlockBytes + 8 * kAckWords <=
              kMaxAckPacketBytes);

// Byte 1 of a numbered packet: flags below, and above them the open span.
constexpr uint8_t kFlagBits = 4;
constexpr uint8_t kAckNow = 1 << 0;
constexpr uint8_t kLast = 1 << 1;            // Data.
constexpr uint8_t kTargeted = 1 << 1;        // Grant.
constexpr uint8_t kFromSender = 1 << 1;      // Close.
constexpr uint8_t kPadded = 1 << 1;          // Probe.
constexpr uint8_t kPayloadChecked = 1 << 2;  // Data.
constexpr uint8_t kPlaced = 1 << 3;          // Data.
static_assert(kAckWords <= 1 << (8 - kFlagBits));

// The second 8 bytes of data, from the low bits up: path, number, message,
// offset.
constexpr int kPathBits = 10, kNumberBits = 14, kMessageBits = 12;
constexpr int kMessageShift = kPathBits + kNumberBits;
constexpr int kOffsetShift = kMessageShift + kMessageBits;
constexpr uint16_t kPathMask = (1 << kPathBits) - 1;
constexpr uint64_t kNumberMask = (1 << kNumberBits) - 1;
constexpr uint64_t kMessageMask = (1 << kMessageBits) - 1;
static_assert(uint64_t{UINT32_MAX} / kCutBytes < uint64_t{1}
                                                     << (64 - kOffsetShift));
static_assert(kMaxPaths == 1 << kPathBits);
// A path has no more numbers open than an ack can speak of, and several such
// windows in a row may be lost before a number is read as another one. It then
// does not pass its check and is dropped, like all that the path loses; what
// follows is a probe, whose number has 32 bits.
static_assert(4 * kAckWindow <= 1 << (kNumberBits - 1));

// What the check of a header covers and does not travel, at most.
constexpr size_t kMaxUnsaidBytes = 8 + 3 * 4;

bool IsNumbered(PacketKind kind) { return kind < PacketKind::kAck; }

// The flags that mean something for a kind. No others are written, and none
// are accepted: a later version may give them a meaning.
constexpr uint8_t FlagsOf(CargoKind kind) {
  switch (kind) {
    case CargoKind::kData:
      return kAckNow | kLast | kPayloadChecked | kPlaced;
    case CargoKind::kGrant:
      return kAckNow | kTargeted;
    case CargoKind::kClose:
      return kAckNow | kFromSender;
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

// The first 8 bytes of a header without its check.
constexpr uint64_t kAllButCheck = 0x00000000ffffffff;
static_assert(kCheckOffset == 4);

// `header` is 8 bytes or more; its check reads as zero.
inline uint32_t HeaderCheckOf(std::span<const std::byte> header,
                              PacketKey key) {
  return MaskedCheckOf(header, key, kAllButCheck);
}

// `about`: flags of a numbered packet, the plane of a control, else 0. `whom`:
// the receiver's index for the sender, or of data the slot of the flow.
void PutPrologue(PacketKind kind, uint8_t about, uint16_t whom, Writer& to) {
  to.Put<uint8_t>(
      static_cast<uint8_t>(kVersion << 4 | static_cast<uint8_t>(kind)));
  to.Put<uint8_t>(about);
  to.Put<uint16_t>(whom);
  to.Put<uint32_t>(0);  // Until it is sealed.
}

size_t Seal(std::span<std::byte> packet, PacketKey key) {
  Store<uint32_t>(packet.data() + kCheckOffset, HeaderCheckOf(packet, key));
  return packet.size();
}

bool Intact(std::span<const std::byte> packet, PacketKey key) {
  return Load<uint32_t>(packet.data() + kCheckOffset) ==
         HeaderCheckOf(packet, key);
}

// What the check covers of data's flow and message, as one word.
uint64_t FlowAndMessage(const Cargo& cargo) {
  return cargo.flow.value | uint64_t{cargo.message.value} << 32;
}

// NumberedCheckOf for the header that most packets have, whose two words these
// are: the same steps over the same 36 bytes, which are in registers already.
inline uint32_t DataCheckOf(uint64_t first, uint64_t second,
                            const PacketHeader& header, PacketKey key) {
  static_assert(kDataHeaderBytes == kStepBytes);
  constexpr size_t kCovered = kDataHeaderBytes + kStepBytes + 4;
  const uint64_t salt = key ^ kRoot5;
  uint64_t state = Fold(key ^ kRoot2, kCovered ^ kRoot3);
  state = Fold(state ^ (first & kAllButCheck), salt ^ second);
  state =
      Fold(state ^ header.number.value, salt ^ FlowAndMessage(header.cargo));
  state = Fold(state ^ header.cargo.length, salt);
  return static_cast<uint32_t>(Mix64(state) >> 32);
}

// Of a numbered packet: over `bytes`, which are its header, and over what does
// not travel of `header`.
uint32_t NumberedCheckOf(std::span<const std::byte> bytes,
                         const PacketHeader& header, PacketKey key) {
  if (header.cargo.kind == CargoKind::kData &&
      bytes.size() == kDataHeaderBytes) {
    return DataCheckOf(Load<uint64_t>(bytes.data()),
                       Load<uint64_t>(bytes.data() + 8), header, key);
  }
  std::array<std::byte, kMaxHeaderBytes + kMaxUnsaidBytes> covered;
  Writer to(covered);
  to.PutBytes(bytes);
  to.Put<uint64_t>(header.number.value);
  if (header.cargo.kind == CargoKind::kData) {
    // Written in one piece, as it will be read: a load that takes in two stores
    // waits for both.
    to.Put<uint64_t>(FlowAndMessage(header.cargo));
    to.Put<uint32_t>(header.cargo.length);
  }
  return HeaderCheckOf(std::span(covered).first(to.written()), key);
}

uint8_t SpanAndFlags(const PacketHeader& header) {
  const CargoKind kind = header.cargo.kind;
  uint8_t flags = 0;
  if (header.ack_now) flags |= kAckNow;
  if (kind == CargoKind::kData) {
    if (header.last) flags |= kLast;
    if (header.payload_checked) flags |= kPayloadChecked;
    if (header.cargo.placed) flags |= kPlaced;
  }
  if (kind == CargoKind::kGrant && header.grant.target.key != 0) {
    flags |= kTargeted;
  }
  if (kind == CargoKind::kClose && header.cargo.from_sender) {
    flags |= kFromSender;
  }
  if (kind == CargoKind::kProbe && header.padded) flags |= kPadded;
  return static_cast<uint8_t>(header.open_span / 64 << kFlagBits | flags);
}

// False: a flag that this kind does not have.
bool TakeSpanAndFlags(uint8_t bits, PacketHeader& header) {
  const CargoKind kind = header.cargo.kind;
  const uint8_t flags = bits & ((1 << kFlagBits) - 1);
  if (flags & ~FlagsOf(kind)) return false;
  header.open_span = static_cast<uint16_t>((bits >> kFlagBits) * 64 + 63);
  header.ack_now = flags & kAckNow;
  header.last = kind == CargoKind::kData && flags & kLast;
  header.payload_checked = flags & kPayloadChecked;
  header.cargo.placed = flags & kPlaced;
  header.cargo.from_sender = kind == CargoKind::kClose && flags & kFromSender;
  header.padded = kind == CargoKind::kProbe && flags & kPadded;
  return true;
}

// The message nearest to `expected`; ids wrap.
MessageId ExpandMessage(uint64_t low, MessageId expected) {
  constexpr uint32_t kHalf = 1 << (kMessageBits - 1);
  const uint32_t ahead =
      (static_cast<uint32_t>(low) - expected.value + kHalf) & kMessageMask;
  return {expected.value + ahead - kHalf};
}

uint32_t UnitsOf(uint32_t admitted_bytes, uint32_t capacity_bytes) {
  const uint32_t unit = AdmissionUnit(capacity_bytes);
  return admitted_bytes / unit + (admitted_bytes % unit != 0);
}

// Only the last bytes of a message may end off the grid, none at all lie at its
// beginning, and no byte lies where a u32 cannot count it.
bool IsCutWell(const PacketHeader& header) {
  const Cargo& cargo = header.cargo;
  return cargo.offset % kCutBytes == 0 &&
         (header.last || cargo.length % kCutBytes == 0) &&
         (cargo.length != 0 || cargo.offset == 0) &&
         uint64_t{cargo.offset} + cargo.length <= UINT32_MAX;
}

// Reads and judges the header of a packet of `in` and `rest_bytes` more;
// returns its size, 0 if it is not intact.
inline size_t ReadHeader(std::span<const std::byte> in,
                         const Prologue& prologue, PacketKey key,
                         const Expected& expected, size_t rest_bytes,
                         PacketHeader& header) {
  HAWSER_CHECK(IsNumbered(prologue.kind));
  Cargo& cargo = header.cargo;
  cargo.kind = static_cast<CargoKind>(prologue.kind);
  header.peer = prologue.peer;
  header.path = prologue.path;
  Reader from(in.subspan(kPrologueBytes));
  if (!TakeSpanAndFlags(Load<uint8_t>(in.data() + 1), header)) return 0;
  if (cargo.kind == CargoKind::kData) {
    const auto place = from.Take<uint64_t>();
    header.number =
        ExpandNumber(static_cast<uint32_t>(place >> kPathBits & kNumberMask),
                     kNumberBits, expected.number);
    cargo.flow = expected.flow;
    cargo.message = ExpandMessage(place >> kMessageShift, expected.message);
    cargo.offset = static_cast<uint32_t>((place >> kOffsetShift) * kCutBytes);
    if (static_cast<uint16_t>(cargo.flow.value) != prologue.flow_slot) return 0;
    if (header.payload_checked && cargo.placed) return 0;
    if (header.payload_checked) header.payload_check = from.Take<uint32_t>();
    const uint32_t placed_bytes = cargo.placed ? from.Take<uint32_t>() : 0;
    const size_t payload_bytes = from.left() + rest_bytes;
    // Where the length is not a u32, no message can hold it either.
    if (!from.whole() || payload_bytes > (cargo.placed ? 0 : UINT32_MAX)) {
      return 0;
    }
    cargo.length =
        cargo.placed ? placed_bytes : static_cast<uint32_t>(payload_bytes);
  } else {
    from.Take<uint16_t>();  // The path.
    header.number =
        ExpandNumber(from.Take<uint32_t>(), 8 * kNumberBytes, expected.number);
  }
  if (cargo.kind == CargoKind::kGrant || cargo.kind == CargoKind::kClose) {
    cargo.flow.value = from.Take<uint32_t>();
    cargo.message.value = from.Take<uint32_t>();
  }
  if (cargo.kind == CargoKind::kGrant) {
    header.grant.capacity_bytes = from.Take<uint32_t>();
    const auto units = from.Take<uint16_t>();
    const uint32_t capacity = header.grant.capacity_bytes;
    if (units > UnitsOf(capacity, capacity)) return 0;
    if (Load<uint8_t>(in.data() + 1) & kTargeted) {
      header.grant.target.key = from.Take<uint32_t>();
      header.grant.target.address = from.Take<uint64_t>();
      if (!from.whole() || header.grant.target.key == 0) return 0;
    } else {
      cargo.length = from.Take<uint16_t>();
      if (cargo.length > kMaxMoreGranted) return 0;
    }
    header.grant.admitted_bytes = static_cast<uint32_t>(std::min<uint64_t>(
        uint64_t{units} * AdmissionUnit(capacity), capacity));
  }
  const size_t header_bytes = in.size() - from.left();
  if (Load<uint32_t>(in.data() + kCheckOffset) !=
      NumberedCheckOf(in.first(header_bytes), header, key)) {
    return 0;
  }
  if (cargo.kind == CargoKind::kData && !IsCutWell(header)) return 0;
  return header_bytes;
}

// The second word of data.
inline uint64_t PlaceOf(const PacketHeader& header) {
  const Cargo& cargo = header.cargo;
  const uint64_t number = header.number.value & kNumberMask;
  const uint64_t message = cargo.message.value & kMessageMask;
  const uint64_t offset = cargo.offset / kCutBytes;
  return header.path.value | number << kPathBits | message << kMessageShift |
         offset << kOffsetShift;
}

// Data with nothing more in its header, as most packets are: the same as
// EncodePacket writes otherwise, in two words.
inline size_t EncodePlainData(const PacketHeader& header, PacketKey key,
                              std::byte* out) {
  const uint64_t first =
      uint64_t{kVersion} << 4 | static_cast<uint64_t>(PacketKind::kData) |
      uint64_t{SpanAndFlags(header)} << 8 |
      uint64_t{static_cast<uint16_t>(header.cargo.flow.value)} << 16;
  const uint64_t second = PlaceOf(header);
  const uint64_t check = DataCheckOf(first, second, header, key);
  Store<uint64_t>(out, first | check << 8 * kCheckOffset);
  Store<uint64_t>(out + 8, second);
  return kDataHeaderBytes;
}

}  // namespace

uint32_t CheckOf(std::span<const std::byte> bytes, PacketKey key) {
  return MaskedCheckOf(bytes, key, ~uint64_t{0});
}

size_t EncodePacket(const PacketHeader& header, PacketKey key,
                    std::span<std::byte> out) {
  HAWSER_CHECK(out.size() >= kMaxHeaderBytes);
  HAWSER_CHECK(header.open_span < kAckWindow);
  HAWSER_CHECK(header.path.value < kMaxPaths);
  const Cargo& cargo = header.cargo;
  const bool data = cargo.kind == CargoKind::kData;
  HAWSER_CHECK(!data || IsCutWell(header));
  if (data && !header.payload_checked && !cargo.placed) {
    return EncodePlainData(header, key, out.data());
  }
  Writer to(out.first<kMaxHeaderBytes>());
  PutPrologue(
      static_cast<PacketKind>(cargo.kind), SpanAndFlags(header),
      data ? static_cast<uint16_t>(cargo.flow.value) : header.peer.value, to);
  if (data) {
    to.Put<uint64_t>(PlaceOf(header));
    HAWSER_CHECK(!header.payload_checked || !cargo.placed);
    if (header.payload_checked) to.Put<uint32_t>(header.payload_check);
    if (cargo.placed) to.Put<uint32_t>(cargo.length);
  } else {
    to.Put<uint16_t>(header.path.value);
    to.Put<uint32_t>(static_cast<uint32_t>(header.number.value));
  }
  if (cargo.kind == CargoKind::kGrant || cargo.kind == CargoKind::kClose) {
    to.Put<uint32_t>(cargo.flow.value);
    to.Put<uint32_t>(cargo.message.value);
  }
  if (cargo.kind == CargoKind::kGrant) {
    const Grant& grant = header.grant;
    HAWSER_CHECK(grant.admitted_bytes <= grant.capacity_bytes);
    to.Put<uint32_t>(grant.capacity_bytes);
    to.Put<uint16_t>(static_cast<uint16_t>(
        UnitsOf(grant.admitted_bytes, grant.capacity_bytes)));
    if (grant.target.key != 0) {
      HAWSER_CHECK(cargo.length == 0);
      to.Put<uint32_t>(grant.target.key);
      to.Put<uint64_t>(grant.target.address);
    } else {
      HAWSER_CHECK(cargo.length <= kMaxMoreGranted);
      to.Put<uint16_t>(static_cast<uint16_t>(cargo.length));
    }
  }
  const auto bytes = out.first(to.written());
  Store<uint32_t>(bytes.data() + kCheckOffset,
                  NumberedCheckOf(bytes, header, key));
  return bytes.size();
}

size_t EncodeAcks(const AckPacket& packet, PacketKey key,
                  std::span<std::byte> out, size_t* written) {
  HAWSER_CHECK(packet.count >= 1 && packet.count <= kMaxAcksPerPacket);
  HAWSER_CHECK(out.size() >= kPrologueBytes);
  Writer to(out.first(std::min(out.size(), kMaxAckPacketBytes)));
  PutPrologue(PacketKind::kAck, 0, packet.peer.value, to);
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
  PutPrologue(PacketKind::kGoodbye, 0, peer.value, to);
  return Seal(out.first<kPrologueBytes>(), key);
}

size_t EncodeControl(const ControlPacket& packet, PacketKey key,
                     std::span<std::byte> out) {
  HAWSER_CHECK(!packet.content.empty() &&
               packet.content.size() <= kMaxControlBytes);
  Writer to(out.first<kPrologueBytes + kMaxControlBytes>());
  PutPrologue(PacketKind::kControl, packet.plane, packet.peer.value, to);
  to.PutBytes(packet.content);
  return Seal(out.first(to.written()), key);
}

std::optional<Prologue> DecodePrologue(std::span<const std::byte> in) {
  if (in.size() < kPrologueBytes) return std::nullopt;
  Reader from(in);
  const auto version_and_kind = from.Take<uint8_t>();
  const uint8_t kind = version_and_kind & 0x0f;
  if (version_and_kind >> 4 != kVersion ||
      kind > static_cast<uint8_t>(PacketKind::kControl)) {
    return std::nullopt;
  }
  Prologue prologue{.kind = static_cast<PacketKind>(kind)};
  const auto about = from.Take<uint8_t>();
  const auto whom = from.Take<uint16_t>();
  if (!IsNumbered(prologue.kind)) {
    if (about != 0 && prologue.kind != PacketKind::kControl) {
      return std::nullopt;
    }
    prologue.peer = {whom};
    return prologue;
  }
  if (in.size() < HeaderBytes(static_cast<CargoKind>(kind))) {
    return std::nullopt;
  }
  if (prologue.kind == PacketKind::kData) {
    prologue.flow_slot = whom;
  } else {
    prologue.peer = {whom};
  }
  prologue.path = {Load<uint16_t>(in.data() + kPrologueBytes)};
  if (prologue.kind == PacketKind::kData) prologue.path.value &= kPathMask;
  if (prologue.path.value >= kMaxPaths) return std::nullopt;
  return prologue;
}

std::optional<DecodedPacket> DecodePacket(std::span<const std::byte> in,
                                          PacketKey key,
                                          const Expected& expected) {
  const std::optional<Prologue> prologue = DecodePrologue(in);
  if (!prologue || !IsNumbered(prologue->kind)) return std::nullopt;
  return DecodePacket(in, *prologue, key, expected);
}

std::optional<DecodedPacket> DecodePacket(std::span<const std::byte> in,
                                          const Prologue& prologue,
                                          PacketKey key,
                                          const Expected& expected,
                                          std::span<const std::byte> rest) {
  std::optional<DecodedPacket> decoded(std::in_place);
  PacketHeader& header = decoded->header;
  const size_t header_bytes =
      ReadHeader(in, prologue, key, expected, rest.size(), header);
  if (header_bytes == 0) return std::nullopt;
  std::span<const std::byte> payload = in.subspan(header_bytes);
  if (!rest.empty()) {
    if (!payload.empty()) return std::nullopt;
    payload = rest;
  }
  if (header.cargo.kind == CargoKind::kData) {
    if (header.payload_checked &&
        header.payload_check != CheckOf(payload, key)) {
      return std::nullopt;
    }
    decoded->payload = payload;
    decoded->home = header.cargo.placed || !rest.empty();
  } else if (!payload.empty() && !header.padded) {
    return std::nullopt;
  }
  return decoded;
}

std::optional<PacketHeader> DecodeFront(std::span<const std::byte> in,
                                        const Prologue& prologue, PacketKey key,
                                        const Expected& expected,
                                        size_t rest_bytes) {
  PacketHeader header;
  if (ReadHeader(in, prologue, key, expected, rest_bytes, header) == 0 ||
      header.payload_checked) {
    return std::nullopt;
  }
  return header;
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

std::optional<ControlPacket> DecodeControl(std::span<const std::byte> in,
                                           PacketKey key) {
  const std::optional<Prologue> prologue = DecodePrologue(in);
  if (!prologue || prologue->kind != PacketKind::kControl ||
      in.size() <= kPrologueBytes ||
      in.size() > kPrologueBytes + kMaxControlBytes || !Intact(in, key)) {
    return std::nullopt;
  }
  return ControlPacket{prologue->peer, Load<uint8_t>(in.data() + 1),
                       in.subspan(kPrologueBytes)};
}

PacketNumber ExpandNumber(uint32_t low, int bits, PacketNumber expected) {
  const uint64_t window = uint64_t{1} << bits;
  const uint64_t half = window / 2;
  const uint64_t near = expected.value;
  const uint64_t candidate = (near & ~(window - 1)) | low;
  // A step that would leave 64 bits is not taken: at either end of the range
  // the nearest number is the one there is.
  if (candidate < near && near - candidate >= half &&
      candidate <= UINT64_MAX - window) {
    return PacketNumber{candidate + window};
  }
  if (candidate > near && candidate - near > half && candidate >= window) {
    return PacketNumber{candidate - window};
  }
  return PacketNumber{candidate};
}

}  // namespace hawser::wire
