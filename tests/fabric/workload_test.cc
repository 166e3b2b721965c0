#include "transport/sim/fabric/workload.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hawser::sim {
namespace {

using ::testing::ElementsAre;

TEST(RandomCycle, is_the_one_that_others_use) {
  const auto cycle = RandomCycle(128, 1);
  EXPECT_THAT(std::vector<uint32_t>(cycle.begin(), cycle.begin() + 8),
              ElementsAre(41, 25, 118, 48, 119, 26, 49, 28));
  uint32_t at = 0, length = 0;
  do {
    at = cycle[at];
    ++length;
  } while (at != 0);
  EXPECT_EQ(length, 128u);
}

// Finishes messages in the order in which they may begin; returns how many
// rounds that takes.
int Rounds(const Workload& workload) {
  Progress progress(workload);
  std::vector<uint32_t> open;
  for (uint32_t m = 0; m < workload.messages.size(); ++m) {
    if (workload.messages[m].waits_for == 0) open.push_back(m);
  }
  int rounds = 0;
  for (; !open.empty(); ++rounds) {
    std::vector<uint32_t> next;
    for (const uint32_t m : open) {
      const auto released = progress.OnFinished(m, rounds);
      next.insert(next.end(), released.begin(), released.end());
    }
    open = next;
  }
  EXPECT_TRUE(progress.done());
  return rounds;
}

TEST(Workload, rings_take_their_steps_one_after_another) {
  Workload workload;
  AddRings(workload, 128, 8, 1000);
  EXPECT_EQ(workload.messages.size(), 128u * 30);
  EXPECT_EQ(Rounds(workload), 30);
}

TEST(Workload, a_butterfly_meets_every_partner_once_or_there_and_back) {
  Workload once, twice;
  AddButterfly(once, 128, 1 << 20, false);
  EXPECT_EQ(Rounds(once), 7);
  AddButterfly(twice, 128, 1 << 20, true);
  EXPECT_EQ(Rounds(twice), 14);
  uint64_t sent = 0;
  for (const MessagePlan& message : twice.messages) {
    if (message.from == 5) sent += message.bytes;
  }
  EXPECT_EQ(sent, 2u * (127 << 13));  // 2 (n - 1) / n of it.
}

TEST(Workload, all_to_all_keeps_its_window) {
  Workload workload;
  AddAllToAll(workload, 128, 8, 4, 1000);
  EXPECT_EQ(workload.messages.size(), 128u * 15);
  EXPECT_EQ(Rounds(workload), 4);
  for (const MessagePlan& message : workload.messages) {
    EXPECT_EQ(message.from % 8, message.to % 8);
    EXPECT_NE(message.from, message.to);
  }
}

}  // namespace
}  // namespace hawser::sim
