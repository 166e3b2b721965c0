#include "transport/wire/bundle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "transport/base/random.h"

namespace hawser::wire {
namespace {

std::vector<std::byte> Bytes(size_t count, uint8_t value) {
  return std::vector<std::byte>(count, std::byte{value});
}

std::vector<std::vector<std::byte>> PacketsOf(
    std::span<const std::byte> datagram) {
  std::vector<std::vector<std::byte>> packets;
  BundleReader reader(datagram);
  while (const auto packet = reader.Next()) {
    packets.emplace_back(packet->begin(), packet->end());
  }
  return packets;
}

TEST(BundleWriter, Append__one_packet_is_no_bundle) {
  std::array<std::byte, 64> buffer;
  BundleWriter writer(buffer);
  const auto packet = Bytes(20, 0xa7);
  EXPECT_EQ(writer.SizeWith(20), 20u);
  writer.Append(packet, {}, 0);
  EXPECT_EQ(writer.size(), 20u);
  EXPECT_EQ(PacketsOf(std::span(buffer).first(20)),
            std::vector<std::vector<std::byte>>{packet});
}

TEST(BundleWriter, Append__comes_back_packet_by_packet) {
  Random random(7);
  for (int round = 0; round < 1000; ++round) {
    std::array<std::byte, 1500> buffer;
    BundleWriter writer(buffer);
    std::vector<std::vector<std::byte>> packets;
    while (true) {
      auto packet = Bytes(1 + random.Below(200), 0xa7);
      if (writer.SizeWith(packet.size()) > buffer.size()) break;
      for (size_t i = 1; i < packet.size(); ++i) {
        packet[i] = static_cast<std::byte>(random.Next());
      }
      const size_t cut = random.Below(packet.size() + 1);
      const size_t expected = writer.SizeWith(packet.size());
      writer.Append(std::span(packet).first(cut),
                    std::span(packet).subspan(cut), 0);
      ASSERT_EQ(writer.size(), expected);
      packets.push_back(std::move(packet));
    }
    ASSERT_EQ(PacketsOf(std::span(buffer).first(writer.size())), packets);
  }
}

TEST(BundleWriter, Append__borrowed_bytes_count_and_come_last) {
  std::array<std::byte, 256> buffer;
  BundleWriter writer(buffer);
  const auto first = Bytes(16, 1), header = Bytes(36, 2);
  const auto payload = Bytes(1000, 3);
  writer.Append(first, {}, 0);
  EXPECT_EQ(writer.SizeWith(1036), 1 + 2 + 16 + 2 + 1036u);
  writer.Append(header, {}, payload.size());
  std::vector<std::byte> datagram(buffer.begin(),
                                  buffer.begin() + writer.size());
  datagram.insert(datagram.end(), payload.begin(), payload.end());
  auto second = header;
  second.insert(second.end(), payload.begin(), payload.end());
  EXPECT_EQ(PacketsOf(datagram),
            (std::vector<std::vector<std::byte>>{first, second}));
}

TEST(BundleReader, Next__the_last_packet_may_end_elsewhere) {
  std::array<std::byte, 256> buffer;
  BundleWriter writer(buffer);
  const auto ack = Bytes(40, 1), header = Bytes(16, 2);
  writer.Append(ack, {}, 0);
  writer.Append(header, {}, 5000);
  const auto front = std::span(buffer).first(writer.size());
  BundleReader packets(front, 5000);
  auto packet = packets.Next();
  ASSERT_TRUE(packet);
  EXPECT_FALSE(packets.at_last());
  EXPECT_TRUE(std::equal(packet->begin(), packet->end(), ack.begin()));
  packet = packets.Next();
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packets.at_last());
  EXPECT_EQ(packet->size(), header.size());
  EXPECT_FALSE(packets.Next());
  // Alone it is what there is.
  BundleReader alone(header, 5000);
  EXPECT_EQ(alone.Next()->size(), header.size());
  EXPECT_TRUE(alone.at_last());
  // A length that is not that of the rest does not add up, as ever.
  BundleReader wrong(front, 4999);
  EXPECT_EQ(wrong.Next()->size(), ack.size());
  EXPECT_EQ(wrong.Next()->size(), 2 + header.size());
}

TEST(BundleReader, Next__an_empty_datagram_has_no_packet) {
  EXPECT_EQ(BundleReader({}).Next(), std::nullopt);
}

TEST(BundleReader, Next__hands_out_what_does_not_add_up) {
  // A length beyond the end, and half a length.
  const std::vector<std::byte> beyond = {kBundleMagic, std::byte{9},
                                         std::byte{0}, std::byte{1}};
  EXPECT_EQ(PacketsOf(beyond).size(), 1u);
  EXPECT_EQ(PacketsOf(beyond)[0].size(), 3u);
  const std::vector<std::byte> half = {kBundleMagic, std::byte{9}};
  EXPECT_EQ(PacketsOf(half).size(), 1u);
}

TEST(BundleReader, Next__comes_to_an_end_on_any_bytes) {
  Random random(11);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> datagram(random.Below(64));
    for (auto& byte : datagram) byte = static_cast<std::byte>(random.Below(8));
    if (!datagram.empty()) datagram[0] = kBundleMagic;
    // Empty packets take their length's bytes, so even these are bounded.
    ASSERT_LE(PacketsOf(datagram).size(), datagram.size());
  }
}

}  // namespace
}  // namespace hawser::wire
