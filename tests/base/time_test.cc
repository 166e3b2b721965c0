#include "transport/base/time.h"

#include <gtest/gtest.h>

namespace hawser {
namespace {

TEST(Duration, Units__agree) {
  EXPECT_EQ(Duration().nanos(), 0);
  EXPECT_EQ(Duration::Nanos(7).nanos(), 7);
  EXPECT_EQ(Duration::Micros(7), Duration::Nanos(7'000));
  EXPECT_EQ(Duration::Millis(7), Duration::Micros(7'000));
  EXPECT_EQ(Duration::Seconds(7), Duration::Millis(7'000));
  EXPECT_EQ(Duration::Seconds(9'000'000'000).nanos(),
            9'000'000'000'000'000'000);
  EXPECT_EQ(Duration::Max().nanos(), INT64_MAX);
}

TEST(Duration, Units__are_cut_toward_zero) {
  EXPECT_EQ(Duration::Nanos(1'999).micros(), 1);
  EXPECT_EQ(Duration::Nanos(-1'999).micros(), -1);
  EXPECT_EQ(Duration::Micros(1'999).millis(), 1);
}

TEST(Duration, Arithmetic) {
  const Duration a = Duration::Micros(3), b = Duration::Micros(2);
  EXPECT_EQ(a + b, Duration::Micros(5));
  EXPECT_EQ(b - a, Duration::Micros(-1));
  EXPECT_EQ(a * 4, Duration::Micros(12));
  EXPECT_EQ(4 * a, a * 4);
  EXPECT_EQ(a / 2, Duration::Nanos(1'500));
  EXPECT_DOUBLE_EQ(a / b, 1.5);
  Duration c = a;
  c += b;
  EXPECT_EQ(c, Duration::Micros(5));
  c -= a;
  EXPECT_EQ(c, b);
}

TEST(Duration, Order) {
  EXPECT_LT(Duration::Nanos(-1), Duration());
  EXPECT_LT(Duration(), Duration::Nanos(1));
  EXPECT_LT(Duration::Seconds(1), Duration::Max());
}

TEST(Time, Arithmetic) {
  const Time start = Time::FromNanos(100);
  EXPECT_EQ(start + Duration::Nanos(5), Time::FromNanos(105));
  EXPECT_EQ(start - Duration::Nanos(5), Time::FromNanos(95));
  EXPECT_EQ(Time::FromNanos(105) - start, Duration::Nanos(5));
  EXPECT_EQ(start - Time::FromNanos(105), Duration::Nanos(-5));
}

TEST(Time, Never__is_later_than_everything) {
  EXPECT_LT(Time(), Time::Never());
  EXPECT_LT(Time::FromNanos(INT64_MAX - 1), Time::Never());
  EXPECT_EQ(std::min(Time::Never(), Time::FromNanos(3)), Time::FromNanos(3));
}

TEST(Rate, Units__agree) {
  EXPECT_EQ(Rate::GigabitsPerSecond(400), Rate::MegabitsPerSecond(400'000));
  EXPECT_EQ(Rate::MegabitsPerSecond(1), Rate::BitsPerSecond(1'000'000));
}

TEST(Rate, Unlimited__takes_no_time) {
  EXPECT_TRUE(Rate().unlimited());
  EXPECT_TRUE(Rate::Unlimited().unlimited());
  EXPECT_FALSE(Rate::BitsPerSecond(1).unlimited());
  EXPECT_EQ(Rate::Unlimited().TimeToSend(UINT64_MAX), Duration());
}

TEST(Rate, TimeToSend) {
  EXPECT_EQ(Rate::GigabitsPerSecond(8).TimeToSend(4'096).nanos(), 4'096);
  EXPECT_EQ(Rate::GigabitsPerSecond(400).TimeToSend(4'096).nanos(), 81);
  EXPECT_EQ(Rate::BitsPerSecond(8).TimeToSend(1), Duration::Seconds(1));
  EXPECT_EQ(Rate::GigabitsPerSecond(1).TimeToSend(0), Duration());
  // 1 TiB at 1 Mb/s is 102 days; 64-bit bit counts times 10^9 would overflow.
  EXPECT_NEAR(Rate::MegabitsPerSecond(1).TimeToSend(uint64_t{1} << 40) /
                  Duration::Seconds(1),
              8'796'093.0, 1.0);
}

TEST(Rate, Of__is_the_inverse_of_TimeToSend) {
  EXPECT_EQ(Rate::Of(4'096, Duration::Nanos(4'096)),
            Rate::GigabitsPerSecond(8));
  EXPECT_EQ(Rate::Of(1, Duration::Seconds(1)), Rate::BitsPerSecond(8));
  for (const int64_t gigabits : {1, 25, 100, 400, 1'600}) {
    const Rate rate = Rate::GigabitsPerSecond(gigabits);
    const Rate again = Rate::Of(1 << 30, rate.TimeToSend(1 << 30));
    EXPECT_NEAR(static_cast<double>(again.bits_per_second()) /
                    static_cast<double>(rate.bits_per_second()),
                1.0, 1e-6);
  }
}

TEST(Rate, Of__is_never_unlimited) {
  EXPECT_FALSE(Rate::Of(0, Duration::Seconds(1)).unlimited());
  EXPECT_FALSE(Rate::Of(1, Duration::Seconds(1'000'000)).unlimited());
}

}  // namespace
}  // namespace hawser
