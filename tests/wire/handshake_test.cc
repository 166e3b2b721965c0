#include "transport/wire/handshake.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/wire/samples.h"
#include "transport/base/random.h"
#include "transport/wire/header.h"

namespace hawser::wire {
namespace {

using Bytes = std::vector<std::byte>;

std::span<const std::byte> Body(const Bytes& frame) {
  return std::span(frame).subspan(kFrameHeaderBytes);
}

void Flip(Bytes& bytes, size_t bit) {
  bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
}

template <class Int>
void Poke(Bytes& bytes, size_t offset, std::type_identity_t<Int> value) {
  ASSERT_LE(offset + sizeof(Int), bytes.size());
  std::memcpy(bytes.data() + offset, &value, sizeof(Int));
}

// Makes length and check true again after the body or the kind was changed.
Bytes Resealed(Bytes frame) {
  uint16_t version, kind;
  std::memcpy(&version, frame.data() + 4, 2);
  std::memcpy(&kind, frame.data() + 6, 2);
  const uint64_t key = kHandshakeMagic | static_cast<uint64_t>(version) << 32 |
                       static_cast<uint64_t>(kind) << 48;
  Poke<uint32_t>(frame, 8, static_cast<uint32_t>(Body(frame).size()));
  Poke<uint32_t>(frame, 12, CheckOf(Body(frame), key));
  return frame;
}

std::optional<Introduction> Introduced(const Bytes& frame) {
  const auto header = DecodeFrameHeader(frame);
  if (!header) return std::nullopt;
  return DecodeIntroduction(*header, Body(frame));
}

std::optional<std::string> Refused(const Bytes& frame) {
  const auto header = DecodeFrameHeader(frame);
  if (!header) return std::nullopt;
  return DecodeRefusal(*header, Body(frame));
}

Introduction Golden() {
  Introduction golden;
  golden.listener_nonce = 0x1111222233334444;
  golden.identity = {.id = 0x5555666677778888, .secret = 0x9999aaaabbbbcccc};
  golden.datapath = "udp";
  golden.engine = 1;
  golden.peer.value = 0x1234;
  golden.flow.value = 0x00020003;
  golden.paths = 32;
  golden.planes.resize(2);
  golden.planes[0].length = 6;
  constexpr uint8_t kAddress[] = {10, 0, 0, 1, 0x12, 0x34};
  std::memcpy(golden.planes[0].bytes.data(), kAddress, sizeof(kAddress));
  golden.planes[0].max_packet_bytes = 1500;
  golden.planes[1].max_packet_bytes = 65507;
  golden.host = "alpha:42";
  return golden;
}

// Offsets of fields in a frame; docs/wire.md.
constexpr size_t kPathsAt = 16 + 32;
constexpr size_t kDatapathCharsAt = 16 + 34;
constexpr size_t kHostCharsAt = 16 + 35;
constexpr size_t kPlanesAt = 16 + 36;
constexpr size_t kReservedAt = 16 + 37;
constexpr size_t kTextAt = 16 + 40;
constexpr size_t kFirstPlaneAt = kTextAt + 3 + 8;  // Of Golden().

TEST(Handshake, EncodeIntroduction__golden) {
  EXPECT_EQ(Hex(EncodeIntroduction(FrameKind::kHello, Golden())),
            "48415753050001004300000085c92981"
            "444433332222111188887777666655"
            "55ccccbbbbaaaa9999030002000100341220000308020000007564"
            "70616c7068613a3432dc050000060a0000011234e3ff000000");
  const std::string welcome =
      Hex(EncodeIntroduction(FrameKind::kWelcome, Golden()));
  EXPECT_EQ(welcome.substr(0, 32), "484157530500020043000000af517efd");
}

TEST(Handshake, EncodeIntroduction__the_longest_fits) {
  Introduction longest = Golden();
  longest.datapath = std::string(16, 'd');
  longest.host = std::string(64, 'h');
  longest.planes.resize(kMaxPlanes);
  for (PlaneAddress& plane : longest.planes) {
    plane.length = 32;
    plane.bytes.fill(std::byte{0xff});
    plane.max_packet_bytes = 65536;
  }
  longest.paths = kMaxPaths;
  const Bytes frame = EncodeIntroduction(FrameKind::kHello, longest);
  EXPECT_LE(frame.size(), kMaxFrameBytes);
  EXPECT_EQ(Introduced(frame), longest);
}

TEST(Handshake, EncodeIntroduction__text_is_cut_and_made_printable) {
  Introduction untidy = Golden();
  untidy.host = "a\nb\x1b[1m\xc3\xa9" + std::string(100, 'x');
  const auto tidy = Introduced(EncodeIntroduction(FrameKind::kHello, untidy));
  ASSERT_TRUE(tidy);
  EXPECT_EQ(tidy->host.size(), 64u);
  EXPECT_EQ(tidy->host.substr(0, 10), "a?b?[1m??x");
}

TEST(HandshakeDeathTest, EncodeIntroduction__broken_promises) {
  const auto encode = [](const Introduction& introduction) {
    EncodeIntroduction(FrameKind::kHello, introduction);
  };
  Introduction bad = Golden();
  EXPECT_DEATH(EncodeIntroduction(FrameKind::kRefusal, bad), "kind");
  bad.datapath.clear();
  EXPECT_DEATH(encode(bad), "datapath");
  bad.datapath = std::string(17, 'd');
  EXPECT_DEATH(encode(bad), "datapath");
  bad = Golden();
  bad.planes.clear();
  EXPECT_DEATH(encode(bad), "planes");
  bad.planes.resize(kMaxPlanes + 1);
  EXPECT_DEATH(encode(bad), "planes");
  bad = Golden();
  bad.paths = 0;
  EXPECT_DEATH(encode(bad), "paths");
  bad.paths = kMaxPaths + 1;
  EXPECT_DEATH(encode(bad), "paths");
  bad = Golden();
  bad.planes[1].length = 33;
  EXPECT_DEATH(encode(bad), "length");
  bad = Golden();
  bad.planes[1].max_packet_bytes = 255;
  EXPECT_DEATH(encode(bad), "max_packet_bytes");
}

TEST(Handshake, EncodeRefusal__golden) {
  EXPECT_EQ(Hex(EncodeRefusal("no such flow")),
            "48415753050003000c000000e17775d2"
            "6e6f207375636820666c6f77");
}

TEST(Handshake, EncodeRefusal__is_cut_and_made_printable) {
  EXPECT_EQ(Refused(EncodeRefusal("")), "");
  EXPECT_EQ(Refused(EncodeRefusal("a\tb\r\n")), "a?b??");
  EXPECT_EQ(Refused(EncodeRefusal(std::string(kMaxReasonBytes, 'r'))),
            std::string(kMaxReasonBytes, 'r'));
  EXPECT_EQ(Refused(EncodeRefusal(std::string(5'000, 'r'))),
            std::string(kMaxReasonBytes, 'r'));
}

TEST(Handshake, DecodeFrameHeader__what_was_encoded) {
  const Bytes frame = EncodeIntroduction(FrameKind::kWelcome, Golden());
  // From exactly these bytes, and from all that a stream has so far.
  for (const size_t length : {kFrameHeaderBytes, frame.size()}) {
    const auto header = DecodeFrameHeader(std::span(frame).first(length));
    ASSERT_TRUE(header);
    EXPECT_EQ(header->version, kHandshakeVersion);
    EXPECT_EQ(header->kind, FrameKind::kWelcome);
    EXPECT_EQ(header->body_bytes, frame.size() - kFrameHeaderBytes);
  }
  for (size_t length = 0; length < kFrameHeaderBytes; ++length) {
    EXPECT_FALSE(
        DecodeFrameHeader(Bytes(frame.begin(), frame.begin() + length)));
  }
}

TEST(Handshake, DecodeFrameHeader__out_of_range_is_refused) {
  const Bytes frame = EncodeRefusal("r");
  for (size_t bit = 0; bit < 32; ++bit) {
    Bytes foreign = frame;
    Flip(foreign, bit);
    EXPECT_FALSE(DecodeFrameHeader(foreign));
  }
  for (uint32_t kind = 0; kind < 0x10000; ++kind) {
    Bytes changed = frame;
    Poke<uint16_t>(changed, 6, static_cast<uint16_t>(kind));
    EXPECT_EQ(DecodeFrameHeader(changed).has_value(), kind >= 1 && kind <= 3);
  }
  for (const uint32_t bytes : {0u, 2032u, 2033u, UINT32_MAX}) {
    Bytes changed = frame;
    Poke<uint32_t>(changed, 8, bytes);
    EXPECT_EQ(DecodeFrameHeader(changed).has_value(),
              bytes <= kMaxFrameBytes - kFrameHeaderBytes);
  }
}

TEST(Handshake, DecodeFrameHeader__a_newer_version_is_reported) {
  Bytes frame = EncodeIntroduction(FrameKind::kHello, Golden());
  Poke<uint16_t>(frame, 4, 6);
  frame = Resealed(frame);
  const auto header = DecodeFrameHeader(frame);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->version, 6);
  EXPECT_EQ(header->kind, FrameKind::kHello);
  // Whole, but laid out in a way that only version 6 knows.
  EXPECT_FALSE(DecodeIntroduction(*header, Body(frame)));
}

TEST(Handshake, DecodeIntroduction__round_trip) {
  Random random(1);
  for (int i = 0; i < 5'000; ++i) {
    const Introduction introduction = RandomIntroduction(random);
    for (const FrameKind kind : {FrameKind::kHello, FrameKind::kWelcome}) {
      const Bytes frame = EncodeIntroduction(kind, introduction);
      ASSERT_EQ(DecodeFrameHeader(frame)->kind, kind);
      ASSERT_EQ(Introduced(frame), introduction);
    }
  }
}

TEST(Handshake, DecodeIntroduction__every_flip_is_refused) {
  Random random(2);
  for (int i = 0; i < 20; ++i) {
    Bytes frame =
        EncodeIntroduction(FrameKind::kHello, RandomIntroduction(random));
    for (size_t bit = 0; bit < 8 * frame.size(); ++bit) {
      Flip(frame, bit);
      ASSERT_FALSE(Introduced(frame)) << "bit " << bit;
      ASSERT_FALSE(Refused(frame)) << "bit " << bit;
      Flip(frame, bit);
    }
    ASSERT_TRUE(Introduced(frame));
  }
}

TEST(Handshake, DecodeIntroduction__every_truncation_is_refused) {
  const Bytes frame = EncodeIntroduction(FrameKind::kHello, Golden());
  const auto header = DecodeFrameHeader(frame);
  for (size_t length = 0; length < Body(frame).size(); ++length) {
    const Bytes body(Body(frame).begin(), Body(frame).begin() + length);
    EXPECT_FALSE(DecodeIntroduction(*header, body)) << length;
  }
  // Nor with a length and a check that agree with what is left.
  for (size_t length = kFrameHeaderBytes; length < frame.size(); ++length) {
    const Bytes cut(frame.begin(), frame.begin() + length);
    EXPECT_FALSE(Introduced(Resealed(cut))) << length;
  }
}

TEST(Handshake, DecodeIntroduction__trailing_bytes_are_refused) {
  Bytes frame = EncodeIntroduction(FrameKind::kHello, Golden());
  frame.push_back({});
  EXPECT_FALSE(Introduced(frame));
  EXPECT_FALSE(Introduced(Resealed(frame)));
}

TEST(Handshake, DecodeIntroduction__out_of_range_is_refused) {
  const Bytes frame = EncodeIntroduction(FrameKind::kHello, Golden());
  ASSERT_TRUE(Introduced(Resealed(frame)));
  const auto with8 = [&](size_t offset, uint8_t value) {
    Bytes changed = frame;
    Poke<uint8_t>(changed, offset, value);
    return Introduced(Resealed(changed)).has_value();
  };
  const auto with16 = [&](size_t offset, uint16_t value) {
    Bytes changed = frame;
    Poke<uint16_t>(changed, offset, value);
    return Introduced(Resealed(changed)).has_value();
  };
  const auto with32 = [&](size_t offset, uint32_t value) {
    Bytes changed = frame;
    Poke<uint32_t>(changed, offset, value);
    return Introduced(Resealed(changed)).has_value();
  };
  EXPECT_FALSE(with16(kPathsAt, 0));
  EXPECT_TRUE(with16(kPathsAt, 1024));
  EXPECT_FALSE(with16(kPathsAt, 1025));
  for (int value = 0; value < 256; ++value) {
    const auto byte = static_cast<uint8_t>(value);
    EXPECT_EQ(with8(kDatapathCharsAt, byte), value == 3) << value;
    EXPECT_EQ(with8(kHostCharsAt, byte), value == 8) << value;
    EXPECT_EQ(with8(kPlanesAt, byte), value == 2) << value;
    EXPECT_EQ(with8(kTextAt, byte), value >= 0x20 && value <= 0x7e) << value;
    EXPECT_EQ(with8(kTextAt + 3, byte), value >= 0x20 && value <= 0x7e);
    EXPECT_EQ(with8(kFirstPlaneAt + 4, byte), value == 6) << value;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(with8(kReservedAt + i, byte), value == 0);
    }
  }
  EXPECT_FALSE(with32(kFirstPlaneAt, 255));
  EXPECT_TRUE(with32(kFirstPlaneAt, 256));
  EXPECT_TRUE(with32(kFirstPlaneAt, 65536));
  EXPECT_FALSE(with32(kFirstPlaneAt, 65537));
}

TEST(Handshake, DecodeIntroduction__counts_beyond_the_limits_are_refused) {
  // With all the bytes there that such a count would ask for.
  const auto with_texts = [](uint8_t datapath, uint8_t host, uint8_t planes) {
    Bytes frame = EncodeIntroduction(FrameKind::kHello, Golden());
    frame.resize(kTextAt);
    frame.resize(frame.size() + datapath + host, std::byte{'x'});
    for (int i = 0; i < planes; ++i) {
      for (const uint8_t b : {0xdc, 0x05, 0, 0, 0}) {
        frame.push_back(static_cast<std::byte>(b));
      }
    }
    Poke<uint8_t>(frame, kDatapathCharsAt, datapath);
    Poke<uint8_t>(frame, kHostCharsAt, host);
    Poke<uint8_t>(frame, kPlanesAt, planes);
    return Introduced(Resealed(frame)).has_value();
  };
  EXPECT_TRUE(with_texts(1, 0, 1));
  EXPECT_TRUE(with_texts(16, 64, 16));
  EXPECT_FALSE(with_texts(0, 0, 1));
  EXPECT_FALSE(with_texts(17, 64, 16));
  EXPECT_FALSE(with_texts(16, 65, 16));
  EXPECT_FALSE(with_texts(16, 64, 17));
  EXPECT_FALSE(with_texts(16, 64, 0));
  // A plane's address, likewise.
  for (const uint8_t length : {32, 33}) {
    Introduction introduction = Golden();
    introduction.planes.resize(1);
    Bytes frame = EncodeIntroduction(FrameKind::kHello, introduction);
    frame.resize(frame.size() - 6 + length);
    Poke<uint8_t>(frame, kFirstPlaneAt + 4, length);
    EXPECT_EQ(Introduced(Resealed(frame)).has_value(), length <= 32);
  }
}

TEST(Handshake, DecodeIntroduction__a_refusal_is_none) {
  const Bytes frame = EncodeRefusal("no");
  EXPECT_FALSE(Introduced(frame));
  // Nor is a Hello under another name, even one with a good check.
  Bytes disguised = EncodeIntroduction(FrameKind::kHello, Golden());
  Poke<uint16_t>(disguised, 6, static_cast<uint16_t>(FrameKind::kRefusal));
  EXPECT_FALSE(Introduced(Resealed(disguised)));
  Poke<uint16_t>(disguised, 6, static_cast<uint16_t>(FrameKind::kWelcome));
  EXPECT_FALSE(Introduced(disguised));
}

TEST(Handshake, DecodeRefusal__round_trip) {
  Random random(3);
  for (int i = 0; i < 5'000; ++i) {
    const std::string reason =
        RandomText(random.Below(kMaxReasonBytes + 1), random);
    ASSERT_EQ(Refused(EncodeRefusal(reason)), reason);
  }
}

TEST(Handshake, DecodeRefusal__of_any_version) {
  // Computed for version 4 by a second implementation of docs/wire.md.
  constexpr uint8_t kFrame[] = {0x48, 0x41, 0x57, 0x53, 0x04, 0x00, 0x03, 0x00,
                                0x07, 0x00, 0x00, 0x00, 0xeb, 0x82, 0xa1, 0x8f,
                                't',  'o',  'o',  ' ',  'o',  'l',  'd'};
  Bytes frame(sizeof(kFrame));
  std::memcpy(frame.data(), kFrame, sizeof(kFrame));
  EXPECT_EQ(DecodeFrameHeader(frame)->version, 4);
  EXPECT_EQ(Refused(frame), "too old");
}

TEST(Handshake, DecodeRefusal__every_flip_and_truncation_is_refused) {
  Bytes frame = EncodeRefusal("no such listener");
  for (size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    Flip(frame, bit);
    EXPECT_FALSE(Refused(frame)) << "bit " << bit;
    EXPECT_FALSE(Introduced(frame)) << "bit " << bit;
    Flip(frame, bit);
  }
  const auto header = DecodeFrameHeader(frame);
  for (size_t length = 0; length < Body(frame).size(); ++length) {
    const Bytes body(Body(frame).begin(), Body(frame).begin() + length);
    EXPECT_FALSE(DecodeRefusal(*header, body));
  }
}

TEST(Handshake, DecodeRefusal__out_of_range_is_refused) {
  Bytes frame = EncodeRefusal(std::string(kMaxReasonBytes, 'r'));
  EXPECT_TRUE(Refused(Resealed(frame)));
  frame.push_back(std::byte{'r'});
  EXPECT_FALSE(Refused(Resealed(frame)));
  frame.pop_back();
  frame.back() = std::byte{'\n'};
  EXPECT_FALSE(Refused(Resealed(frame)));
  EXPECT_FALSE(Refused(EncodeIntroduction(FrameKind::kHello, Golden())));
}

}  // namespace
}  // namespace hawser::wire
