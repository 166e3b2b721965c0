#include "transport/engine/stage.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "transport/wire/bundle.h"

namespace hawser {
namespace {

// A door that keeps what it is given.
class Recorder final : public Datapath {
 public:
  struct Sent {
    PeerId peer;
    uint16_t entropy;
    std::vector<std::byte> bytes;
  };
  std::vector<Sent> sent;
  size_t calls = 0;
  size_t room = 1000;
  size_t room_after_send = 1000;

  PlaneAddress address() const override { return {}; }
  uint16_t entropies() const override { return 4; }
  uint32_t max_packet_bytes(PeerId) const override { return 1472; }
  uint32_t burst_packets(PeerId) const override { return 8; }
  size_t tx_room() const override { return room; }
  DatapathCounts counts() const override { return {}; }
  int poll_fd() const override { return -1; }
  bool OpenPeer(PeerId, const PlaneAddress&) override { return true; }
  void ClosePeer(PeerId) override {}
  void Send(std::span<const TxPacket> batch) override {
    ++calls;
    room = room_after_send;
    for (const TxPacket& packet : batch) {
      std::vector<std::byte> bytes(packet.header.begin(), packet.header.end());
      bytes.insert(bytes.end(), packet.payload.data,
                   packet.payload.data + packet.payload.length);
      sent.push_back({packet.peer, packet.entropy, std::move(bytes)});
    }
  }
  size_t Receive(std::span<RxPacket>) override { return 0; }
  void Recycle() override {}
};

std::vector<std::byte> Bytes(size_t count) {
  return std::vector<std::byte>(count, std::byte{0xa7});
}

size_t PacketsIn(const Recorder::Sent& datagram) {
  wire::BundleReader reader(datagram.bytes);
  size_t packets = 0;
  while (reader.Next()) ++packets;
  return packets;
}

constexpr uint32_t kMaxBytes = 1472;

TEST(Stage, Begin__is_what_Add_does_where_nothing_is_joined) {
  Recorder door;
  Stage stage(door);
  auto payload = Bytes(1000);
  const MemorySlice large{payload.data(), 1000, 0};
  EXPECT_TRUE(stage.MayBegin(PeerId{1}, 2, large));
  EXPECT_FALSE(stage.MayBegin(PeerId{1}, 2, {payload.data(), 256, 0}));
  const auto header = Bytes(16);
  for (uint16_t entropy = 0; entropy < 2; ++entropy) {
    ASSERT_TRUE(stage.MayBegin(PeerId{1}, entropy, large));
    const auto out = stage.Begin(PeerId{1}, entropy, large);
    ASSERT_GE(out.size(), wire::kMaxHeaderBytes);
    std::copy(header.begin(), header.end(), out.begin());
    stage.End(header.size());
  }
  // It ends with borrowed payload, so nothing may follow it.
  stage.Add(PeerId{1}, 1, header, {}, kMaxBytes);
  // And what is still open for the same way would be joined.
  EXPECT_FALSE(stage.MayBegin(PeerId{1}, 1, large));
  EXPECT_TRUE(stage.MayBegin(PeerId{1}, 0, large));
  EXPECT_TRUE(stage.MayBegin(PeerId{2}, 1, large));
  stage.Flush();
  ASSERT_EQ(door.sent.size(), 3u);
  EXPECT_EQ(door.sent[0].entropy, 0);
  EXPECT_EQ(door.sent[0].bytes.size(), 1016u);
  EXPECT_EQ(door.sent[1].entropy, 1);
  EXPECT_EQ(door.sent[1].bytes.size(), 1016u);
  EXPECT_EQ(door.sent[2].bytes.size(), 16u);
}

TEST(Stage, Add__small_packets_of_one_way_share_a_datagram) {
  Recorder door;
  Stage stage(door);
  const auto header = Bytes(36);
  auto payload = Bytes(64);
  stage.Add(PeerId{1}, 2, header, {}, kMaxBytes);
  stage.Add(PeerId{1}, 2, header, {payload.data(), 64, 0}, kMaxBytes);
  stage.Add(PeerId{1}, 2, header, {}, kMaxBytes);
  stage.Flush();
  ASSERT_EQ(door.sent.size(), 1u);
  EXPECT_EQ(PacketsIn(door.sent[0]), 3u);
}

TEST(Stage, Add__other_ways_and_full_packets_stay_apart) {
  Recorder door;
  Stage stage(door);
  const auto header = Bytes(36);
  auto payload = Bytes(1408);
  stage.Add(PeerId{1}, 2, header, {}, kMaxBytes);
  stage.Add(PeerId{1}, 3, header, {}, kMaxBytes);
  stage.Add(PeerId{2}, 3, header, {}, kMaxBytes);
  // 36 + 36 + 1408 and the lengths are more than the path carries.
  stage.Add(PeerId{2}, 3, header, {payload.data(), 1408, 0}, kMaxBytes);
  stage.Flush();
  EXPECT_EQ(door.sent.size(), 4u);
}

TEST(Stage, Add__tells_what_room_was_missing) {
  Recorder door;
  Stage stage(door);
  const auto header = Bytes(36);
  auto payload = Bytes(1000);
  const MemorySlice large{payload.data(), 1000, 0};
  EXPECT_EQ(stage.Add(PeerId{1}, 2, header, {}, 700), 0u);
  const size_t wanted = stage.Add(PeerId{1}, 2, header, large, 700);
  EXPECT_GT(wanted, 2 * 36u + 1000);
  EXPECT_EQ(stage.Add(PeerId{1}, 2, header, {}, 700), 0u);  // It is closed.
  const auto exactly = static_cast<uint32_t>(wanted);
  EXPECT_EQ(stage.Add(PeerId{1}, 2, header, large, exactly), 0u);
  stage.Flush();
  ASSERT_EQ(door.sent.size(), 3u);
  EXPECT_EQ(door.sent[2].bytes.size(), wanted);
}

TEST(Stage, Add__nothing_follows_borrowed_payload) {
  Recorder door;
  Stage stage(door);
  const auto header = Bytes(36);
  auto payload = Bytes(1000);
  stage.Add(PeerId{1}, 2, header, {}, kMaxBytes);
  stage.Add(PeerId{1}, 2, header, {payload.data(), 1000, 0}, kMaxBytes);
  stage.Add(PeerId{1}, 2, header, {}, kMaxBytes);
  stage.Flush();
  ASSERT_EQ(door.sent.size(), 2u);
  EXPECT_EQ(PacketsIn(door.sent[0]), 2u);
  EXPECT_EQ(PacketsIn(door.sent[1]), 1u);
}

TEST(Stage, MakeRoom__flushes_what_is_full) {
  Recorder door;
  Stage stage(door);
  const auto header = Bytes(36);
  for (size_t i = 0; i <= Stage::kCapacity; ++i) {
    ASSERT_TRUE(stage.MakeRoom());
    stage.Add(PeerId{1}, static_cast<uint16_t>(i % 2), header, {}, kMaxBytes);
  }
  EXPECT_EQ(door.calls, 1u);
  EXPECT_EQ(door.sent.size(), Stage::kCapacity);
  stage.Flush();
  EXPECT_EQ(door.sent.size(), Stage::kCapacity + 1);
}

TEST(Stage, Flush__nothing_staged_is_no_call) {
  Recorder door;
  Stage stage(door);
  stage.Flush();
  EXPECT_EQ(door.calls, 0u);
}

// The datagrams before may take the last room, however much there was.
TEST(Stage, MakeRoom__asks_the_door_after_it_flushed) {
  Recorder door;
  door.room_after_send = 0;
  Stage stage(door);
  const auto header = Bytes(36);
  for (size_t i = 0; i < Stage::kCapacity; ++i) {
    ASSERT_TRUE(stage.MakeRoom());
    stage.Add(PeerId{1}, static_cast<uint16_t>(i % 2), header, {}, kMaxBytes);
  }
  EXPECT_FALSE(stage.MakeRoom());
  EXPECT_EQ(door.sent.size(), Stage::kCapacity);
}

TEST(Stage, MakeRoom__counts_what_is_staged) {
  Recorder door;
  door.room = 2;
  Stage stage(door);
  const auto header = Bytes(36);
  stage.Add(PeerId{1}, 0, header, {}, kMaxBytes);
  EXPECT_TRUE(stage.MakeRoom());
  stage.Add(PeerId{1}, 1, header, {}, kMaxBytes);
  EXPECT_FALSE(stage.MakeRoom());
  EXPECT_EQ(stage.room(), 0u);
}

}  // namespace
}  // namespace hawser
