#include "transport/path/number_window.h"

#include <map>
#include <utility>

#include "gtest/gtest.h"
#include "transport/base/random.h"

namespace hawser {
namespace {

TEST(NumberWindow, Set__is_had_until_cleared) {
  NumberWindow window;
  EXPECT_FALSE(window.Has(70));
  window.Set(70);
  EXPECT_TRUE(window.Has(70));
  EXPECT_FALSE(window.Has(69));
  EXPECT_FALSE(window.Has(71));
  window.Clear(70);
  EXPECT_FALSE(window.Has(70));
  window.Set(3);
  window.ClearAll();
  EXPECT_FALSE(window.Has(3));
}

TEST(NumberWindow, Read__newest_first_wherever_it_begins) {
  NumberWindow window;
  std::map<uint64_t, bool> model;
  Random random(1);
  for (uint64_t n = 0; n < 5'000; ++n) {
    window.Clear(n);
    model[n] = random.Chance(0.5);
    if (model[n]) window.Set(n);
    for (uint64_t back : {uint64_t{0}, uint64_t{64}, uint64_t{300},
                          uint64_t{wire::kAckWindow - 64}}) {
      if (back + 63 > n) continue;
      const uint64_t bits = window.Read(n - back);
      for (uint64_t i = 0; i < 64; ++i) {
        ASSERT_EQ((bits >> i) & 1, model[n - back - i]) << n << " " << back;
      }
    }
  }
}

TEST(NumberWindow, Set__the_first_word_is_kept_when_others_come) {
  NumberWindow window;
  for (uint64_t n : {0u, 7u, 63u}) window.Set(n);
  EXPECT_EQ(window.Read(63), uint64_t{1} << 63 | uint64_t{1} << 56 | 1);
  EXPECT_FALSE(window.Has(64 + 7));
  window.Set(64);
  for (uint64_t n : {0u, 7u, 63u, 64u}) EXPECT_TRUE(window.Has(n)) << n;
  EXPECT_FALSE(window.Has(8));
  EXPECT_EQ(window.Read(64), uint64_t{1} << 57 | 0b11);
  NumberWindow moved = std::move(window);
  EXPECT_EQ(moved.Read(63), uint64_t{1} << 63 | uint64_t{1} << 56 | 1);
  moved.ClearAll();
  EXPECT_EQ(moved.Read(64), 0u);
}

}  // namespace
}  // namespace hawser
