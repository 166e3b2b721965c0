#include "transport/path/number_window.h"

#include <map>

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

}  // namespace
}  // namespace hawser
