#include "transport/spray/adaptive.h"

#include <map>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "transport/congestion/fixed_window.h"

namespace hawser {
namespace {

constexpr uint32_t kWindow = 100'000;
constexpr uint32_t kBytes = 1'000;
constexpr int kPicks = 10'000;

// Paths whose round trips, loads and ages the test sets by using them.
class Fixture {
 public:
  explicit Fixture(uint16_t count, uint64_t seed = 1) : adaptive(count, seed) {
    for (uint16_t p = 0; p < count; ++p) {
      paths.emplace_back(PathId{p}, std::make_unique<FixedWindow>(kWindow),
                         PathOptions());
      sendable.resize(p / 64 + 1);
      sendable[p / 64] |= uint64_t{1} << (p % 64);
    }
  }
  PathId Pick() { return adaptive.Pick({paths, sendable}, now); }
  void Send(uint16_t p, int packets) {
    for (int i = 0; i < packets; ++i) paths[p].Send({}, kBytes, now);
  }
  // Sends a packet and has it answered after `rtt`; time goes on by it.
  void Learn(uint16_t p, Duration rtt) {
    const PacketNumber n = paths[p].Send({}, kBytes, now).number;
    now = now + rtt;
    wire::Ack ack;
    ack.path = {p};
    ack.largest = n;
    ack.arrived[0] = 1;
    SettledList out;
    paths[p].OnAck(ack, now, out, now);
  }
  std::map<uint16_t, int> Count(int picks = kPicks) {
    std::map<uint16_t, int> counts;
    for (int i = 0; i < picks; ++i) ++counts[Pick().value];
    return counts;
  }

  std::vector<Path> paths;
  std::vector<uint64_t> sendable;
  Adaptive adaptive;
  Time now = Time::FromNanos(1'000'000'000);
};

TEST(Adaptive, Pick__no_path_if_none_is_sendable) {
  Fixture f(3);
  f.sendable[0] = 0;
  EXPECT_EQ(f.Pick(), kNoPath);
  EXPECT_EQ(f.adaptive.Pick({{}, {}}, f.now), kNoPath);
}

TEST(Adaptive, Pick__only_sendable_paths) {
  Fixture f(130);
  f.sendable = {0b100, 0, 0b10};
  for (const auto& [path, count] : f.Count()) {
    EXPECT_TRUE(path == 2 || path == 129) << path;
    EXPECT_NEAR(count, kPicks / 2, 100);
  }
}

TEST(Adaptive, Pick__equals_take_turns) {
  for (const bool learned : {false, true}) {
    Fixture f(8);
    for (uint16_t p = 0; learned && p < 8; ++p)
      f.Learn(p, Duration::Micros(50));
    const auto counts = f.Count();
    ASSERT_EQ(counts.size(), 8u);
    for (const auto& [path, count] : counts) {
      EXPECT_NEAR(count, kPicks / 8, 60) << path;
    }
  }
}

TEST(Adaptive, Pick__the_shorter_round_trip) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(200));
  f.Learn(1, Duration::Micros(100));
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
}

TEST(Adaptive, Pick__the_emptier_window) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(100));
  f.Send(0, 50);
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
}

TEST(Adaptive, Pick__a_longer_path_when_the_shorter_is_busy_enough) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(140));
  f.Send(0, 39);
  EXPECT_GT(f.Count()[0], kPicks * 99 / 100);
  f.Send(0, 2);
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
}

TEST(Adaptive, Pick__silence_outweighs_a_shorter_round_trip) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(200));
  f.Send(0, 1);
  f.now = f.now + Duration::Micros(250);
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
}

TEST(Adaptive, Pick__an_unknown_path_counts_as_the_mean) {
  Fixture f(3);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(300));
  EXPECT_GT(f.Count()[0], kPicks * 99 / 100);
  f.Send(0, 250);  // 350 us by now, against 300 and the mean of 200.
  EXPECT_GT(f.Count()[2], kPicks * 98 / 100);
  // Its silence counts too: it may be dead.
  f.Send(2, 1);
  f.now = f.now + Duration::Millis(1);
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
}

TEST(Adaptive, Pick__every_path_now_and_then) {
  Fixture f(4);
  f.Learn(0, Duration::Micros(10));
  for (uint16_t p = 1; p < 4; ++p) f.Learn(p, Duration::Seconds(1));
  const auto counts = f.Count(100'000);
  ASSERT_EQ(counts.size(), 4u);
  for (uint16_t p = 1; p < 4; ++p) EXPECT_NEAR(counts.at(p), 98, 40) << p;
}

TEST(Adaptive, Pick__the_same_seed_the_same_picks) {
  Fixture a(8, 5), b(8, 5);
  for (int i = 0; i < kPicks; ++i) ASSERT_EQ(a.Pick(), b.Pick());
}

TEST(Adaptive, OnFeedback__losses_and_marks_turn_it_away) {
  for (const auto bad : {PathFeedback::kLost, PathFeedback::kMarked}) {
    Fixture f(2);
    f.Learn(0, Duration::Micros(100));
    f.Learn(1, Duration::Micros(100));
    f.Pick();  // The first pick of all starts the clock of fading.
    f.adaptive.OnFeedback({0}, bad, 1, {});
    EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
  }
}

TEST(Adaptive, OnFeedback__a_loss_weighs_more_than_a_mark) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(100));
  f.Pick();
  f.adaptive.OnFeedback({0}, PathFeedback::kLost, 1, {});
  f.adaptive.OnFeedback({1}, PathFeedback::kMarked, 5, {});
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
}

TEST(Adaptive, OnFeedback__is_capped) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(600));
  f.Pick();
  f.adaptive.OnFeedback({0}, PathFeedback::kLost, 1'000'000, {});
  EXPECT_GT(f.Count()[0], kPicks * 99 / 100);  // 100 * 5 < 600
}

TEST(Adaptive, OnFeedback__good_packets_make_up_for_it) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(110));
  f.Pick();
  f.adaptive.OnFeedback({0}, PathFeedback::kLost, 1, {});
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
  for (int i = 0; i < 4; ++i) {
    f.adaptive.OnFeedback({0}, PathFeedback::kGood, 8, {});
  }
  EXPECT_GT(f.Count()[0], kPicks * 99 / 100);
}

TEST(Adaptive, OnFeedback__time_makes_up_for_it) {
  Fixture f(2);
  f.Learn(0, Duration::Micros(100));
  f.Learn(1, Duration::Micros(110));
  f.Pick();
  f.adaptive.OnFeedback({0}, PathFeedback::kLost, 100, {});
  EXPECT_GT(f.Count()[1], kPicks * 99 / 100);
  for (int i = 0; i < 10; ++i) {
    f.now = f.now + Duration::Millis(10);
    f.Pick();
  }
  EXPECT_GT(f.Count()[0], kPicks * 99 / 100);
}

}  // namespace
}  // namespace hawser
