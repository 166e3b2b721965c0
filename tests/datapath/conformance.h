// What every Datapath promises, as one suite of tests.
// Knows: datapath.h.  Never: which datapath it is testing.
//
// To add a datapath: write a Wire for it, and in one file of a test program
// (no other may include this one there)
//   INSTANTIATE_TEST_SUITE_P(Sim, DatapathConformance,
//                            testing::Values(WireMaker{"sim", &MakeSimWire}),
//                            WireName);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "transport/base/random.h"
#include "transport/datapath/datapath.h"

namespace hawser {

// Two planes, the network between them, and whatever clock that runs on. The
// network is one that loses nothing as long as the receiver keeps up.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual Datapath& left() = 0;
  virtual Datapath& right() = 0;
  // Lets the network work until `plane` may have something to receive, or room
  // again. False: nothing of the kind came within `limit`.
  virtual bool Wait(Datapath& plane, Duration limit) = 0;
  // The planes know each other now: lets them agree on what they have to.
  virtual void Settle() {}
};

struct WireMaker {
  std::string name;
  std::function<std::unique_ptr<Wire>()> make;  // nullptr: no such device here.
};

inline void PrintTo(const WireMaker& maker, std::ostream* out) {
  *out << maker.name;
}

inline std::string WireName(const testing::TestParamInfo<WireMaker>& info) {
  return info.param.name;
}

class DatapathConformance : public testing::TestWithParam<WireMaker> {
 protected:
  using Bytes = std::vector<std::byte>;

  // Packets of a test may be in the network at once up to this many bytes;
  // every datapath must be able to hold them.
  static constexpr size_t kInFlightBytes = 256 << 10;
  // How long a packet may take before it is lost: a busy machine is slow.
  static constexpr Duration kPatience = Duration::Seconds(5);
  // How long silence is listened to before it is believed.
  static constexpr Duration kSilence = Duration::Millis(100);
  // What the two planes call each other; not the same.
  static constexpr PeerId kRight{3};
  static constexpr PeerId kLeft{5};

  struct Parcel {  // A packet that owns its bytes.
    uint16_t entropy = 0;
    size_t header_bytes = 0;
    Bytes bytes;
  };

  void SetUp() override {
    wire_ = GetParam().make();
    if (wire_ == nullptr) GTEST_SKIP() << "no such device";
    ASSERT_TRUE(left().OpenPeer(kRight, right().address()));
    ASSERT_TRUE(right().OpenPeer(kLeft, left().address()));
    wire_->Settle();
  }

  Datapath& left() { return wire_->left(); }
  Datapath& right() { return wire_->right(); }

