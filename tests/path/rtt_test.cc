#include "transport/path/rtt.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

TEST(RttEstimator, OnSample__the_first_is_everything) {
  RttEstimator rtt;
  EXPECT_FALSE(rtt.has_sample());
  rtt.OnSample(Duration::Micros(80));
  EXPECT_TRUE(rtt.has_sample());
  EXPECT_EQ(rtt.latest(), Duration::Micros(80));
  EXPECT_EQ(rtt.smoothed(), Duration::Micros(80));
  EXPECT_EQ(rtt.variance(), Duration::Micros(40));
}

TEST(RttEstimator, OnSample__smooths_as_rfc_6298) {
  RttEstimator rtt;
  rtt.OnSample(Duration::Micros(80));
  rtt.OnSample(Duration::Micros(160));
  EXPECT_EQ(rtt.latest(), Duration::Micros(160));
  EXPECT_EQ(rtt.variance(), Duration::Micros(50));  // (3 * 40 + 80) / 4
  EXPECT_EQ(rtt.smoothed(), Duration::Micros(90));  // (7 * 80 + 160) / 8
}

TEST(RttEstimator, OnSample__converges) {
  RttEstimator rtt;
  rtt.OnSample(Duration::Millis(50));
  for (int i = 0; i < 200; ++i) rtt.OnSample(Duration::Micros(20));
  EXPECT_LT(rtt.smoothed(), Duration::Micros(21));
  EXPECT_LT(rtt.variance(), Duration::Micros(1));
}

TEST(RttEstimator, OnSample__no_time_is_a_nanosecond) {
  RttEstimator rtt;
  rtt.OnSample(Duration::Nanos(-5));
  EXPECT_EQ(rtt.smoothed(), Duration::Nanos(1));
}

}  // namespace
}  // namespace hawser
