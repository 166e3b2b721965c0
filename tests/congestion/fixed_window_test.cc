#include "transport/congestion/fixed_window.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

TEST(FixedWindow, Always__the_same_window_without_pacing) {
  FixedWindow fixed(12345);
  EXPECT_EQ(fixed.initial().window_bytes, 12345u);
  EXPECT_TRUE(fixed.initial().pacing.unlimited());
  const Time now = Time::FromNanos(1'000);
  EXPECT_EQ(
      fixed.OnAck({now, Duration::Seconds(1), 100, 12345, 3}).window_bytes,
      12345u);
  EXPECT_EQ(fixed.OnLoss({now, 100, false}).window_bytes, 12345u);
  const Allowance after_timeout = fixed.OnLoss({now, 100, true});
  EXPECT_EQ(after_timeout.window_bytes, 12345u);
  EXPECT_TRUE(after_timeout.pacing.unlimited());
}

}  // namespace
}  // namespace hawser