  // A packet that cannot be mistaken for another if it has 8 bytes or more.
  static Parcel MakeParcel(uint32_t id, size_t length, uint16_t entropy = 0,
                           size_t header_bytes = 64) {
    Parcel parcel;
    parcel.entropy = entropy;
    parcel.header_bytes = std::min(header_bytes, length);
    parcel.bytes.resize(length);
    Random random(id);
    for (size_t i = 0; i < length; i += 8) {
      const uint64_t word = i == 0 ? IdWord(id) : random.Next();
      std::memcpy(parcel.bytes.data() + i, &word, std::min(length - i, 8ul));
    }
    return parcel;
  }
  static uint64_t IdWord(uint32_t id) { return Mix64(id) << 32 | id; }
  static uint32_t IdOf(const Bytes& bytes) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), std::min<size_t>(bytes.size(), 8));
    EXPECT_EQ(word, IdWord(static_cast<uint32_t>(word)));
    return static_cast<uint32_t>(word);
  }

  static TxPacket PacketOf(Parcel& parcel, PeerId peer) {
    TxPacket packet;
    packet.peer = peer;
    packet.entropy = parcel.entropy;
    packet.header = std::span(parcel.bytes).first(parcel.header_bytes);
    packet.payload.data = parcel.bytes.data() + parcel.header_bytes;
    packet.payload.length =
        static_cast<uint32_t>(parcel.bytes.size() - parcel.header_bytes);
    return packet;
  }

  // Gives the packets to `from`, as many as it has room for at a time, and
  // waits for room. The bytes in `parcels` are destroyed on the way, as they
  // may be once Send has returned.
  void SendAll(Datapath& from, PeerId peer, std::span<Parcel> parcels) {
    while (!parcels.empty()) {
      size_t room = from.tx_room();
      while (room == 0) {
        ASSERT_TRUE(wire_->Wait(from, kPatience)) << "there is never room";
        Keep(from);
        room = from.tx_room();
      }
      const auto now = parcels.first(std::min(room, parcels.size()));
      parcels = parcels.subspan(now.size());
      std::vector<TxPacket> batch;
      for (Parcel& parcel : now) batch.push_back(PacketOf(parcel, peer));
      from.Send(batch);
      for (Parcel& parcel : now) {
        std::fill(parcel.bytes.begin(), parcel.bytes.end(), std::byte{0xee});
      }
    }
  }

  // Receives what there is and returns how many.
  size_t Keep(Datapath& plane, size_t most = 32) {
    // What they were used for before does not show.
    static std::array<std::byte, 8> stale;
    std::vector<RxPacket> out(most, {.bytes = stale,
                                     .ecn_marked = true,
                                     .waited = Duration::Nanos(-1),
                                     .placed_bytes = 8,
                                     .rest = stale});
    const size_t count = plane.Receive(out);
    EXPECT_LE(count, most);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_GE(out[i].waited, Duration());
      EXPECT_FALSE(out[i].ecn_marked);
      EXPECT_EQ(out[i].placed_bytes, 0u);
      EXPECT_TRUE(out[i].rest.empty());
      received_.emplace_back(out[i].bytes.begin(), out[i].bytes.end());
    }
    plane.Recycle();
    return count;
  }

  // Receives until `received_` has `count` packets; fewer only if nothing came
  // for as long as our patience lasts.
  void KeepUntil(Datapath& plane, size_t count, size_t most = 32) {
    while (received_.size() < count) {
      if (Keep(plane, most) > 0) continue;
      if (!wire_->Wait(plane, kPatience)) break;
    }
  }

  // Everything from left to right, never more than kInFlightBytes on the way.
  void Exchange(std::vector<Parcel> parcels) {
    std::span<Parcel> rest(parcels);
    while (!rest.empty() && !HasFailure()) {
      size_t count = 0;
      size_t bytes = 0;
      do {
        bytes += rest[count++].bytes.size();
      } while (count < rest.size() &&
               bytes + rest[count].bytes.size() <= kInFlightBytes);
      const size_t before = received_.size();
      SendAll(left(), kRight, rest.first(count));
      KeepUntil(right(), before + count);
      ASSERT_EQ(received_.size(), before + count) << "packets were lost";
      rest = rest.subspan(count);
    }
  }

  // The same as Exchange, and what arrives is what was sent, in that order.
  // All parcels must have one entropy.
  void ExchangeInOrder(const std::vector<Parcel>& parcels) {
    received_.clear();
    Exchange(parcels);
    ASSERT_EQ(received_.size(), parcels.size());
    for (size_t i = 0; i < parcels.size(); ++i) {
      ASSERT_EQ(received_[i].size(), parcels[i].bytes.size()) << i;
      ASSERT_TRUE(received_[i] == parcels[i].bytes) << i;
    }
  }

  void ExpectSilence(Datapath& plane) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(Keep(plane), 0u);
      if (!wire_->Wait(plane, kSilence)) return;
    }
    ADD_FAILURE() << "called again and again for nothing";
  }

  std::unique_ptr<Wire> wire_;
  std::vector<Bytes> received_;
};

