#include "transport/base/earliest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "transport/base/random.h"

namespace hawser {
namespace {

Time At(int64_t nanos) { return Time::FromNanos(nanos); }

std::vector<size_t> DueAt(const Earliest& times, Time now) {
  std::vector<size_t> due;
  times.ForEachDue(now, [&](size_t i) { due.push_back(i); });
  return due;
}

TEST(Earliest, first__never_where_nothing_is_set) {
  EXPECT_EQ(Earliest().first(), Time::Never());
  EXPECT_EQ(Earliest(5).first(), Time::Never());
  EXPECT_TRUE(DueAt(Earliest(5), At(1'000'000)).empty());
}

TEST(Earliest, Set__moves_both_ways) {
  Earliest times(3);
  times.Set(2, At(20));
  times.Set(0, At(10));
  EXPECT_EQ(times.first(), At(10));
  times.Set(0, At(30));
  EXPECT_EQ(times.first(), At(20));
  times.Set(2, Time::Never());
  EXPECT_EQ(times.first(), At(30));
  EXPECT_EQ(times[0], At(30));
}

TEST(Earliest, Grow__keeps_what_was_set) {
  Earliest times;
  for (size_t count = 1; count <= 70; ++count) {
    times.Grow(count);
    times.Set(count - 1, At(static_cast<int64_t>(1000 - count)));
    EXPECT_EQ(times.count(), count);
    EXPECT_EQ(times.first(), At(static_cast<int64_t>(1000 - count)));
  }
  EXPECT_EQ(times[0], At(999));
}

TEST(Earliest, ForEachDue__as_a_scan_would) {
  for (const size_t count : {1, 2, 7, 64, 100}) {
    Random random(count);
    Earliest times(count);
    std::vector<Time> model(count, Time::Never());
    for (int step = 0; step < 2000; ++step) {
      const auto i = static_cast<size_t>(random.Below(count));
      const Time when = random.Chance(0.2)
                            ? Time::Never()
                            : At(static_cast<int64_t>(random.Below(1000)));
      model[i] = when;
      times.Set(i, when);
      ASSERT_EQ(times.first(), *std::min_element(model.begin(), model.end()));
      const Time now = At(static_cast<int64_t>(random.Below(1000)));
      std::vector<size_t> due;
      for (size_t m = 0; m < count; ++m) {
        if (model[m] <= now) due.push_back(m);
      }
      ASSERT_EQ(DueAt(times, now), due);
    }
  }
}

}  // namespace
}  // namespace hawser
