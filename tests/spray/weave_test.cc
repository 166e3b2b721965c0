#include "transport/spray/weave.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "transport/spray/mixed.h"

namespace hawser {
namespace {

constexpr Time kNow = Time::FromNanos(1'000'000);

struct Fixture {
  explicit Fixture(uint32_t paths) : count(paths) {
    sendable.assign((paths + 63) / 64, ~uint64_t{0});
    if (paths % 64 != 0) sendable.back() = (uint64_t{1} << paths % 64) - 1;
  }
  PathId Pick() { return weave.Pick({{}, sendable, count}, kNow); }
  void Good(uint16_t path, int64_t rtt_us, uint32_t packets = 1) {
    weave.OnFeedback({path}, PathFeedback::kGood, packets,
                     Duration::Micros(rtt_us));
  }
  uint32_t count;
  std::vector<uint64_t> sendable;
  Weave weave{7};
};

TEST(Weave, Pick__the_fastest_of_the_four_oldest_clean_paths) {
  Fixture f(64);
  f.Good(1, 20);
  f.Good(2, 18);
  f.Good(3, 19);
  f.Good(4, 21);
  f.Good(5, 10);  // It is the fifth: its turn comes.
  EXPECT_EQ(f.Pick(), PathId{2});
  EXPECT_EQ(f.Pick(), PathId{5});
  EXPECT_EQ(f.Pick(), PathId{3});
  EXPECT_EQ(f.Pick(), PathId{1});
  EXPECT_EQ(f.Pick(), PathId{4});
}

TEST(Weave, Likely__is_what_is_picked_next) {
  Fixture f(64);
  EXPECT_EQ(f.weave.Likely(), kNoPath);  // Whichever it explores.
  for (uint16_t path = 0; path < 20; ++path) f.Good(path, 20 + path * 7 % 5);
  for (int i = 0; i < 20; ++i) {
    const PathId likely = f.weave.Likely();
    EXPECT_EQ(f.Pick(), likely);
  }
  EXPECT_EQ(f.weave.Likely(), kNoPath);
}

TEST(Weave, Pick__one_packet_for_each_that_came_back) {
  Fixture f(64);
  f.Good(9, 20, 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(f.Pick(), PathId{9});
  std::set<uint16_t> seen;
  for (int i = 0; i < 32; ++i) seen.insert(f.Pick().value);
  EXPECT_GT(seen.size(), 24u);
}

TEST(Weave, Pick__explores_the_faster_of_two) {
  Fixture f(2);
  f.Good(0, 30);
  f.Good(1, 20);
  EXPECT_EQ(f.Pick(), PathId{1});
  EXPECT_EQ(f.Pick(), PathId{0});
  // Nothing is clean now, and both are looked at whenever one is taken.
  for (int i = 0; i < 10; ++i) EXPECT_EQ(f.Pick(), PathId{1});
}

TEST(Weave, Pick__passes_over_the_penalised) {
  Fixture f(4);
  f.weave.OnFeedback({2}, PathFeedback::kSilent, 1, {});
  for (int i = 0; i < Mixed::kSilentPenalty; ++i) {
    EXPECT_NE(f.Pick(), PathId{2});
  }
}

TEST(Weave, OnFeedback__what_loses_is_clean_no_more) {
  for (const PathFeedback loss : {PathFeedback::kLost, PathFeedback::kSilent}) {
    Fixture f(4);
    f.Good(2, 10, 3);
    f.Good(3, 20);
    f.Good(2, 10, 3);
    f.weave.OnFeedback({2}, loss, 1, {});
    EXPECT_EQ(f.Pick(), PathId{3});
    EXPECT_NE(f.Pick(), PathId{2});
  }
}

TEST(Weave, Pick__only_what_can_send) {
  Fixture f(128);
  f.Good(1, 20);
  f.sendable = {0, 0b100};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(f.Pick(), PathId{66});
  f.sendable = {0, 0};
  EXPECT_EQ(f.Pick(), kNoPath);
}

}  // namespace
}  // namespace hawser