TEST_P(DatapathConformance, EverythingArrivesWholeAndIntact) {
  Random random(1);
  const uint32_t max = left().max_packet_bytes(kRight);
  std::vector<Parcel> sent;
  for (uint32_t id = 0; id < 1000; ++id) {
    // Most packets are small or full; the rest is anything.
    const uint64_t length = random.Chance(0.3)   ? max
                            : random.Chance(0.5) ? 8 + random.Below(200)
                                                 : 8 + random.Below(max - 8);
    const auto entropy =
        static_cast<uint16_t>(random.Below(left().entropies()));
    sent.push_back(MakeParcel(id, length, entropy, random.Below(length + 1)));
  }
  Exchange(sent);
  ASSERT_EQ(received_.size(), sent.size());
  std::vector<bool> seen(sent.size());
  for (const Bytes& bytes : received_) {
    const uint32_t id = IdOf(bytes);
    ASSERT_LT(id, sent.size());
    EXPECT_FALSE(seen[id]) << id << " came twice";
    seen[id] = true;
    EXPECT_TRUE(bytes == sent[id].bytes) << id;
  }
  EXPECT_EQ(left().counts().sends_dropped, 0u);
  EXPECT_EQ(right().counts().truncated, 0u);
}

// What is shown beforehand is what comes next, and its end goes where it is
// wanted, and nothing else goes there.
TEST_P(DatapathConformance, WhatIsShownGoesToItsPlace) {
  Random random(3);
  const uint32_t max = left().max_packet_bytes(kRight);
  const uint32_t burst = left().burst_packets(kRight);
  uint32_t id = 0;
  size_t came = 0;
  for (int round = 0; round < 200 && !HasFailure(); ++round) {
    std::vector<Parcel> sent;
    const uint32_t first = id;
    for (uint64_t n = 1 + random.Below(3 * burst); n > 0; --n) {
      const uint64_t length =
          random.Chance(0.5) ? max : 8 + random.Below(max - 8);
      const auto entropy =
          static_cast<uint16_t>(random.Below(left().entropies()));
      sent.push_back(MakeParcel(id++, length, entropy, 16));
      if (sent.size() * max > kInFlightBytes) break;
    }
    std::vector<Bytes> whole;
    for (const Parcel& parcel : sent) whole.push_back(parcel.bytes);
    SendAll(left(), kRight, sent);
    for (size_t left_over = whole.size(); left_over > 0;) {
      const std::span<RxFront> fronts =
          random.Chance(0.2) ? std::span<RxFront>() : right().Peek();
      std::vector<Bytes> memory(fronts.size(),
                                Bytes(max + 64, std::byte{0xc5}));
      std::vector<Bytes> shown;
      std::vector<std::span<std::byte>> places;
      for (size_t i = 0; i < fronts.size(); ++i) {
        RxFront& front = fronts[i];
        ASSERT_LE(front.bytes.size(), front.length);
        shown.emplace_back(front.bytes.begin(), front.bytes.end());
        if (random.Chance(0.7)) {
          front.place = std::span(memory[i]).subspan(
              32, 1 + random.Below(front.length - 1));
        }
        places.push_back(front.place);
      }
      std::vector<RxPacket> out(fronts.size() + 1 + random.Below(64));
      const size_t count = right().Receive(out);
      ASSERT_GE(count, shown.size());
      for (size_t i = 0; i < count; ++i) {
        Bytes bytes(out[i].bytes.begin(), out[i].bytes.end());
        bytes.insert(bytes.end(), out[i].rest.begin(), out[i].rest.end());
        const uint32_t one = IdOf(bytes);
        ASSERT_GE(one, first);
        ASSERT_LT(one, id);
        ASSERT_TRUE(bytes == whole[one - first]);
        if (i < shown.size()) {
          ASSERT_TRUE(
              std::equal(shown[i].begin(), shown[i].end(), bytes.begin()));
          ASSERT_EQ(out[i].rest.data(), places[i].data());
          ASSERT_EQ(out[i].rest.size(), places[i].size());
        }
        if (i >= shown.size()) {
          ASSERT_TRUE(out[i].rest.empty());
        }
      }
      for (size_t i = 0; i < memory.size(); ++i) {
        const size_t used = places[i].size();
        for (size_t at = 0; at < memory[i].size(); ++at) {
          if (at >= 32 && at < 32 + used) continue;
          ASSERT_EQ(memory[i][at], std::byte{0xc5}) << at;
        }
      }
      right().Recycle();
      left_over -= std::min(left_over, count);
      came += count;
      if (count == 0 && left_over > 0) {
        ASSERT_TRUE(wire_->Wait(right(), kPatience)) << "packets were lost";
      }
    }
  }
  EXPECT_EQ(came, id);
}

