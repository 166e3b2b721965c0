#include "transport/message/range_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "transport/base/random.h"

namespace hawser {
namespace {

// Asked, and tried: whether there would be nothing to add.
bool Covers(RangeSet set, uint32_t begin, uint32_t end) {
  const bool covers = begin >= end || set.Covers(begin, end);
  EXPECT_EQ(covers, set.Add(begin, end) == 0) << begin << ' ' << end;
  return covers;
}

TEST(RangeSet, Add__to_an_empty_set) {
  const RangeSet set;
  EXPECT_FALSE(Covers(set, 0, 1));
  EXPECT_TRUE(Covers(set, 5, 5));  // No bytes are missing from no bytes.
}

TEST(RangeSet, Add__edges) {
  RangeSet set;
  set.Add(10, 20);
  set.Add(30, 40);
  EXPECT_TRUE(Covers(set, 10, 20));
  EXPECT_TRUE(Covers(set, 19, 20));
  EXPECT_FALSE(Covers(set, 9, 11));
  EXPECT_FALSE(Covers(set, 19, 21));
  EXPECT_FALSE(Covers(set, 10, 40));
  EXPECT_FALSE(Covers(set, 20, 30));
  EXPECT_TRUE(Covers(set, 30, 40));
  EXPECT_FALSE(Covers(set, 40, 41));
}

TEST(RangeSet, end__of_the_last_range) {
  RangeSet set;
  EXPECT_EQ(set.end(), 0u);
  set.Add(30, 40);
  set.Add(10, 20);
  EXPECT_EQ(set.end(), 40u);
  set.Clear();
  EXPECT_EQ(set.end(), 0u);
}

TEST(RangeSet, Add__in_order) {
  RangeSet set;
  for (uint32_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(set.Add(i * 128, i * 128 + 128), 128u);
  }
  EXPECT_EQ(set.covered_bytes(), 128000u);
  EXPECT_TRUE(Covers(set, 0, 128000));
}

TEST(RangeSet, Add__gap_is_closed) {
  RangeSet set;
  EXPECT_EQ(set.Add(0, 10), 10u);
  EXPECT_EQ(set.Add(20, 30), 10u);
  EXPECT_FALSE(Covers(set, 0, 30));
  EXPECT_EQ(set.Add(10, 20), 10u);
  EXPECT_TRUE(Covers(set, 0, 30));
  EXPECT_EQ(set.covered_bytes(), 30u);
}

TEST(RangeSet, Add__in_reverse) {
  RangeSet set;
  for (uint32_t i = 10; i-- > 0;) EXPECT_EQ(set.Add(i * 7, i * 7 + 7), 7u);
  EXPECT_TRUE(Covers(set, 0, 70));
  EXPECT_EQ(set.covered_bytes(), 70u);
}

TEST(RangeSet, Add__duplicate_adds_nothing) {
  RangeSet set;
  set.Add(0, 100);
  set.Add(200, 300);
  EXPECT_EQ(set.Add(0, 100), 0u);
  EXPECT_EQ(set.Add(20, 30), 0u);
  EXPECT_EQ(set.Add(250, 300), 0u);
  EXPECT_EQ(set.Add(50, 50), 0u);
  EXPECT_EQ(set.covered_bytes(), 200u);
}

TEST(RangeSet, Add__overlap_counts_only_what_is_new) {
  RangeSet set;
  set.Add(10, 20);
  set.Add(30, 40);
  set.Add(50, 60);
  EXPECT_EQ(set.Add(15, 55), 20u);
  EXPECT_TRUE(Covers(set, 10, 60));
  EXPECT_EQ(set.Add(0, 100), 50u);
  EXPECT_EQ(set.covered_bytes(), 100u);
}

TEST(RangeSet, Add__ends_of_the_number_range) {
  RangeSet set;
  EXPECT_EQ(set.Add(0xffffff00u, 0xffffffffu), 255u);
  EXPECT_EQ(set.Add(0, 1), 1u);
  EXPECT_EQ(set.Add(0, 0xffffffffu), 0xffffffffu - 256);
  EXPECT_EQ(set.covered_bytes(), 0xffffffffu);
}

// Against the plainest of models: a flag per byte.
TEST(RangeSet, Add__agrees_with_a_bitmap) {
  constexpr uint32_t kBytes = 400;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    RangeSet set;
    std::vector<bool> model(kBytes);
    for (int step = 0; step < 100; ++step) {
      const auto begin = static_cast<uint32_t>(random.Below(kBytes));
      const auto longest = std::min<uint64_t>(40, kBytes - begin);
      const auto end = begin + static_cast<uint32_t>(random.Below(longest + 1));
      const auto missing = static_cast<uint32_t>(
          std::count(model.begin() + begin, model.begin() + end, false));
      ASSERT_EQ(Covers(set, begin, end), missing == 0);
      if (begin < end) {
        ASSERT_EQ(set.Covers(begin, end), missing == 0);
        ASSERT_EQ(set.Meets(begin, end), missing < end - begin);
      }
      if (random.Chance(0.3)) continue;
      ASSERT_EQ(set.Add(begin, end), missing);
      std::fill(model.begin() + begin, model.begin() + end, true);
      ASSERT_EQ(set.covered_bytes(),
                std::count(model.begin(), model.end(), true));
    }
  }
}

TEST(RangeSet, Clear__starts_anew) {
  RangeSet set;
  set.Add(0, 10);
  set.Add(20, 30);
  set.Clear();
  EXPECT_EQ(set.covered_bytes(), 0u);
  EXPECT_FALSE(Covers(set, 0, 10));
  EXPECT_EQ(set.Add(5, 25), 20u);
}

}  // namespace
}  // namespace hawser
