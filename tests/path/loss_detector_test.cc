#include "transport/path/loss_detector.h"

#include <initializer_list>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "transport/base/random.h"

namespace hawser {
namespace {

constexpr PathId kPath{3};
constexpr uint32_t kBytes = 100;
constexpr Duration kNoTimeRule = Duration::Max();

// A detector with its log; packet n leaves at n microseconds.
struct Fixture {
  SentLog log;
  LossDetector losses;
  SettledList out;

  void Send(int packets, Duration between = Duration::Micros(1)) {
    for (int i = 0; i < packets; ++i) {
      wire::Cargo cargo;
      cargo.message = {static_cast<uint32_t>(log.end().value)};
      log.Add(cargo, kBytes, now);
      now = now + between;
    }
  }
  AckSummary Ack(std::initializer_list<uint64_t> numbers,
                 Duration reorder_time = kNoTimeRule) {
    out.clear();
    return losses.OnAck(AckOf(numbers), log, kPath, reorder_time, out);
  }
  static wire::Ack AckOf(std::initializer_list<uint64_t> numbers) {
    wire::Ack ack;
    ack.path = kPath;
    ack.largest = {*(numbers.end() - 1)};
    for (const uint64_t n : numbers) {
      const uint64_t i = ack.largest.value - n;
      ack.arrived[i / 64] |= uint64_t{1} << (i % 64);
      ack.words =
          std::max<uint8_t>(ack.words, static_cast<uint8_t>(i / 64 + 1));
    }
    return ack;
  }
  // "+0 +1 -2": 0 and 1 delivered, 2 lost, in the order of `out`.
  std::string Fates() const {
    std::string text;
    for (const Settled& s : out) {
      EXPECT_EQ(s.path, kPath);
      text += text.empty() ? "" : " ";
      text += s.fate == Fate::kDelivered ? '+' : '-';
      text += std::to_string(s.cargo.message.value);
    }
    return text;
  }
  Time now;
};

TEST(LossDetector, OnAck__settles_what_arrived_oldest_first) {
  Fixture f;
  f.Send(4);
  const AckSummary summary = f.Ack({0, 1, 3});
  EXPECT_EQ(f.Fates(), "+0 +1 +3");
  EXPECT_TRUE(summary.valid);
  EXPECT_TRUE(summary.progress);
  EXPECT_EQ(summary.acked_packets, 3u);
  EXPECT_EQ(summary.acked_bytes, 3 * kBytes);
  EXPECT_EQ(summary.lost_packets, 0u);
  EXPECT_EQ(summary.newest_sent_at, Time() + Duration::Micros(3));
  EXPECT_TRUE(summary.newest_is_largest);
  EXPECT_EQ(f.log.in_flight_bytes(), kBytes);
}

TEST(LossDetector, OnAck__the_same_again_is_no_news) {
  Fixture f;
  f.Send(4);
  f.Ack({0, 1});
  const AckSummary summary = f.Ack({0, 1});
  EXPECT_TRUE(summary.valid);
  EXPECT_FALSE(summary.progress);
  EXPECT_EQ(f.Fates(), "");
}

TEST(LossDetector, OnAck__never_sent_changes_nothing) {
  Fixture f;
  EXPECT_FALSE(f.Ack({0}).valid);
  f.Send(4);
  const AckSummary summary = f.Ack({1, 2, 4});
  EXPECT_FALSE(summary.valid);
  EXPECT_FALSE(summary.progress);
  EXPECT_EQ(f.Fates(), "");
  EXPECT_EQ(f.log.open_packets(), 4u);
}

TEST(LossDetector, OnAck__forgotten_numbers_are_ignored) {
  Fixture f;
  f.Send(200);
  wire::Ack ack;
  ack.largest = {199};
  ack.words = wire::kAckWords;
  for (uint64_t& word : ack.arrived) word = ~uint64_t{0};
  EXPECT_EQ(f.losses.OnAck(ack, f.log, kPath, kNoTimeRule, f.out).acked_packets,
            200u);
  f.log.Trim(f.log.end());
  f.Send(2);
  f.out.clear();
  EXPECT_FALSE(f.losses.OnAck(ack, f.log, kPath, kNoTimeRule, f.out).progress);
  ack.largest = {201};
  EXPECT_EQ(f.losses.OnAck(ack, f.log, kPath, kNoTimeRule, f.out).acked_packets,
            2u);
}

TEST(LossDetector, OnAck__newest_may_not_be_the_largest) {
  Fixture f;
  f.Send(4);
  f.Ack({3});
  const AckSummary summary = f.Ack({1, 3});
  EXPECT_TRUE(summary.progress);
  EXPECT_FALSE(summary.newest_is_largest);
  EXPECT_EQ(summary.newest_sent_at, Time() + Duration::Micros(1));
}

TEST(LossDetector, OnAck__a_gap_of_three_is_a_loss) {
  Fixture f;
  f.Send(10);
  EXPECT_EQ(f.Ack({1, 2}).lost_packets, 0u);
  const AckSummary summary = f.Ack({1, 2, 3});
  EXPECT_EQ(summary.lost_packets, 1u);
  EXPECT_EQ(summary.lost_bytes, kBytes);
  EXPECT_EQ(f.Fates(), "+3 -0");
  EXPECT_EQ(f.log.open_packets(), 6u);
  f.Ack({9});
  EXPECT_EQ(f.Fates(), "+9 -4 -5 -6");
}

TEST(LossDetector, OnAck__an_older_ack_still_counts_the_gap_from_the_newest) {
  Fixture f;
  f.Send(4);
  f.Ack({2});
  f.Send(1);
  f.Ack({1});
  EXPECT_EQ(f.Fates(), "+1");
  f.Ack({3});
  EXPECT_EQ(f.Fates(), "+3 -0");
}

TEST(LossDetector, OnAck__overtaken_by_much_later_is_a_loss) {
  Fixture f;
  f.Send(1);
  f.now = f.now + Duration::Micros(500);
  f.Send(1);
  f.Ack({1}, Duration::Micros(600));
  EXPECT_EQ(f.Fates(), "+1");
  f.Send(1);
  f.Ack({2}, Duration::Micros(400));
  EXPECT_EQ(f.Fates(), "+2 -0");
}

TEST(LossDetector, OnAck__spurious_is_counted_and_not_settled_again) {
  Fixture f;
  f.Send(10);
  f.Ack({3, 4, 5});
  EXPECT_EQ(f.Fates(), "+3 +4 +5 -0 -1 -2");
  const AckSummary summary = f.Ack({0, 1, 3, 4, 5});
  EXPECT_EQ(f.Fates(), "");
  EXPECT_TRUE(summary.progress);
  EXPECT_EQ(summary.spurious_packets, 2u);
  EXPECT_EQ(summary.acked_packets, 0u);
  EXPECT_EQ(summary.acked_bytes, 0u);
  EXPECT_FALSE(f.Ack({0, 1, 3, 4, 5}).progress);
}

TEST(LossDetector, OnAck__spurious_losses_widen_the_threshold) {
  Fixture f;
  uint32_t expected = LossDetector::kMinReorder;
  for (int round = 0; round < 10; ++round) {
    EXPECT_EQ(f.losses.reorder_packets(), expected);
    const uint64_t first = f.log.end().value;
    f.Send(200);
    f.Ack({first + 199});  // All before it are lost or will be.
    f.Ack({first, first + 1, first + 199});
    expected = std::min(expected * 2, LossDetector::kMaxReorder);
    for (uint64_t n = first; n < first + 199; ++n) {
      if (f.log[{n}].state == SentPacket::State::kOpen) {
        f.log.Settle({n}, SentPacket::State::kLost);
      }
    }
    f.log.Trim(f.log.end());
  }
  EXPECT_EQ(f.losses.reorder_packets(), LossDetector::kMaxReorder);
}

TEST(LossDetector, OnAck__order_kept_narrows_the_threshold) {
  Fixture f;
  f.Send(10);
  f.Ack({3});
  f.Ack({0, 3});
  EXPECT_EQ(f.losses.reorder_packets(), 6u);
  uint64_t acked = 0;
  while (f.losses.reorder_packets() > LossDetector::kMinReorder) {
    f.Send(1);
    const uint64_t n = f.log.end().value - 1;
    acked += f.Ack({n}).acked_packets;
    f.log.Trim(f.log.end());
    ASSERT_LT(acked, 10'000u);
  }
  EXPECT_EQ(acked, 3 * 1024u);
}

TEST(LossDetector, OnSilence__all_that_is_open_is_lost) {
  Fixture f;
  f.Send(4);
  f.Ack({1});
  f.out.clear();
  const AckSummary summary = f.losses.OnSilence(f.log, kPath, f.out);
  EXPECT_EQ(f.Fates(), "-0 -2 -3");
  EXPECT_EQ(summary.lost_packets, 3u);
  EXPECT_EQ(summary.lost_bytes, 3 * kBytes);
  EXPECT_FALSE(summary.progress);
  EXPECT_TRUE(summary.silent);
  EXPECT_EQ(f.log.open_packets(), 0u);
}

TEST(LossDetector, OnSilence__what_comes_after_it_was_late_and_not_reordered) {
  Fixture f;
  f.Send(4);
  f.losses.OnSilence(f.log, kPath, f.out);
  const AckSummary summary = f.Ack({0, 1, 2, 3});
  EXPECT_EQ(summary.spurious_packets, 4u);
  EXPECT_TRUE(summary.progress);
  EXPECT_EQ(f.losses.reorder_packets(), LossDetector::kMinReorder);
}

TEST(LossDetector, OnOvertaken__what_was_sent_before_is_lost) {
  Fixture f;
  f.Send(5);
  f.Ack({0});
  f.out.clear();
  const AckSummary summary =
      f.losses.OnOvertaken(Time() + Duration::Micros(3), f.log, kPath, f.out);
  EXPECT_EQ(f.Fates(), "-1 -2");
  EXPECT_EQ(summary.lost_packets, 2u);
  EXPECT_EQ(f.log.in_flight_bytes(), 2 * kBytes);
  // They come after all: the path has not reordered anything.
  const AckSummary late = f.Ack({1, 2, 3});
  EXPECT_EQ(late.spurious_packets, 2u);
  EXPECT_EQ(f.losses.reorder_packets(), LossDetector::kMinReorder);
}

}  // namespace
}  // namespace hawser
