#include "transport/path/pacer.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr Time kStart = Time::FromNanos(1'000'000'000);
constexpr Rate kRate = Rate::BitsPerSecond(8'000'000);  // A byte takes 1 us.

// How many packets of `bytes` leave back to back at `now`.
int Burst(Pacer& pacer, uint32_t bytes, Time now) {
  int packets = 0;
  for (; pacer.CanSend(now); ++packets) pacer.OnSent(bytes, now);
  return packets;
}

TEST(Pacer, CanSend__always_when_unlimited) {
  Pacer pacer(1'000);
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_TRUE(pacer.CanSend(kStart));
    pacer.OnSent(1'000'000, kStart);
  }
}

TEST(Pacer, CanSend__one_burst_and_then_at_the_rate) {
  Pacer pacer(10'000);
  pacer.SetRate(kRate);
  EXPECT_EQ(Burst(pacer, 1'000, kStart), 11);  // The last one may borrow.
  EXPECT_EQ(pacer.next(), kStart + Duration::Micros(1'000));
  Time now = kStart;
  uint64_t bytes = 0;
  while (now < kStart + Duration::Seconds(1)) {
    now = pacer.next();
    EXPECT_TRUE(pacer.CanSend(now));
    EXPECT_FALSE(pacer.CanSend(now - Duration::Nanos(1)));
    pacer.OnSent(1'000, now);
    bytes += 1'000;
  }
  EXPECT_NEAR(static_cast<double>(bytes), 1e6, 2e3);
}

TEST(Pacer, OnSent__saves_up_no_more_than_a_burst) {
  Pacer pacer(5'000);
  pacer.SetRate(kRate);
  Burst(pacer, 1'000, kStart);
  EXPECT_EQ(Burst(pacer, 1'000, kStart + Duration::Seconds(100)), 6);
}

TEST(Pacer, SetBurst__a_smaller_one_holds_at_once) {
  Pacer pacer(64'000);
  pacer.SetRate(kRate);
  pacer.SetBurst(10);
  EXPECT_EQ(Burst(pacer, 1'000, kStart), 1);
  EXPECT_EQ(pacer.next(), kStart + Duration::Micros(990));
}

}  // namespace
}  // namespace hawser
