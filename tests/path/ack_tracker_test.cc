#include "transport/path/ack_tracker.h"

#include <algorithm>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "transport/base/random.h"

namespace hawser {
namespace {

constexpr PathId kPath{5};
constexpr uint32_t kEvery = 4;
constexpr Duration kDelay = Duration::Micros(50);
constexpr Time kStart = Time::FromNanos(1'000'000);

wire::PacketHeader Packet(uint64_t number, uint16_t open_span = 0) {
  wire::PacketHeader header;
  header.path = kPath;
  header.number = {number};
  header.open_span = open_span;
  return header;
}

AckTracker Tracker() { return AckTracker(kPath, kEvery, kDelay); }

std::set<uint64_t> Arrived(const wire::Ack& ack) {
  std::set<uint64_t> numbers;
  for (uint64_t i = 0; i < uint64_t{64} * ack.words; ++i) {
    if ((ack.arrived[i / 64] >> (i % 64)) & 1) {
      numbers.insert(ack.largest.value - i);
    }
  }
  return numbers;
}

TEST(AckTracker, deadline__never_while_nothing_waits) {
  AckTracker acks = Tracker();
  EXPECT_EQ(acks.deadline(), Time::Never());
  EXPECT_FALSE(acks.TakeAck(kStart).has_value());
}

TEST(AckTracker, deadline__delay_after_the_first_that_waits) {
  AckTracker acks = Tracker();
  EXPECT_EQ(acks.OnPacket(Packet(0), false, kStart), Arrival::kNew);
  acks.OnPacket(Packet(1), false, kStart + Duration::Micros(20));
  EXPECT_EQ(acks.deadline(), kStart + kDelay);
  const auto ack = acks.TakeAck(kStart + kDelay);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->path, kPath);
  EXPECT_EQ(ack->largest, PacketNumber{1});
  EXPECT_EQ(ack->held, Duration::Micros(30));
  EXPECT_EQ(ack->words, 1);
  EXPECT_EQ(Arrived(*ack), (std::set<uint64_t>{0, 1}));
  EXPECT_EQ(acks.deadline(), Time::Never());
  EXPECT_FALSE(acks.TakeAck(kStart + kDelay).has_value());
}

TEST(AckTracker, deadline__at_once_after_every_so_many) {
  AckTracker acks = Tracker();
  for (uint64_t n = 0; n < kEvery; ++n) {
    EXPECT_GT(acks.deadline(), kStart);
    acks.OnPacket(Packet(n), false, kStart);
  }
  EXPECT_LE(acks.deadline(), kStart);
}

TEST(AckTracker, deadline__at_once_if_the_sender_asks) {
  wire::PacketHeader asks[3] = {Packet(0), Packet(0), Packet(0)};
  asks[0].ack_now = true;
  asks[1].padded = true;
  asks[2].cargo.kind = wire::CargoKind::kProbe;
  for (const auto& header : asks) {
    AckTracker acks = Tracker();
    acks.OnPacket(header, false, kStart);
    EXPECT_LE(acks.deadline(), kStart);
  }
}

TEST(AckTracker, deadline__at_once_when_a_gap_shows_or_fills) {
  AckTracker acks = Tracker();
  acks.OnPacket(Packet(0), false, kStart);
  acks.TakeAck(kStart);
  acks.OnPacket(Packet(2), false, kStart);
  EXPECT_LE(acks.deadline(), kStart);
  acks.TakeAck(kStart);
  acks.OnPacket(Packet(3), false, kStart);
  EXPECT_GT(acks.deadline(), kStart);
  acks.OnPacket(Packet(1), false, kStart);
  EXPECT_LE(acks.deadline(), kStart);
}

TEST(AckTracker, deadline__at_once_if_the_first_packets_are_missing) {
  AckTracker acks = Tracker();
  acks.OnPacket(Packet(2), false, kStart);
  EXPECT_LE(acks.deadline(), kStart);
}

TEST(AckTracker, expected__the_next_number) {
  AckTracker acks = Tracker();
  EXPECT_EQ(acks.expected(), PacketNumber{0});
  acks.OnPacket(Packet(0), false, kStart);
  EXPECT_EQ(acks.expected(), PacketNumber{1});
  acks.OnPacket(Packet(0x1'0000'0005), false, kStart);
  acks.OnPacket(Packet(0x1'0000'0002), false, kStart);  // Fills a gap.
  EXPECT_EQ(acks.expected(), PacketNumber{0x1'0000'0006});
}

TEST(AckTracker, IsNew__as_OnPacket_would_say) {
  Random random(5);
  AckTracker acks = Tracker();
  uint64_t newest = 0;
  for (int i = 0; i < 5000; ++i) {
    const uint64_t most = newest + (random.Chance(0.01) ? 2000 : 8);
    const uint64_t least = most - std::min<uint64_t>(most, 1200);
    const uint64_t number = random.Chance(0.5)
                                ? most - std::min(most, random.Below(16))
                                : least + random.Below(most - least + 1);
    const bool is_new = acks.IsNew({number});
    ASSERT_EQ(acks.OnPacket(Packet(number), false, kStart) == Arrival::kNew,
              is_new);
    newest = std::max(newest, number);
  }
}

TEST(AckTracker, deadline__what_is_only_asked_for_bears_patience) {
  constexpr Duration kPatience = Duration::Micros(100);
  AckTracker acks = Tracker();
  wire::PacketHeader asks = Packet(0);
  asks.ack_now = true;
  acks.OnPacket(asks, false, kStart, {kPatience, 3 * kPatience});
  EXPECT_EQ(acks.deadline(), kStart + kPatience);
  // A gap does not, nor does a probe.
  acks.OnPacket(Packet(2), false, kStart + kDelay, {kPatience, 3 * kPatience});
  EXPECT_EQ(acks.deadline(), kStart + kDelay);
  acks.TakeAck(kStart + kDelay);
  wire::PacketHeader probe = Packet(3);
  probe.cargo.kind = wire::CargoKind::kProbe;
  probe.ack_now = true;
  acks.OnPacket(probe, false, kStart + kDelay, {kPatience, 3 * kPatience});
  EXPECT_EQ(acks.deadline(), kStart + kDelay);
}

TEST(AckTracker, deadline__what_is_not_asked_for_waits_no_less) {
  AckTracker acks = Tracker();
  acks.OnPacket(Packet(0), false, kStart, {kDelay / 4, kDelay * 2});
  EXPECT_EQ(acks.deadline(), kStart + kDelay * 2);
  acks.TakeAck(kStart + kDelay);
  acks.OnPacket(Packet(1), false, kStart, {kDelay / 4, kDelay / 2});
  EXPECT_EQ(acks.deadline(), kStart + kDelay);
}

TEST(AckTracker, OnPacket__duplicates_are_told_and_answered_at_once) {
  AckTracker acks = Tracker();
  acks.OnPacket(Packet(0), false, kStart);
  acks.TakeAck(kStart);
  EXPECT_EQ(acks.OnPacket(Packet(0), true, kStart), Arrival::kDuplicate);
  const auto ack = acks.TakeAck(kStart);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(Arrived(*ack), (std::set<uint64_t>{0}));
  EXPECT_EQ(ack->ecn_marked, 0);
}

TEST(AckTracker, OnPacket__too_old_is_told_and_answered_at_once) {
  AckTracker acks = Tracker();
  acks.OnPacket(Packet(wire::kAckWindow), false, kStart);
  acks.TakeAck(kStart);
  EXPECT_EQ(acks.OnPacket(Packet(0), false, kStart), Arrival::kTooOld);
  EXPECT_LE(acks.deadline(), kStart);
  EXPECT_EQ(acks.OnPacket(Packet(1), false, kStart), Arrival::kNew);
}

TEST(AckTracker, OnPacket__a_great_leap_forgets_what_is_behind) {
  AckTracker acks = Tracker();
  for (uint64_t n = 0; n < 10; ++n) acks.OnPacket(Packet(n), false, kStart);
  const uint64_t far = 50 * wire::kAckWindow + 5;
  acks.OnPacket(Packet(far, wire::kAckWindow - 1), false, kStart);
  EXPECT_EQ(Arrived(*acks.TakeAck(kStart)), (std::set<uint64_t>{far}));
}

TEST(AckTracker, TakeAck__just_enough_words) {
  AckTracker acks = Tracker();
  for (uint64_t n = 0; n < 2'000; ++n) acks.OnPacket(Packet(n), false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->words, 1);
  acks.OnPacket(Packet(2'000, 0), false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->words, 1);
  // The sender never takes back that it does not care.
  acks.OnPacket(Packet(2'001, 500), false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->words, 1);
  acks.OnPacket(Packet(2'063, 63), false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->words, 1);
  acks.OnPacket(Packet(2'064, 64), false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->words, 2);
  acks.OnPacket(Packet(2'000 + wire::kAckWindow - 1, wire::kAckWindow - 1),
                false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->words, wire::kAckWords);
}

TEST(AckTracker, TakeAck__counts_marks_for_ever) {
  AckTracker acks = Tracker();
  acks.OnPacket(Packet(0), true, kStart);
  acks.OnPacket(Packet(1), false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->ecn_marked, 1);
  acks.OnPacket(Packet(2), true, kStart);
  EXPECT_EQ(acks.TakeAck(kStart)->ecn_marked, 2);
}

TEST(AckTracker, TakeAck__held_is_of_the_largest_and_fits_the_wire) {
  AckTracker acks = Tracker();
  acks.OnPacket(Packet(1), false, kStart);
  acks.OnPacket(Packet(0), false, kStart + Duration::Micros(30));
  EXPECT_EQ(acks.TakeAck(kStart + Duration::Micros(40))->held,
            Duration::Micros(40));
  acks.OnPacket(Packet(2), false, kStart);
  EXPECT_EQ(acks.TakeAck(kStart + Duration::Seconds(60))->held,
            Duration::Nanos(UINT32_MAX));
}

// Against a plain set, for many random arrivals.
TEST(AckTracker, TakeAck__says_what_arrived) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    AckTracker acks = Tracker();
    std::set<uint64_t> model;
    uint64_t next = 0, wanted = 0;
    for (int step = 0; step < 1'000; ++step) {
      uint64_t n = next;
      if (random.Chance(0.1)) n += random.Below(40);
      if (random.Chance(0.01)) n += random.Below(2'000);
      if (random.Chance(0.3)) n -= std::min(n, random.Below(1'500));
      next = std::max(next, n + 1);
      const uint64_t span =
          std::min<uint64_t>(n, random.Below(wire::kAckWindow));
      wanted = std::max(wanted, n - span);
      const Arrival arrival =
          acks.OnPacket(Packet(n, static_cast<uint16_t>(span)), false, kStart);
      const Arrival expected = next - 1 - n >= wire::kAckWindow
                                   ? Arrival::kTooOld
                               : model.contains(n) ? Arrival::kDuplicate
                                                   : Arrival::kNew;
      ASSERT_EQ(arrival, expected) << "seed " << seed << " step " << step;
      model.insert(n);
      if (!random.Chance(0.3)) continue;
      const auto ack = acks.TakeAck(kStart);
      ASSERT_TRUE(ack.has_value());
      ASSERT_EQ(ack->largest, PacketNumber{next - 1});
      const uint64_t reach =
          std::min<uint64_t>(std::min<uint64_t>(next, wire::kAckWindow),
                             uint64_t{64} * ack->words);
      ASSERT_GE(reach, std::min<uint64_t>(next - wanted, wire::kAckWindow));
      for (uint64_t i = 0; i < reach; ++i) {
        ASSERT_EQ((ack->arrived[i / 64] >> (i % 64)) & 1,
                  model.contains(next - 1 - i))
            << "seed " << seed << " step " << step << " back " << i;
      }
    }
  }
}

}  // namespace
}  // namespace hawser
