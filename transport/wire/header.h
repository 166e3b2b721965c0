// What travels between two engines: one packet, byte by byte.
// Knows: byte layouts.  Never: who sends, why, when.
//
// docs/wire.md draws these layouts. All integers are little-endian. Every
// packet begins with a prologue of 8 bytes, whose check covers the header under
// a key that only the two engines share: what is foreign, corrupted, or left
// over from an earlier life of either side does not pass. The key guards
// against accidents and strangers who cannot see the traffic; it is not
// cryptography.
//
// Of what both sides know, only so many bits travel as tell the cases apart
// that there can be; the check covers all of it, so a packet that is read
// against the wrong knowledge does not pass
// (docs/decisions/0019-what-both-sides-know-does-not-travel.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "transport/base/ids.h"
#include "transport/base/memory.h"
#include "transport/base/time.h"

namespace hawser::wire {

// 0..15; the high half of the first byte. A bundle (wire/bundle.h) has 11
// there, and packets of version 1 had 10.
inline constexpr uint8_t kVersion = 5;

// Where a message may be cut: offsets travel in this unit, in bytes.
inline constexpr uint32_t kCutBytes = 16;

// What must arrive.
enum class CargoKind : uint8_t {
  kData = 0,   // Bytes of a message.
  kGrant = 1,  // Receives are posted: those messages may be sent.
  kClose = 2,  // One half of a flow is gone.
  kProbe = 3,  // Nothing; asks for an ack. Never resent.
};

// A path moves it and never opens it; a flow makes it and never asks which path
// took it. Names things, points at nothing.
struct Cargo {
  CargoKind kind = CargoKind::kData;
  bool resend = false;  // Sent before, under another number. Does not travel.
  // kClose: true if it was the sending half that closed. Else false.
  bool from_sender = false;
  // kData: the far NIC puts the first copy where it belongs; see
  // docs/decisions/0017. Of a resend: that was so, and binds it to its path.
  bool placed = false;
  FlowId flow;  // Our own id; Encode is given the far end's.
  // kClose by the receiving half: all messages before this one were received.
  // kGrant: the first that it grants.
  MessageId message;
  uint32_t offset = 0;  // Where in the message; a multiple of kCutBytes.
  uint32_t length = 0;  // kGrant: so many more messages are granted alike.
  friend bool operator==(const Cargo&, const Cargo&) = default;
};
static_assert(sizeof(Cargo) == 20);

// The content of a kGrant, described from the current state when it leaves. It
// may be sent again, to admit more. It holds for each of its messages; one that
// has a target is granted alone.
struct Grant {
  uint32_t capacity_bytes = 0;  // Of the posted receive.
  // So much of the message may leave, from its beginning on; no more than the
  // capacity. Travels in units (AdmissionUnit), and so comes out rounded up.
  uint32_t admitted_bytes = 0;
  RemoteSlice target;  // key == 0: the host places the bytes. Else
                       // the number of the memory's registration.
};

// One attempt at one cargo. Numbers are never reused.
struct PacketHeader {
  // The receiver's index for the sender: O(1), no lookup. Of a kData, the flow
  // says as much, and this does not travel.
  PeerId peer;
  PathId path;  // Below kMaxPaths.
  PacketNumber number;
  // The oldest number whose fate the sender still wants to hear is
  // `number - open_span`. Range 0..kAckWindow - 1; travels as a number of
  // words of an ack, and so comes out as the greatest that has as many.
  uint16_t open_span = 0;
  bool ack_now = false;  // Nothing follows soon: do not wait for more.
  // kProbe: padding follows, up to the size that is being tried; the receiver
  // ignores it.
  bool padded = false;
  // kData: `payload_check` holds CheckOf(payload).
  bool payload_checked = false;
  uint32_t payload_check = 0;
  // kData: the message ends with these bytes. If there are none and it does
  // not, it is larger than its grant and stays where it is.
  bool last = false;
  Cargo cargo;  // `flow` is the receiver's id for the flow.
  Grant grant;  // kGrant.
};

// The window of numbers an ack can speak of, and so the most packets of one
// path whose fate may be open at once.
inline constexpr uint32_t kAckWindow = 1024;
inline constexpr uint32_t kAckWords = kAckWindow / 64;

// What has arrived on one path: the newest number, and which of those before.
struct Ack {
  PathId path;
  PacketNumber largest;              // Low 32 bits travel.
  Duration held;                     // Since `largest` arrived. 0..2^32-1 ns.
  uint16_t ecn_marked = 0;           // Packets that came with CE; free-running.
  uint8_t words = 1;                 // 1..kAckWords of `arrived` are in use.
  uint64_t arrived[kAckWords] = {};  // Bit i: number largest - i has arrived.
};

// All acks due to one peer leave in one packet, over any path: an ack says
// which path it speaks of (docs/decisions/0003-acks-are-not-cargo.md).
inline constexpr size_t kMaxAcksPerPacket = 16;
struct AckPacket {
  PeerId peer;
  uint8_t count = 0;  // 1..kMaxAcksPerPacket
  Ack acks[kMaxAcksPerPacket];
};

// What a plane says to the plane that it faces. Its meaning is theirs.
inline constexpr size_t kMaxControlBytes = 64;
struct ControlPacket {
  PeerId peer;
  uint8_t plane = 0;                   // The receiver's.
  std::span<const std::byte> content;  // 1..kMaxControlBytes
};

// The first look at a packet: enough to find the key it was checked with.
enum class PacketKind : uint8_t {
  kData = 0,
  kGrant = 1,
  kClose = 2,
  kProbe = 3,  // As CargoKind.
  kAck = 4,
  kGoodbye = 5,  // The sender's endpoint ends. Unnumbered, not acked.
  kControl = 6,  // From plane to plane, over another one. Likewise.
};
struct Prologue {
  PacketKind kind;
  PeerId peer = kNoPeer;   // All but kData.
  uint16_t flow_slot = 0;  // kData: the low 16 bits of cargo.flow.
  PathId path = kNoPath;   // Numbered kinds.
};
// ... and to find what its sender takes for granted.
struct Expected {
  PacketNumber number;  // The next on that path.
  FlowId flow;          // kData: whole, of the flow in that slot...
  MessageId message;    // ...and its oldest open one.
};

// Sizes in bytes. No header is longer than kMaxHeaderBytes; a kAck packet is
// all header and no longer than kMaxAckPacketBytes.
inline constexpr size_t kPrologueBytes = 8;
inline constexpr size_t kMaxHeaderBytes = 40;
inline constexpr size_t kDataHeaderBytes = 16;
// More, if payload_checked or placed.
inline constexpr size_t kPayloadWordBytes = 4;
inline constexpr size_t kGrantHeaderBytes = 30;
inline constexpr size_t kTargetBytes = 10;  // More, if it has a target.
inline constexpr size_t kCloseHeaderBytes = 22;
inline constexpr size_t kProbeHeaderBytes = 14;  // What follows is padding.
inline constexpr size_t kAckBlockBytes = 16;     // And 8 for each word.
inline constexpr size_t kMaxAckPacketBytes = 1200;
constexpr size_t HeaderBytes(CargoKind kind) {
  switch (kind) {
    case CargoKind::kData:
      return kDataHeaderBytes;
    case CargoKind::kGrant:
      return kGrantHeaderBytes;
    case CargoKind::kClose:
      return kCloseHeaderBytes;
    case CargoKind::kProbe:
      break;
  }
  return kProbeHeaderBytes;
}

// The most messages of one kGrant after its first.
inline constexpr uint32_t kMaxMoreGranted = 63;

// In what admitted_bytes travels: the least of kCutBytes, and its doubles, of
// which 65535 make up the capacity.
constexpr uint32_t AdmissionUnit(uint32_t capacity_bytes) {
  uint32_t unit = kCutBytes;
  while (capacity_bytes > uint64_t{unit} * UINT16_MAX) unit *= 2;
  return unit;
}

// Derived by both sides from what each told the other in the handshake.
using PacketKey = uint64_t;

// A 32-bit check over `bytes`, their order and their number, keyed. Any other
// input, however much or little it differs, has the same check for about one
// key in 2^32. There is no kind of corruption that is certain to be seen, as a
// CRC has; and it is not cryptographic.
uint32_t CheckOf(std::span<const std::byte> bytes, PacketKey key);

// Writes a header into `out`, which has room for kMaxHeaderBytes; returns its
// size. `flow` in header.cargo is what the receiver calls the flow. Fields and
// flags that cargo.kind has no use for do not travel.
size_t EncodePacket(const PacketHeader& header, PacketKey key,
                    std::span<std::byte> out);
// Writes as many of packet.acks as fit into `out` (and kMaxAckPacketBytes);
// returns the size, and how many were written in `*written`. Returns 0 if not
// even the first fits.
size_t EncodeAcks(const AckPacket& packet, PacketKey key,
                  std::span<std::byte> out, size_t* written);
// Writes a kGoodbye; returns its size.
size_t EncodeGoodbye(PeerId peer, PacketKey key, std::span<std::byte> out);
// Writes a kControl into `out`, which has room for kPrologueBytes and
// kMaxControlBytes; returns its size.
size_t EncodeControl(const ControlPacket& packet, PacketKey key,
                     std::span<std::byte> out);

// Any bytes may be given to the functions below; nullopt means "not ours, not
// whole, or not intact", and is a counted drop.
std::optional<Prologue> DecodePrologue(std::span<const std::byte> in);
struct DecodedPacket {
  PacketHeader header;
  // What follows the header; kData only. Empty if the cargo is placed: the
  // bytes are home already, if whoever received the packet says so as well.
  std::span<const std::byte> payload;
  bool home = false;  // It was not in the packet that was given to be decoded.
};
// Checks the header (and, if it carries a check, the payload) under `key`,
// read against what is `expected`; cargo.length is payload.size(), or what the
// header says where the cargo is placed. A packet
// with a number or a message that is too far from the expected ones is not
// intact.
std::optional<DecodedPacket> DecodePacket(std::span<const std::byte> in,
                                          PacketKey key,
                                          const Expected& expected);
// The same, where the prologue, of a numbered kind, has been read already, and
// where all of the payload may lie elsewhere: in `rest`.
std::optional<DecodedPacket> DecodePacket(std::span<const std::byte> in,
                                          const Prologue& prologue,
                                          PacketKey key,
                                          const Expected& expected,
                                          std::span<const std::byte> rest = {});
// The header of a packet of which `rest_bytes` are still to come, judged as
// far as can be without them: nullopt also where its payload has a check.
std::optional<PacketHeader> DecodeFront(std::span<const std::byte> in,
                                        const Prologue& prologue, PacketKey key,
                                        const Expected& expected,
                                        size_t rest_bytes);
// False: malformed. `out->acks[i].largest` holds the low 32 bits only.
bool DecodeAcks(std::span<const std::byte> in, PacketKey key, AckPacket* out);
bool DecodeGoodbye(std::span<const std::byte> in, PacketKey key);
// The content is a part of `in`.
std::optional<ControlPacket> DecodeControl(std::span<const std::byte> in,
                                           PacketKey key);

// The number nearest to `expected` whose low `bits` bits are `low`; `bits` is
// 1..32. (RFC 9000, appendix A.3.)
PacketNumber ExpandNumber(uint32_t low, int bits, PacketNumber expected);

}  // namespace hawser::wire
