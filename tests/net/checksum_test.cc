#include "transport/net/checksum.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "transport/base/random.h"

namespace hawser {
namespace {

std::vector<std::byte> RandomBytes(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Next());
  return bytes;
}

// RFC 1071 word for word: 16 bits at a time, in network order.
uint16_t ByTheBook(std::span<const std::byte> bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = std::to_integer<uint32_t>(bytes[i]);
    sum += i % 2 == 0 ? byte << 8 : byte;
  }
  while (sum >> 16 != 0) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<uint16_t>(~sum);
}

uint16_t InHostOrder(uint16_t as_it_lies) {
  std::byte bytes[2];
  std::memcpy(bytes, &as_it_lies, 2);
  return static_cast<uint16_t>(std::to_integer<unsigned>(bytes[0]) << 8 |
                               std::to_integer<unsigned>(bytes[1]));
}

TEST(Checksum, TheExampleOfRfc1071) {
  // Section 3: 00 01 f2 03 f4 f5 f6 f7 add up to ddf2.
  const std::byte bytes[] = {std::byte{0x00}, std::byte{0x01}, std::byte{0xf2},
                             std::byte{0x03}, std::byte{0xf4}, std::byte{0xf5},
                             std::byte{0xf6}, std::byte{0xf7}};
  EXPECT_EQ(InHostOrder(Fold(SumOf(bytes))), 0xffff & ~0xddf2);
}

TEST(Checksum, EveryLength) {
  const auto bytes = RandomBytes(400, 1);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    const auto part = std::span(bytes).first(length);
    EXPECT_EQ(InHostOrder(Fold(SumOf(part))), ByTheBook(part)) << length;
  }
}

TEST(Checksum, NoCarryIsLostInALargePacket) {
  const std::vector<std::byte> bytes(65535, std::byte{0xff});
  EXPECT_EQ(InHostOrder(Fold(SumOf(bytes))), ByTheBook(bytes));
}

TEST(Checksum, PartsAddUp) {
  const auto bytes = RandomBytes(1000, 2);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const ChecksumPart front = SumOf(std::span(bytes).first(cut));
    const ChecksumPart back = SumOf(std::span(bytes).subspan(cut));
    const ChecksumPart all = front + (cut % 2 == 0 ? back : AfterOdd(back));
    EXPECT_EQ(Fold(all), Fold(SumOf(bytes))) << cut;
  }
}

TEST(Checksum, WithItsOwnSumItIsNothing) {
  auto bytes = RandomBytes(100, 3);
  bytes[10] = bytes[11] = std::byte{0};
  const uint16_t sum = Fold(SumOf(bytes));
  std::memcpy(bytes.data() + 10, &sum, 2);
  EXPECT_EQ(Fold(SumOf(bytes)), 0);
  bytes[50] ^= std::byte{4};
  EXPECT_NE(Fold(SumOf(bytes)), 0);
}

}  // namespace
}  // namespace hawser