TEST_P(DatapathConformance, PacketsOfOneEntropyStayInOrder) {
  Random random(2);
  const uint32_t max = left().max_packet_bytes(kRight);
  std::vector<Parcel> sent;
  std::vector<uint16_t> entropies;
  for (uint32_t id = 0; id < 2000; ++id) {
    // Sometimes in bursts, sometimes alternating.
    if (id == 0 || random.Chance(0.4)) {
      entropies.push_back(
          static_cast<uint16_t>(random.Below(left().entropies())));
    } else {
      entropies.push_back(entropies.back());
    }
    const uint64_t length =
        random.Chance(0.7) ? std::min(max, 1000u) : 8 + random.Below(1000 - 8);
    sent.push_back(MakeParcel(id, length, entropies.back()));
  }
  Exchange(std::move(sent));
  std::vector<int64_t> newest(left().entropies(), -1);
  for (const Bytes& bytes : received_) {
    const uint32_t id = IdOf(bytes);
    ASSERT_LT(id, entropies.size());
    EXPECT_GT(int64_t{id}, newest[entropies[id]]);
    newest[entropies[id]] = id;
  }
}

TEST_P(DatapathConformance, EverySizeFromOneToTheLargest) {
  const uint32_t max = left().max_packet_bytes(kRight);
  std::vector<Parcel> sent;
  uint32_t id = 0;
  for (uint32_t length = 1; length <= 130; ++length) {
    sent.push_back(MakeParcel(id++, length));
  }
  for (uint32_t length = 128; length < max; length *= 2) {
    for (uint32_t around : {length - 1, length, length + 1}) {
      sent.push_back(MakeParcel(id++, std::min(around, max)));
    }
  }
  for (uint32_t less = 0; less < 4; ++less) {
    sent.push_back(MakeParcel(id++, max - less));
  }
  ExchangeInOrder(sent);
}

TEST_P(DatapathConformance, PacketsInARowMayDifferInSize) {
  // Each row is what could be taken for a train, and almost is one.
  const std::vector<std::vector<size_t>> rows = {
      {1000, 1000, 1000, 1000},        // Equal.
      {1000, 1000, 1000, 1},           // The last one shorter.
      {1000, 1000, 999, 1000, 1000},   // Shorter in the middle.
      {1000, 1000, 1001, 1000, 1000},  // Longer in the middle.
      {500, 600, 700, 800, 900},       // Growing.
      {900, 800, 700, 600, 500},       // Shrinking.
      {64, 1, 64, 1, 64},              // Alternating.
      {1, 1, 1, 1, 1, 1, 1, 1, 2},     // The least there is.
  };
  std::vector<Parcel> sent;
  uint32_t id = 0;
  for (const auto& row : rows) {
    for (size_t length : row) sent.push_back(MakeParcel(id++, length));
  }
  ExchangeInOrder(sent);
  for (const auto& row : rows) {  // And each on its own.
    sent.clear();
    for (size_t length : row) sent.push_back(MakeParcel(id++, length));
    ExchangeInOrder(sent);
  }
}

TEST_P(DatapathConformance, HeaderOrPayloadMayBeEmpty) {
  std::vector<Parcel> sent;
  for (uint32_t id = 0; id < 30; ++id) {
    const size_t header_bytes = id % 3 == 0 ? 0 : id % 3 == 1 ? 24 : 200;
    sent.push_back(MakeParcel(id, 200, 0, header_bytes));
  }
  ExchangeInOrder(sent);
}

TEST_P(DatapathConformance, TakesAsManyPacketsAsItSaysItHasRoomFor) {
  for (int round = 0; round < 4; ++round) {
    const size_t room = left().tx_room();
    ASSERT_GT(room, 0u);
    std::vector<Parcel> sent;
    for (uint32_t id = 0; id < room; ++id) {
      // Alternating entropies and sizes: the worst that a batch can be.
      sent.push_back(MakeParcel(
          id, 100 + id % 2, static_cast<uint16_t>(id % left().entropies())));
    }
    std::vector<TxPacket> batch;
    for (Parcel& parcel : sent) batch.push_back(PacketOf(parcel, kRight));
    received_.clear();
    left().Send(batch);
    KeepUntil(right(), room);
    EXPECT_EQ(received_.size(), room);
    left().Receive({});
    left().Recycle();
  }
}

