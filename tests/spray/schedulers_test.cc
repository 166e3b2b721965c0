#include "transport/spray/schedulers.h"

#include <set>
#include <string_view>

#include "gtest/gtest.h"
#include "transport/congestion/fixed_window.h"

namespace hawser {
namespace {

TEST(MakeScheduler, each_name_picks_what_can_send) {
  std::vector<Path> paths;
  for (uint16_t p = 0; p < 4; ++p) {
    paths.emplace_back(PathId{p}, std::make_unique<FixedWindow>(1 << 20),
                       PathOptions());
  }
  std::set<std::string_view> names;
  for (const std::string_view name : SchedulerNames()) {
    EXPECT_TRUE(names.insert(name).second) << name;
    const auto scheduler = MakeScheduler(name, 4, 1);
    ASSERT_NE(scheduler, nullptr) << name;
    uint64_t sendable = 0b1010;
    const auto pick = [&] {
      return scheduler->Pick({paths, {&sendable, 1}}, Time()).value;
    };
    std::set<uint16_t> picked;
    for (int i = 0; i < 100; ++i) picked.insert(pick());
    EXPECT_EQ(picked, (std::set<uint16_t>{1, 3})) << name;
    sendable = 0;
    EXPECT_EQ(pick(), kNoPath.value) << name;
  }
  EXPECT_GE(names.size(), 8u);
}

TEST(MakeScheduler, no_such_name) {
  EXPECT_EQ(MakeScheduler("carrier_pigeon", 4, 1), nullptr);
  EXPECT_EQ(MakeScheduler("", 4, 1), nullptr);
}

}  // namespace
}  // namespace hawser
