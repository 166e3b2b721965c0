#include "transport/engine/naps.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

void Feed(Naps& naps, Duration late, int times) {
  for (int i = 0; i < times; ++i) naps.OnLate(late);
}

TEST(Naps, span__shortest_where_nobody_is_late) {
  Naps naps;
  EXPECT_EQ(naps.span(), Naps::kLeast);
  Feed(naps, Duration::Micros(5), 100);
  EXPECT_EQ(naps.span(), Naps::kLeast);
}

TEST(Naps, OnLate__a_tenth_of_a_nap) {
  Naps naps;
  Feed(naps, Duration::Micros(120), 100);
  EXPECT_NEAR(naps.span() / Duration::Micros(1200), 1, 0.01);
}

TEST(Naps, OnLate__not_beyond_what_peers_bear) {
  Naps naps;
  Feed(naps, Duration::Millis(40), 100);
  EXPECT_LE(naps.span(), Naps::kMost);
  EXPECT_NEAR(naps.span() / Naps::kMost, 1, 0.01);
}

TEST(Naps, OnLate__once_is_no_habit) {
  Naps naps;
  naps.OnLate(Duration::Seconds(3600));
  EXPECT_EQ(naps.span(), Naps::kLeast);
}

TEST(Naps, OnLate__a_better_time_shortens_them_again) {
  Naps naps;
  Feed(naps, Duration::Millis(1), 100);
  ASSERT_GT(naps.span(), 2 * Naps::kLeast);
  Feed(naps, Duration::Micros(5), 30);
  EXPECT_EQ(naps.span(), Naps::kLeast);
}

}  // namespace
}  // namespace hawser