TEST_P(DatapathConformance, TakesABurstOfTheLargest) {
  const uint32_t burst = left().burst_packets(kRight);
  ASSERT_GE(burst, 1u);
  ASSERT_LE(burst, left().tx_room());
  std::vector<Parcel> sent;
  for (uint32_t id = 0; id < burst; ++id) {
    sent.push_back(MakeParcel(id, left().max_packet_bytes(kRight)));
  }
  ExchangeInOrder(sent);
}

TEST_P(DatapathConformance, AnEmptyBatchIsNothing) {
  left().Send({});
  EXPECT_EQ(left().Receive({}), 0u);
  left().Recycle();
  left().Recycle();
  ExpectSilence(right());
}

TEST_P(DatapathConformance, ReceivedBytesLiveUntilRecycle) {
  std::vector<Parcel> sent;
  for (uint32_t id = 0; id < 20; ++id) sent.push_back(MakeParcel(id, 500));
  std::vector<Parcel> copies = sent;
  SendAll(left(), kRight, copies);
  std::vector<RxPacket> out(8);
  size_t count = 0;
  while ((count = right().Receive(out)) == 0) {
    ASSERT_TRUE(wire_->Wait(right(), kPatience));
  }
  // More arrives while the first are still read.
  copies.clear();
  for (uint32_t id = 100; id < 120; ++id) copies.push_back(MakeParcel(id, 500));
  SendAll(left(), kRight, copies);
  wire_->Wait(right(), kSilence);
  for (size_t i = 0; i < count; ++i) {
    EXPECT_TRUE(std::equal(out[i].bytes.begin(), out[i].bytes.end(),
                           sent[i].bytes.begin(), sent[i].bytes.end()));
  }
  right().Recycle();
  KeepUntil(right(), 40 - count);
  ASSERT_EQ(received_.size(), 40 - count);
  for (size_t i = 0; i < received_.size(); ++i) {
    const size_t nth = i + count;
    EXPECT_EQ(IdOf(received_[i]), nth < 20 ? nth : nth + 80);
  }
}

TEST_P(DatapathConformance, SmallSpansAreFilledWithoutLosingTheRest) {
  std::vector<Parcel> sent;
  for (uint32_t id = 0; id < 50; ++id) sent.push_back(MakeParcel(id, 300));
  std::vector<Parcel> copies = sent;
  SendAll(left(), kRight, copies);
  // One by one, and each time only when the descriptor says that there is one.
  while (received_.size() < sent.size()) {
    ASSERT_TRUE(wire_->Wait(right(), kPatience)) << received_.size();
    Keep(right(), 1);
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_TRUE(received_[i] == sent[i].bytes) << i;
  }
  ExpectSilence(right());
}

TEST_P(DatapathConformance, AnIdlePlaneIsQuiet) {
  EXPECT_FALSE(wire_->Wait(left(), kSilence));
  EXPECT_FALSE(wire_->Wait(right(), kSilence));
  ExchangeInOrder({MakeParcel(1, 100), MakeParcel(2, 100)});
  EXPECT_EQ(Keep(right()), 0u);
  EXPECT_FALSE(wire_->Wait(left(), kSilence));
  EXPECT_FALSE(wire_->Wait(right(), kSilence));
}

TEST_P(DatapathConformance, BothWaysAtOnce) {
  for (uint32_t id = 0; id < 100; ++id) {
    std::vector<Parcel> there;
    there.push_back(MakeParcel(2 * id, 700));
    std::vector<Parcel> back;
    back.push_back(MakeParcel(2 * id + 1, 700));
    SendAll(left(), kRight, there);
    SendAll(right(), kLeft, back);
    received_.clear();
    KeepUntil(right(), 1);
    KeepUntil(left(), 2);
    ASSERT_EQ(received_.size(), 2u);
    EXPECT_EQ(IdOf(received_[0]), 2 * id);
    EXPECT_EQ(IdOf(received_[1]), 2 * id + 1);
  }
}

