// Why a frame and not a struct: the two ends may be of different versions, and
// the older must still be able to say so. What never changes is therefore kept
// small: 16 bytes of frame header, and a Refusal whose body is nothing but
// text. Everything else may be laid out anew by a version that says so.
//
// Why text is printable ASCII only: it comes from outside and ends up in logs,
// where an escape sequence or a line break could pretend to be something else.
#include "transport/wire/handshake.h"

#include <algorithm>

#include "transport/base/check.h"
#include "transport/wire/bytes.h"
#include "transport/wire/header.h"

namespace hawser::wire {
namespace {

// Ranges as handshake.h gives them.
constexpr size_t kMaxDatapathChars = 16;
constexpr size_t kMaxHostChars = 64;
constexpr size_t kMaxAddressBytes = sizeof(PlaneAddress::bytes);

// The part of an Introduction before its texts and planes, and the part of a
// plane before its address, in bytes.
constexpr size_t kFixedBytes = 3 * 8 + 4 + 3 * 2 + 3 * 1 + 3;
constexpr size_t kPlaneFixedBytes = 4 + 1;
static_assert(kFixedBytes == 40);
static_assert(kFrameHeaderBytes + kFixedBytes + kMaxDatapathChars +
                  kMaxHostChars +
                  kMaxPlanes * (kPlaneFixedBytes + kMaxAddressBytes) <=
              kMaxFrameBytes);
static_assert(kFrameHeaderBytes + kMaxReasonBytes <= kMaxFrameBytes);

bool IsPrintable(std::byte b) {
  return b >= std::byte{0x20} && b <= std::byte{0x7e};
}

// The body is checked under what the frame header says of it, so that a Hello
// cannot turn into a Welcome. No secret: both ends are still strangers.
uint32_t BodyCheck(uint16_t version, FrameKind kind,
                   std::span<const std::byte> body) {
  return CheckOf(body, kHandshakeMagic | static_cast<uint64_t>(version) << 32 |
                           static_cast<uint64_t>(kind) << 48);
}

bool Intact(const FrameHeader& header, std::span<const std::byte> body) {
  return header.body_bytes == body.size() &&
         header.body_check == BodyCheck(header.version, header.kind, body);
}

// What is not printable is replaced, since the far end would not take it.
void PutText(std::string_view text, Writer& to) {
  for (const char c : text) {
    const auto b = static_cast<std::byte>(c);
    to.Put<uint8_t>(static_cast<uint8_t>(IsPrintable(b) ? c : '?'));
  }
}

std::optional<std::string> TextOf(std::span<const std::byte> bytes) {
  if (!std::ranges::all_of(bytes, IsPrintable)) return std::nullopt;
  std::string text(bytes.size(), '\0');
  std::ranges::transform(bytes, text.begin(),
                         [](std::byte b) { return static_cast<char>(b); });
  return text;
}

// `body` was written behind room for the frame header at the start of `frame`.
std::vector<std::byte> Finish(FrameKind kind, size_t body_bytes,
                              std::vector<std::byte> frame) {
  frame.resize(kFrameHeaderBytes + body_bytes);
  const std::span<std::byte> all(frame);
  Writer to(all.first(kFrameHeaderBytes));
  to.Put<uint32_t>(kHandshakeMagic);
  to.Put<uint16_t>(kHandshakeVersion);
  to.Put<uint16_t>(static_cast<uint16_t>(kind));
  to.Put<uint32_t>(static_cast<uint32_t>(body_bytes));
  to.Put<uint32_t>(
      BodyCheck(kHandshakeVersion, kind, all.subspan(kFrameHeaderBytes)));
  return frame;
}

void PutPlane(const PlaneAddress& plane, Writer& to) {
  HAWSER_CHECK(plane.length <= kMaxAddressBytes);
  HAWSER_CHECK(plane.max_packet_bytes >= PlaneAddress::kLeastPacketBytes &&
               plane.max_packet_bytes <= PlaneAddress::kMostPacketBytes);
  to.Put<uint32_t>(plane.max_packet_bytes);
  to.Put<uint8_t>(plane.length);
  to.PutBytes(std::span(plane.bytes).first(plane.length));
}

std::optional<PlaneAddress> TakePlane(Reader& from) {
  PlaneAddress plane;
  plane.max_packet_bytes = from.Take<uint32_t>();
  plane.length = from.Take<uint8_t>();
  if (plane.max_packet_bytes < PlaneAddress::kLeastPacketBytes ||
      plane.max_packet_bytes > PlaneAddress::kMostPacketBytes ||
      plane.length > kMaxAddressBytes) {
    return std::nullopt;
  }
  std::ranges::copy(from.TakeBytes(plane.length), plane.bytes.begin());
  return plane;
}

}  // namespace

std::vector<std::byte> EncodeIntroduction(FrameKind kind,
                                          const Introduction& introduction) {
  const Introduction& in = introduction;
  const std::string_view host =
      std::string_view(in.host).substr(0, kMaxHostChars);
  HAWSER_CHECK(kind == FrameKind::kHello || kind == FrameKind::kWelcome);
  HAWSER_CHECK(in.datapath.size() >= 1 &&
               in.datapath.size() <= kMaxDatapathChars);
  HAWSER_CHECK(in.planes.size() >= 1 && in.planes.size() <= kMaxPlanes);
  HAWSER_CHECK(in.paths >= 1 && in.paths <= kMaxPaths);

  std::vector<std::byte> frame(kMaxFrameBytes);
  Writer to(std::span<std::byte>(frame).subspan(kFrameHeaderBytes));
  to.Put<uint64_t>(in.listener_nonce);
  to.Put<uint64_t>(in.identity.id);
  to.Put<uint64_t>(in.identity.secret);
  to.Put<uint32_t>(in.flow.value);
  to.Put<uint16_t>(in.engine);
  to.Put<uint16_t>(in.peer.value);
  to.Put<uint16_t>(in.paths);
  to.Put<uint8_t>(static_cast<uint8_t>(in.datapath.size()));
  to.Put<uint8_t>(static_cast<uint8_t>(host.size()));
  to.Put<uint8_t>(static_cast<uint8_t>(in.planes.size()));
  for (int i = 0; i < 3; ++i) to.Put<uint8_t>(0);  // Reserved.
  PutText(in.datapath, to);
  PutText(host, to);
  for (const PlaneAddress& plane : in.planes) PutPlane(plane, to);
  return Finish(kind, to.written(), std::move(frame));
}

std::vector<std::byte> EncodeRefusal(std::string_view reason) {
  std::vector<std::byte> frame(kMaxFrameBytes);
  Writer to(std::span<std::byte>(frame).subspan(kFrameHeaderBytes));
  PutText(reason.substr(0, kMaxReasonBytes), to);
  return Finish(FrameKind::kRefusal, to.written(), std::move(frame));
}

std::optional<FrameHeader> DecodeFrameHeader(std::span<const std::byte> in) {
  Reader from(in);
  const auto magic = from.Take<uint32_t>();
  FrameHeader header;
  header.version = from.Take<uint16_t>();
  const auto kind = from.Take<uint16_t>();
  header.kind = static_cast<FrameKind>(kind);
  header.body_bytes = from.Take<uint32_t>();
  header.body_check = from.Take<uint32_t>();
  if (!from.whole() || magic != kHandshakeMagic ||
      kind < static_cast<uint16_t>(FrameKind::kHello) ||
      kind > static_cast<uint16_t>(FrameKind::kRefusal) ||
      header.body_bytes > kMaxFrameBytes - kFrameHeaderBytes) {
    return std::nullopt;
  }
  return header;
}

std::optional<Introduction> DecodeIntroduction(
    const FrameHeader& header, std::span<const std::byte> body) {
  if (header.version != kHandshakeVersion ||
      (header.kind != FrameKind::kHello &&
       header.kind != FrameKind::kWelcome) ||
      !Intact(header, body)) {
    return std::nullopt;
  }
  Introduction out;
  Reader from(body);
  out.listener_nonce = from.Take<uint64_t>();
  out.identity.id = from.Take<uint64_t>();
  out.identity.secret = from.Take<uint64_t>();
  out.flow.value = from.Take<uint32_t>();
  out.engine = from.Take<uint16_t>();
  out.peer.value = from.Take<uint16_t>();
  out.paths = from.Take<uint16_t>();
  const auto datapath_chars = from.Take<uint8_t>();
  const auto host_chars = from.Take<uint8_t>();
  const auto planes = from.Take<uint8_t>();
  uint8_t reserved = 0;
  for (int i = 0; i < 3; ++i) reserved |= from.Take<uint8_t>();
  if (out.paths < 1 || out.paths > kMaxPaths || datapath_chars < 1 ||
      datapath_chars > kMaxDatapathChars || host_chars > kMaxHostChars ||
      planes < 1 || planes > kMaxPlanes || reserved != 0) {
    return std::nullopt;
  }
  std::optional<std::string> datapath = TextOf(from.TakeBytes(datapath_chars));
  std::optional<std::string> host = TextOf(from.TakeBytes(host_chars));
  if (!datapath || !host) return std::nullopt;
  out.datapath = *std::move(datapath);
  out.host = *std::move(host);
  out.planes.reserve(planes);
  for (int i = 0; i < planes; ++i) {
    const std::optional<PlaneAddress> plane = TakePlane(from);
    if (!plane) return std::nullopt;
    out.planes.push_back(*plane);
  }
  if (!from.whole() || from.left() > 0) return std::nullopt;
  return out;
}

std::optional<std::string> DecodeRefusal(const FrameHeader& header,
                                         std::span<const std::byte> body) {
  if (header.kind != FrameKind::kRefusal || body.size() > kMaxReasonBytes ||
      !Intact(header, body)) {
    return std::nullopt;
  }
  return TextOf(body);
}

}  // namespace hawser::wire
