#include "transport/path/packet_size.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr Time kStart = Time::FromNanos(1'000'000'000);

void Strike(PacketSize& size, uint32_t bytes, int times, Time now) {
  for (int i = 0; i < times; ++i) size.OnLost(bytes, now);
}

TEST(PacketSize, limit__none_at_first) {
  PacketSize size;
  EXPECT_EQ(size.limit_bytes(), PacketSize::kUnlimited);
}

TEST(PacketSize, OnLost__three_in_a_row_halve) {
  PacketSize size;
  Strike(size, 8228, 2, kStart);
  EXPECT_EQ(size.limit_bytes(), PacketSize::kUnlimited);
  size.OnLost(8228, kStart);
  EXPECT_EQ(size.limit_bytes(), 4114u);
  Strike(size, 4100, 3, kStart);
  EXPECT_EQ(size.limit_bytes(), 2050u);
  Strike(size, 2020, 3, kStart);
  EXPECT_EQ(size.limit_bytes(), PacketSize::kBaseBytes);
  Strike(size, 1188, 3, kStart);
  EXPECT_EQ(size.limit_bytes(), PacketSize::kLeastBytes);
  Strike(size, 548, 100, kStart);
  EXPECT_EQ(size.limit_bytes(), PacketSize::kLeastBytes);
}

TEST(PacketSize, OnDelivered__of_that_size_or_more_forgives) {
  PacketSize size;
  for (int i = 0; i < 100; ++i) {
    Strike(size, 4000, 2, kStart);
    size.OnDelivered(4000, kStart);
  }
  EXPECT_EQ(size.limit_bytes(), PacketSize::kUnlimited);
  Strike(size, 4000, 2, kStart);
  size.OnDelivered(3999, kStart);  // That says nothing of 4000.
  size.OnLost(4000, kStart);
  EXPECT_EQ(size.limit_bytes(), 2000u);
}

TEST(PacketSize, safe__what_arrived_since_the_last_loss) {
  PacketSize size;
  EXPECT_EQ(size.safe_bytes(), PacketSize::kLeastBytes);
  size.OnDelivered(100, kStart);
  EXPECT_EQ(size.safe_bytes(), PacketSize::kLeastBytes);
  size.OnDelivered(3000, kStart);
  size.OnDelivered(2000, kStart);
  EXPECT_EQ(size.safe_bytes(), 3000u);
  size.OnLoss();
  EXPECT_EQ(size.safe_bytes(), PacketSize::kLeastBytes);
}

TEST(PacketSize, wanted__until_it_was_tried) {
  PacketSize size;
  EXPECT_FALSE(size.wanted());
  size.OnWanted();
  EXPECT_TRUE(size.wanted());
  EXPECT_TRUE(size.may_try(kStart));
  size.OnTried(8000, kStart);
  EXPECT_FALSE(size.wanted());
  size.OnWanted();
  EXPECT_FALSE(size.may_try(kStart));
  EXPECT_TRUE(size.may_try(kStart + PacketSize::kFirstPause));
}

TEST(PacketSize, OnTried__one_that_was_answered_is_no_reason_to_ask_less) {
  PacketSize size;
  Time now = kStart;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(size.may_try(now));
    size.OnTried(8000, now);
    size.OnDelivered(7999, now);  // Something else.
    size.OnDelivered(8000, now);
    size.OnLoss();
    now = now + PacketSize::kFirstPause;
  }
  for (int i = 0; i < 2; ++i) size.OnTried(8000, now);
  EXPECT_FALSE(size.may_try(now + PacketSize::kFirstPause));
}

TEST(PacketSize, OnLost__the_smallest_of_the_lost_counts) {
  PacketSize size;
  size.OnLost(8000, kStart);
  size.OnLost(3000, kStart);
  size.OnLost(8000, kStart);
  EXPECT_EQ(size.limit_bytes(), 1500u);
}

TEST(PacketSize, larger__is_tried_with_growing_pauses) {
  PacketSize size;
  Strike(size, 8228, 3, kStart);
  Strike(size, 4114, 3, kStart);
  ASSERT_EQ(size.limit_bytes(), 2057u);
  Time now = kStart;
  Duration pause = PacketSize::kFirstPause;
  for (int i = 0; i < 15; ++i) {
    EXPECT_FALSE(size.may_try(now + pause - Duration::Nanos(1)));
    now = now + pause;
    ASSERT_TRUE(size.may_try(now));
    if (i > 0) pause = std::min(2 * pause, PacketSize::kLastPause);
    EXPECT_EQ(size.larger_bytes(), 4114u);
    size.OnTried(size.larger_bytes(), now);
    size.OnLost(8228, now);  // No strike: it was expected.
    EXPECT_EQ(size.limit_bytes(), 2057u);
  }
  EXPECT_EQ(pause, PacketSize::kLastPause);
}

TEST(PacketSize, larger__step_by_step_and_then_no_limit) {
  PacketSize size;
  Strike(size, 8228, 3, kStart);
  Strike(size, 4114, 3, kStart);
  Strike(size, 2057, 3, kStart);
  ASSERT_EQ(size.limit_bytes(), 1200u);
  const Time now = kStart + PacketSize::kFirstPause;
  ASSERT_TRUE(size.may_try(now));
  EXPECT_EQ(size.larger_bytes(), 2400u);
  size.OnTried(size.larger_bytes(), now);
  size.OnDelivered(2400, now);
  EXPECT_EQ(size.limit_bytes(), 2400u);
  EXPECT_TRUE(size.may_try(now));  // The next step at once.
  EXPECT_EQ(size.larger_bytes(), 4800u);
  size.OnDelivered(4800, now);
  EXPECT_EQ(size.larger_bytes(), PacketSize::kUnlimited);
  size.OnDelivered(8228, now);
  EXPECT_EQ(size.limit_bytes(), PacketSize::kUnlimited);
}

}  // namespace
}  // namespace hawser
