#include "transport/net/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "transport/base/random.h"

namespace hawser {
namespace {

using Bytes = std::vector<std::byte>;

constexpr uint16_t kPort = 50000;

Route MakeRoute(bool v4, uint16_t vlan = kNoVlan) {
  Route route;
  route.from_mac = *ParseMac("02:00:00:00:00:01");
  route.to_mac = *ParseMac("02:00:00:00:00:02");
  route.vlan = vlan;
  route.from = *ParseIp(v4 ? "192.0.2.1" : "2001:db8::1");
  route.to = *ParseIp(v4 ? "192.0.2.2" : "2001:db8::2");
  route.to_port = kPort;
  route.traffic_class = 0x68;
  return route;
}

FrameFilter FilterOf(const Route& route) {
  return {route.to_mac, route.vlan, route.to, route.to_port};
}

Bytes MakePayload(size_t length) {
  Bytes payload(length);
  Random random(length);
  for (std::byte& byte : payload) byte = static_cast<std::byte>(random.Next());
  return payload;
}

Bytes MakeFrame(const Route& route, const Bytes& payload,
                ChecksumBy by = ChecksumBy::kUs) {
  const FrameHeader header(route);
  Bytes frame(header.size());
  header.Write(60000, payload.size(), by, SumOf(payload), frame.data());
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

FrameKind KindOf(const Bytes& frame, const FrameFilter& filter) {
  return ParseFrame(frame, filter, /*checked=*/false).kind;
}

class EachFamily : public testing::TestWithParam<bool> {
 protected:
  size_t ip_bytes() const { return GetParam() ? kIpv4Bytes : kIpv6Bytes; }
  Route route_ = MakeRoute(GetParam());
  FrameFilter filter_ = FilterOf(route_);
};

TEST_P(EachFamily, WhatIsWrittenIsUnderstood) {
  for (const uint16_t vlan : {uint16_t{0}, uint16_t{1}, kMaxVlan}) {
    const Route route = MakeRoute(GetParam(), vlan);
    for (const size_t length : {0, 1, 2, 63, 64, 1000, 8999}) {
      const Bytes payload = MakePayload(length);
      const Bytes frame = MakeFrame(route, payload);
      EXPECT_EQ(frame.size(), kEthernetBytes + (vlan != 0 ? kVlanBytes : 0) +
                                  ip_bytes() + kUdpBytes + length);
      const ParsedFrame parsed =
          ParseFrame(frame, FilterOf(route), /*checked=*/false);
      ASSERT_EQ(parsed.kind, FrameKind::kDatagram) << length;
      EXPECT_TRUE(std::equal(parsed.payload.begin(), parsed.payload.end(),
                             payload.begin(), payload.end()));
      EXPECT_FALSE(parsed.ce);
    }
  }
}

TEST_P(EachFamily, PaddingIsNotPayload) {
  Bytes frame = MakeFrame(route_, MakePayload(3));
  frame.resize(frame.size() + 20, std::byte{0xaa});
  const ParsedFrame parsed = ParseFrame(frame, filter_, false);
  EXPECT_EQ(parsed.kind, FrameKind::kDatagram);
  EXPECT_EQ(parsed.payload.size(), 3u);
}

TEST_P(EachFamily, EveryBitThatFlipsIsNoticed) {
  const Bytes frame = MakeFrame(route_, MakePayload(40));
  size_t unnoticed = 0;
  for (size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    Bytes damaged = frame;
    damaged[bit / 8] ^= std::byte{1} << bit % 8;
    unnoticed += KindOf(damaged, filter_) == FrameKind::kDatagram ? 1 : 0;
  }
  // Who sent it, on the link, is nobody's business: 48 bits. A group's frame
  // is for us as well: none of these is, by one bit alone, except the least of
  // the first byte. IPv6 has no check of its traffic class, flow label and hop
  // limit.
  EXPECT_EQ(unnoticed, 48u + 1 + (GetParam() ? 0 : 8 + 20 + 8));
}

TEST_P(EachFamily, EveryTruncationIsNoticed) {
  const Bytes frame = MakeFrame(route_, MakePayload(40));
  for (size_t length = 0; length < frame.size(); ++length) {
    const Bytes cut(frame.begin(), frame.begin() + static_cast<long>(length));
    EXPECT_EQ(KindOf(cut, filter_), FrameKind::kMalformed) << length;
  }
}

TEST_P(EachFamily, OthersFramesAreForeign) {
  const Bytes frame = MakeFrame(route_, MakePayload(40));
  FrameFilter other = filter_;
  other.port = kPort + 1;
  EXPECT_EQ(KindOf(frame, other), FrameKind::kForeign);
  // Another engine's, perhaps.
  EXPECT_EQ(ParseFrame(frame, other, /*checked=*/false).to_port, kPort);
  other = filter_;
  other.ip = *ParseIp(GetParam() ? "192.0.2.3" : "2001:db8::3");
  EXPECT_EQ(KindOf(frame, other), FrameKind::kForeign);
  EXPECT_EQ(ParseFrame(frame, other, /*checked=*/false).to_port, 0);
  other = filter_;
  other.ip = *ParseIp(GetParam() ? "2001:db8::3" : "192.0.2.3");
  EXPECT_EQ(KindOf(frame, other), FrameKind::kForeign);
  other = filter_;
  other.mac = *ParseMac("02:00:00:00:00:03");
  EXPECT_EQ(KindOf(frame, other), FrameKind::kForeign);
  other = filter_;
  other.vlan = 7;
  EXPECT_EQ(KindOf(frame, other), FrameKind::kForeign);
  Bytes tcp = frame;
  tcp[kEthernetBytes + (GetParam() ? 9 : 6)] = std::byte{6};
  EXPECT_NE(KindOf(tcp, filter_), FrameKind::kDatagram);
}

TEST_P(EachFamily, TheNetworkSaysThatItIsCongested) {
  Bytes frame = MakeFrame(route_, MakePayload(40));
  // ECT(0), under the DSCP that was asked for.
  const size_t at = kEthernetBytes + 1;
  const unsigned traffic =
      GetParam() ? std::to_integer<unsigned>(frame[at])
                 : (std::to_integer<unsigned>(frame[at - 1]) & 0x0f) << 4 |
                       std::to_integer<unsigned>(frame[at]) >> 4;
  EXPECT_EQ(traffic, 0x68u | 2);
  frame[at] |= GetParam() ? std::byte{0x01} : std::byte{0x10};
  EXPECT_TRUE(ParseFrame(frame, filter_, /*checked=*/true).ce);
}

TEST_P(EachFamily, AnEntropyChangesPortAndLabelAlone) {
  const FrameHeader header(route_);
  Bytes one(header.size());
  Bytes other(header.size());
  header.Write(60000, 10, ChecksumBy::kPort, {}, one.data());
  header.Write(60001, 10, ChecksumBy::kPort, {}, other.data());
  const size_t udp = kEthernetBytes + ip_bytes();
  EXPECT_NE(std::memcmp(&one[udp], &other[udp], 2), 0);
  const bool label_differs =
      std::memcmp(&one[kEthernetBytes + 1], &other[kEthernetBytes + 1], 3) != 0;
  EXPECT_EQ(label_differs, !GetParam());
}

TEST_P(EachFamily, AChecksumThatNobodyMade) {
  const Bytes frame = MakeFrame(route_, MakePayload(40), ChecksumBy::kNobody);
  const size_t at = kEthernetBytes + ip_bytes() + 6;
  const bool none = frame[at] == std::byte{0} && frame[at + 1] == std::byte{0};
  EXPECT_EQ(none, GetParam());  // IPv6 insists on one.
  EXPECT_EQ(KindOf(frame, filter_), FrameKind::kDatagram);
  Bytes without = MakeFrame(route_, MakePayload(40));
  without[at] = without[at + 1] = std::byte{0};
  EXPECT_EQ(KindOf(without, filter_),
            GetParam() ? FrameKind::kDatagram : FrameKind::kBadChecksum);
}

TEST_P(EachFamily, AChecksumThatTheNicIsToMake) {
  // It adds the rest to what stands there, and complements.
  const Bytes payload = MakePayload(41);
  Bytes frame = MakeFrame(route_, payload, ChecksumBy::kPort);
  std::byte* const udp = frame.data() + kEthernetBytes + ip_bytes();
  const uint16_t sum = Fold(SumOf({udp, kUdpBytes + payload.size()}));
  std::memcpy(udp + 6, &sum, 2);
  if (GetParam()) {
    std::byte* const ip = frame.data() + kEthernetBytes;
    const uint16_t ip_sum = Fold(SumOf({ip, kIpv4Bytes}));
    std::memcpy(ip + 10, &ip_sum, 2);
  }
  EXPECT_EQ(KindOf(frame, filter_), FrameKind::kDatagram);
  frame.back() ^= std::byte{1};
  EXPECT_EQ(KindOf(frame, filter_), FrameKind::kBadChecksum);
  EXPECT_EQ(ParseFrame(frame, filter_, /*checked=*/true).kind,
            FrameKind::kDatagram);
}

INSTANTIATE_TEST_SUITE_P(Ip, EachFamily, testing::Values(true, false),
                         [](const testing::TestParamInfo<bool>& one) {
                           return one.param ? "V4" : "V6";
                         });

TEST(ParseFrame, FragmentsAreNotPutTogether) {
  for (const unsigned bits : {0x2000u, 0x0001u, 0x2001u}) {
    const Route route = MakeRoute(/*v4=*/true);
    Bytes frame = MakeFrame(route, MakePayload(40));
    std::byte* const ip = frame.data() + kEthernetBytes;
    ip[6] = static_cast<std::byte>(bits >> 8);
    ip[7] = static_cast<std::byte>(bits & 0xff);
    ip[10] = ip[11] = std::byte{0};
    const uint16_t sum = Fold(SumOf({ip, kIpv4Bytes}));
    std::memcpy(ip + 10, &sum, 2);
    EXPECT_EQ(KindOf(frame, FilterOf(route)), FrameKind::kFragment);
  }
  const Route route = MakeRoute(/*v4=*/false);
  Bytes frame = MakeFrame(route, MakePayload(40));
  frame[kEthernetBytes + 6] = std::byte{44};
  EXPECT_EQ(KindOf(frame, FilterOf(route)), FrameKind::kFragment);
}

// What nobody would send: any bytes at all, and ours with some of them changed.
// No sanitizer may find a byte read that is not there, and no payload lies
// outside its frame.
TEST(ParseFrame, AnyBytes) {
  Random random(7);
  for (int i = 0; i < 200'000; ++i) {
    const Route route = MakeRoute(random.Chance(0.5),
                                  random.Chance(0.3) ? uint16_t{9} : kNoVlan);
    Bytes frame = MakeFrame(route, MakePayload(random.Below(80)));
    const uint64_t changes = random.Below(6);
    for (uint64_t c = 0; c < changes; ++c) {
      frame[random.Below(frame.size())] = static_cast<std::byte>(random.Next());
    }
    frame.resize(random.Below(frame.size() + 1));
    const Bytes exact(frame);  // Its memory ends where it ends.
    const ParsedFrame parsed =
        ParseFrame(exact, FilterOf(route), random.Chance(0.5));
    if (parsed.payload.empty()) continue;
    EXPECT_GE(parsed.payload.data(), exact.data());
    EXPECT_LE(parsed.payload.data() + parsed.payload.size(),
              exact.data() + exact.size());
  }
}

}  // namespace
}  // namespace hawser