TEST_P(DatapathConformance, APlaneMayBeItsOwnPeer) {
  constexpr PeerId kSelf{0};
  ASSERT_TRUE(left().OpenPeer(kSelf, left().address()));
  std::vector<Parcel> sent;
  for (uint32_t id = 0; id < 10; ++id) sent.push_back(MakeParcel(id, 400));
  SendAll(left(), kSelf, sent);
  KeepUntil(left(), 10);
  ASSERT_EQ(received_.size(), 10u);
  for (uint32_t id = 0; id < 10; ++id) EXPECT_EQ(IdOf(received_[id]), id);
  ExpectSilence(right());
}

TEST_P(DatapathConformance, NothingLeavesForAClosedPeer) {
  left().ClosePeer(kRight);
  left().ClosePeer(kRight);  // Again: nothing.
  left().ClosePeer(PeerId{900});
  ExpectSilence(right());
  ASSERT_TRUE(left().OpenPeer(kRight, right().address()));
  ExchangeInOrder({MakeParcel(1, 100)});
}

TEST_P(DatapathConformance, AnAddressOfGarbageIsRefused) {
  constexpr PeerId kOther{7};
  PlaneAddress address;
  EXPECT_FALSE(left().OpenPeer(kOther, address));
  address = right().address();
  address.length = static_cast<uint8_t>(address.length - 1);
  EXPECT_FALSE(left().OpenPeer(kOther, address));
  address.length = 255;
  EXPECT_FALSE(left().OpenPeer(kOther, address));
  address = right().address();
  address.max_packet_bytes = 0;
  EXPECT_FALSE(left().OpenPeer(kOther, address));
  address = right().address();
  address.bytes[0] = std::byte{0xee};
  EXPECT_FALSE(left().OpenPeer(kOther, address));
  ExchangeInOrder({MakeParcel(1, 100)});  // The others are not disturbed.
}

TEST_P(DatapathConformance, ThePeersLimitCounts) {
  const uint32_t max = left().max_packet_bytes(kRight);
  EXPECT_GE(max, 256u);
  EXPECT_LE(max, left().address().max_packet_bytes);
  EXPECT_LE(max, right().address().max_packet_bytes);
  PlaneAddress small = right().address();
  small.max_packet_bytes = 300;
  left().ClosePeer(kRight);
  ASSERT_TRUE(left().OpenPeer(kRight, small));
  EXPECT_EQ(left().max_packet_bytes(kRight), 300u);
  ExchangeInOrder({MakeParcel(1, 300), MakeParcel(2, 300)});
}

TEST_P(DatapathConformance, OnePlaneHasManyPeers) {
  // Two ids of one plane, and between them one of another.
  const std::vector<PeerId> peers = {PeerId{0}, PeerId{1}, PeerId{200}};
  ASSERT_TRUE(left().OpenPeer(peers[0], right().address()));
  ASSERT_TRUE(left().OpenPeer(peers[1], left().address()));
  ASSERT_TRUE(left().OpenPeer(peers[2], right().address()));
  std::vector<Parcel> sent;
  std::vector<TxPacket> batch;
  for (uint32_t id = 0; id < 30; ++id) sent.push_back(MakeParcel(id, 150));
  for (uint32_t id = 0; id < 30; ++id) {
    batch.push_back(PacketOf(sent[id], peers[id / 2 % 3]));
  }
  left().Send(batch);
  KeepUntil(right(), 20);
  ASSERT_EQ(received_.size(), 20u);
  KeepUntil(left(), 30);
  ASSERT_EQ(received_.size(), 30u);
  std::vector<int64_t> newest(3, -1);
  for (size_t i = 0; i < 30; ++i) {
    const uint32_t id = IdOf(received_[i]);
    ASSERT_LT(id, 30u);
    EXPECT_TRUE(received_[i] == sent[id].bytes);
    EXPECT_EQ(id / 2 % 3 == 1, i >= 20);
    EXPECT_GT(int64_t{id}, newest[id / 2 % 3]);
    newest[id / 2 % 3] = id;
  }
}

}  // namespace hawser
