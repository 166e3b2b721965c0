#include "transport/spray/round_robin.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "transport/base/random.h"
#include "transport/congestion/fixed_window.h"

namespace hawser {
namespace {

constexpr Time kNow = Time::FromNanos(1'000'000);

std::vector<Path> Paths(uint16_t count) {
  std::vector<Path> paths;
  for (uint16_t p = 0; p < count; ++p) {
    paths.emplace_back(PathId{p}, std::make_unique<FixedWindow>(1'000'000),
                       PathOptions());
  }
  return paths;
}

TEST(RoundRobin, Pick__each_sendable_path_in_turn) {
  const std::vector<Path> paths = Paths(70);
  const std::vector<uint64_t> sendable{0b1011, 0b100000};
  RoundRobin scheduler;
  for (int round = 0; round < 3; ++round) {
    for (const uint16_t p : {0, 1, 3, 69}) {
      EXPECT_EQ(scheduler.Pick({paths, sendable}, kNow), PathId{p});
    }
  }
}

TEST(RoundRobin, Pick__no_path_if_none_is_sendable) {
  const std::vector<Path> paths = Paths(2);
  const std::vector<uint64_t> none{0};
  RoundRobin scheduler;
  EXPECT_EQ(scheduler.Pick({paths, none}, kNow), kNoPath);
  EXPECT_EQ(scheduler.Pick({{}, {}}, kNow), kNoPath);
}

TEST(RoundRobin, Pick__the_last_path_of_a_full_word) {
  const std::vector<Path> paths = Paths(64);
  const std::vector<uint64_t> last{uint64_t{1} << 63};
  RoundRobin scheduler;
  EXPECT_EQ(scheduler.Pick({paths, last}, kNow), PathId{63});
  EXPECT_EQ(scheduler.Pick({paths, last}, kNow), PathId{63});
  const std::vector<uint64_t> all{~uint64_t{0}};
  EXPECT_EQ(scheduler.Pick({paths, all}, kNow), PathId{0});
}

TEST(RoundRobin, Pick__the_next_above_whatever_the_bitmap) {
  const std::vector<Path> paths = Paths(200);
  Random random(1);
  RoundRobin scheduler;
  uint32_t next = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::vector<uint64_t> sendable(4);
    for (uint64_t& word : sendable) {
      if (random.Chance(0.5)) word = random.Next() & random.Next();
    }
    sendable[3] &= 0xff;  // 200 paths.
    PathId expected = kNoPath;
    for (uint32_t step = 0; step < 256; ++step) {
      const uint32_t p = (next + step) % 256;
      if ((sendable[p / 64] >> (p % 64)) & 1) {
        expected = {static_cast<uint16_t>(p)};
        next = p + 1;
        break;
      }
    }
    ASSERT_EQ(scheduler.Pick({paths, sendable}, kNow), expected) << i;
  }
}

}  // namespace
}  // namespace hawser
