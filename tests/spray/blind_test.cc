// The schedulers that need nothing but feedback: all of them pick only what can
// send, and each keeps its own law.
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "transport/congestion/fixed_window.h"
#include "transport/spray/mixed.h"
#include "transport/spray/oblivious.h"
#include "transport/spray/reps.h"
#include "transport/spray/two_choices.h"

namespace hawser {
namespace {

constexpr Time kNow = Time::FromNanos(1'000'000);

// `count` paths that are all alike.
struct Alike {
  explicit Alike(uint32_t count)
      : sendable((count + 63) / 64, ~uint64_t{0}), paths(count) {
    if (count % 64 != 0) sendable.back() = (uint64_t{1} << count % 64) - 1;
  }
  PathView view() const { return {{}, sendable, paths}; }
  std::vector<uint64_t> sendable;
  uint32_t paths;
};

TEST(PathView, First__the_lowest_that_can_send) {
  Alike alike(70);
  EXPECT_EQ(alike.view().First(), PathId{0});
  alike.sendable = {0, 0b100000};
  EXPECT_EQ(alike.view().First(), PathId{69});
  EXPECT_TRUE(alike.view().CanSend(69));
  EXPECT_FALSE(alike.view().CanSend(68));
  EXPECT_FALSE(alike.view().CanSend(1000));
  alike.sendable = {0, 0};
  EXPECT_EQ(alike.view().First(), kNoPath);
}

TEST(Oblivious, Pick__every_path_once_in_a_round) {
  for (const uint32_t paths : {1u, 2u, 64u, 100u, 128u}) {
    const Alike alike(paths);
    Oblivious scheduler(7);
    for (int round = 0; round < 5; ++round) {
      std::set<uint16_t> seen;
      for (uint32_t i = 0; i < paths; ++i) {
        seen.insert(scheduler.Pick(alike.view(), kNow).value);
      }
      EXPECT_EQ(seen.size(), paths);
      EXPECT_LT(*seen.rbegin(), paths);
    }
  }
}

TEST(Oblivious, Pick__only_what_can_send) {
  Alike alike(128);
  alike.sendable = {0, 0b1001};
  Oblivious scheduler(7);
  std::map<uint16_t, int> counts;
  for (int i = 0; i < 100; ++i) {
    ++counts[scheduler.Pick(alike.view(), kNow).value];
  }
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts[64], 50, 2);
  alike.sendable = {0, 0};
  EXPECT_EQ(scheduler.Pick(alike.view(), kNow), kNoPath);
}

TEST(Mixed, Pick__what_came_back_clean_first_and_once) {
  const Alike alike(64);
  Mixed scheduler(7, /*recycles=*/true);
  scheduler.OnFeedback({5}, PathFeedback::kGood, 2, {});
  scheduler.OnFeedback({9}, PathFeedback::kGood, 1, {});
  EXPECT_EQ(scheduler.Pick(alike.view(), kNow), PathId{5});
  EXPECT_EQ(scheduler.Pick(alike.view(), kNow), PathId{5});
  EXPECT_EQ(scheduler.Pick(alike.view(), kNow), PathId{9});
  std::set<uint16_t> seen;
  for (int i = 0; i < 64; ++i) {
    seen.insert(scheduler.Pick(alike.view(), kNow).value);
  }
  EXPECT_EQ(seen.size(), 64u);
}

TEST(Mixed, Pick__passes_over_a_path_once_for_each_penalty) {
  const Alike alike(4);
  const struct {
    PathFeedback feedback;
    int rounds;
  } cases[] = {{PathFeedback::kMarked, 1},
               {PathFeedback::kLost, 4},
               {PathFeedback::kSilent, 15}};
  for (const auto& [feedback, rounds] : cases) {
    Mixed scheduler(7, /*recycles=*/false);
    scheduler.OnFeedback({2}, feedback, 1, {});
    // A round without it takes three picks.
    for (int i = 0; i < 3 * rounds; ++i) {
      EXPECT_NE(scheduler.Pick(alike.view(), kNow), PathId{2}) << i;
    }
    std::set<uint16_t> seen;
    for (int i = 0; i < 8; ++i) {
      seen.insert(scheduler.Pick(alike.view(), kNow).value);
    }
    EXPECT_EQ(seen.count(2), 1u);
  }
}

TEST(Mixed, Pick__penalties_end_where_all_are_penalised) {
  const Alike alike(4);
  Mixed scheduler(7, /*recycles=*/false);
  for (uint16_t p = 0; p < 4; ++p) {
    scheduler.OnFeedback({p}, PathFeedback::kSilent, 1, {});
    scheduler.OnFeedback({p}, PathFeedback::kSilent, 1,
                         {});  // No more than 15.
  }
  EXPECT_NE(scheduler.Pick(alike.view(), kNow), kNoPath);
}

TEST(Reps, Pick__recycles_each_clean_path_once_oldest_first) {
  const Alike alike(128);
  Reps scheduler(7);
  for (uint16_t p = 10; p < 18; ++p) {
    scheduler.OnFeedback({p}, PathFeedback::kGood, 1, {});
  }
  scheduler.OnFeedback({18}, PathFeedback::kGood, 1,
                       {});  // In the place of 10.
  scheduler.OnFeedback({19}, PathFeedback::kMarked, 1, {});
  for (uint16_t p = 11; p < 19; ++p) {
    EXPECT_EQ(scheduler.Pick(alike.view(), kNow), PathId{p});
  }
}

TEST(Reps, Pick__explores_evenly_where_nothing_is_left) {
  const Alike alike(16);
  Reps scheduler(7);
  std::map<uint16_t, int> counts;
  for (int i = 0; i < 16'000; ++i) {
    ++counts[scheduler.Pick(alike.view(), kNow).value];
  }
  for (const auto& [path, count] : counts) EXPECT_NEAR(count, 1000, 150);
}

TEST(Reps, Pick__frozen_it_uses_what_it_knows_over_and_over) {
  const Alike alike(128);
  Reps scheduler(7);
  scheduler.Pick(alike.view(), kNow);
  scheduler.OnFeedback({3}, PathFeedback::kGood, 1, {});
  scheduler.OnFeedback({4}, PathFeedback::kGood, 1, {});
  scheduler.OnFeedback({99}, PathFeedback::kSilent, 1, {});
  EXPECT_TRUE(scheduler.frozen(kNow));
  std::map<uint16_t, int> counts;
  for (int i = 0; i < 100; ++i) {
    ++counts[scheduler.Pick(alike.view(), kNow).value];
  }
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_EQ(counts[3], 50);
  // It thaws, and explores.
  const Time later = kNow + Reps::kFreeze;
  EXPECT_FALSE(scheduler.frozen(later));
  std::set<uint16_t> seen;
  for (int i = 0; i < 100; ++i) {
    seen.insert(scheduler.Pick(alike.view(), later).value);
  }
  EXPECT_GT(seen.size(), 30u);
}

TEST(TwoChoices, Pick__the_shorter_of_two) {
  std::vector<Path> paths;
  for (uint16_t p = 0; p < 8; ++p) {
    paths.emplace_back(PathId{p}, std::make_unique<FixedWindow>(1'000'000),
                       PathOptions());
    const PacketNumber n = paths[p].Send({}, 1'000, kNow).number;
    const Time then = kNow + Duration::Micros(p == 5 ? 10 : 20);
    wire::Ack ack;
    ack.path = {p};
    ack.largest = n;
    ack.arrived[0] = 1;
    SettledList out;
    paths[p].OnAck(ack, then, out, then);
  }
  const std::vector<uint64_t> sendable{0xff};
  TwoChoices scheduler(7);
  int best = 0;
  for (int i = 0; i < 8'000; ++i) {
    best += scheduler.Pick({paths, sendable}, kNow) == PathId{5};
  }
  // It is drawn, and so taken, in 1 - (7/8)^2 of all picks.
  EXPECT_NEAR(best, 8'000 * 15 / 64, 200);
  EXPECT_EQ(scheduler.Pick({paths, std::vector<uint64_t>{0}}, kNow), kNoPath);
}

}  // namespace
}  // namespace hawser
