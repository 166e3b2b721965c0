#include "transport/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace hawser {
namespace {

// The same on every machine, and at compile time.
static_assert(Random(0).Next() == 0xe220a8397b1dcdaf);

TEST(Random, Mix64__golden) {
  EXPECT_EQ(Mix64(0), 0u);
  EXPECT_EQ(Mix64(1), 0x5692161d100b05e5u);
  EXPECT_EQ(Mix64(UINT64_MAX), 0xb4d055fcf2cbbd7bu);
}

TEST(Random, Mix64__half_of_the_bits_move) {
  Random random(1);
  for (int bit = 0; bit < 64; ++bit) {
    int moved = 0;
    for (int i = 0; i < 1'000; ++i) {
      const uint64_t x = random.Next();
      moved += __builtin_popcountll(Mix64(x) ^ Mix64(x ^ uint64_t{1} << bit));
    }
    EXPECT_NEAR(moved / 1'000.0, 32, 2) << bit;
  }
}

TEST(Random, Next__golden) {
  // Computed by a second implementation; those of seed 1234567 are also what
  // others publish for SplitMix64.
  Random random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
  EXPECT_EQ(random.Next(), 4593380528125082431u);
  EXPECT_EQ(random.Next(), 16408922859458223821u);
  Random zero(0);
  EXPECT_EQ(zero.Next(), 0xe220a8397b1dcdafu);
  EXPECT_EQ(zero.Next(), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(zero.Next(), 0x06c45d188009454fu);
}

TEST(Random, Next__does_not_repeat) {
  Random random(1);
  std::set<uint64_t> seen;
  for (int i = 0; i < 100'000; ++i) seen.insert(random.Next());
  EXPECT_EQ(seen.size(), 100'000u);
}

TEST(Random, Below__golden) {
  Random random(0);
  for (const uint64_t expected : {8, 4, 0, 9, 1}) {
    EXPECT_EQ(random.Below(10), expected);
  }
}

TEST(Random, Below__uniform) {
  Random random(2);
  constexpr int kBound = 10, kDraws = 100'000;
  int counts[kBound] = {};
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t n = random.Below(kBound);
    ASSERT_LT(n, static_cast<uint64_t>(kBound));
    ++counts[n];
  }
  // Five standard deviations.
  const double sigma = std::sqrt(kDraws * 0.1 * 0.9);
  for (const int count : counts) {
    EXPECT_NEAR(count, kDraws / kBound, 5 * sigma);
  }
}

TEST(Random, Below__extremes) {
  Random random(3);
  uint64_t highest = 0;
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_EQ(random.Below(1), 0u);
    highest = std::max(highest, random.Below(UINT64_MAX));
  }
  EXPECT_GT(highest, UINT64_MAX / 100 * 99);
}

TEST(Random, Fraction__golden_and_in_range) {
  Random golden(0);
  EXPECT_EQ(golden.Fraction(), 0.8833108082136426);
  EXPECT_EQ(golden.Fraction(), 0.43152799704850997);
  Random random(4);
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double fraction = random.Fraction();
    ASSERT_GE(fraction, 0);
    ASSERT_LT(fraction, 1);
    sum += fraction;
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.005);
}

TEST(Random, Chance__never_and_always_draw_too) {
  Random never(5), always(5), plain(5);
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_FALSE(never.Chance(0));
    EXPECT_TRUE(always.Chance(1));
    plain.Next();
  }
  const uint64_t next = plain.Next();
  EXPECT_EQ(never.Next(), next);
  EXPECT_EQ(always.Next(), next);
}

TEST(Random, Chance__as_often_as_asked) {
  Random random(6);
  int hits = 0;
  for (int i = 0; i < 100'000; ++i) hits += random.Chance(0.02);
  EXPECT_NEAR(hits, 2'000, 5 * std::sqrt(100'000 * 0.02 * 0.98));
}

}  // namespace
}  // namespace hawser
