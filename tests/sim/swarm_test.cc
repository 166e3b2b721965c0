#include "transport/sim/swarm.h"

#include <csignal>
#include <cstdlib>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/sim/plan.h"

namespace hawser::sim {
namespace {

using ::testing::HasSubstr;

// tools/test runs many more, with hawser_sim, which also says so if a seed
// takes its process down.
constexpr uint64_t kSeeds = 150;
constexpr uint64_t kSeedsTwice = 20;

uint64_t Seeds() {
  const char* asked = std::getenv("HAWSER_SWARM_SEEDS");
  return asked == nullptr ? kSeeds : std::strtoull(asked, nullptr, 10);
}

// Names the seed when a check of the engine's own ends the process.
volatile uint64_t running_seed = 0;
void OnAbort(int) {
  std::fprintf(stderr,
               "seed %llu stopped the process\n"
               "  build/release/hawser_sim replay --seed=%llu\n",
               static_cast<unsigned long long>(running_seed),
               static_cast<unsigned long long>(running_seed));
}

TEST(Swarm, every_promise_is_kept) {
  const auto before = std::signal(SIGABRT, OnAbort);
  uint64_t messages = 0, packets = 0;
  for (uint64_t seed = 1; seed <= Seeds(); ++seed) {
    running_seed = seed;
    const SwarmResult result = RunPlan(MakePlan(seed));
    EXPECT_TRUE(result.ok())
        << "seed " << seed << ": " << result.problem
        << "\n  build/release/hawser_sim replay --seed=" << seed;
    messages += result.messages;
    packets += result.packets;
  }
  std::signal(SIGABRT, before);
  EXPECT_GT(messages, 50 * Seeds());
  EXPECT_GT(packets, 200 * Seeds());
}

TEST(Swarm, the_same_seed_is_the_same_run) {
  std::set<uint64_t> hashes;
  for (uint64_t seed = 1; seed <= kSeedsTwice; ++seed) {
    const SwarmResult first = RunPlan(MakePlan(seed));
    const SwarmResult second = RunPlan(MakePlan(seed));
    EXPECT_EQ(first.hash, second.hash) << seed;
    EXPECT_EQ(first.virtual_time, second.virtual_time) << seed;
    EXPECT_EQ(first.packets, second.packets) << seed;
    EXPECT_EQ(first.turns, second.turns) << seed;
    hashes.insert(first.hash);
  }
  EXPECT_EQ(hashes.size(), kSeedsTwice);
}

// A judge that finds nothing proves nothing. So here are promises that were
// never given, and it must see that they are not kept.
TEST(Swarm, a_dead_network_is_a_problem) {
  Plan plan = MakePlan(1);
  plan.dark_at = Time::Never();
  plan.killed_host = -1;
  for (LinkPlan& link : plan.links) link.model.dark = true;
  const SwarmResult result = RunPlan(plan);
  EXPECT_THAT(result.problem, HasSubstr("given up, though the peer lives"));
  EXPECT_THAT(result.problem, HasSubstr("nothing was heard for"));
  EXPECT_THAT(result.state, HasSubstr("suspect"));
}

TEST(Swarm, damaged_bytes_are_a_problem) {
  uint64_t found = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Plan plan = MakePlan(seed);
    for (HostOptions& host : plan.hosts) host.config.checksum = "header";
    for (LinkPlan& link : plan.links) link.model.corrupt = 0.2;
    const std::string problem = RunPlan(plan).problem;
    found += problem.find(" is wrong") != std::string::npos;
  }
  EXPECT_GT(found, 10u);
}

TEST(Plan, every_kind_of_trouble_is_drawn) {
  std::set<std::string> faults;
  int killed = 0, goodbyes = 0, dark = 0, paused = 0, closes = 0, truncated = 0,
      rounds = 0, to_oneself = 0, defers = 0;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    const Plan plan = MakePlan(seed);
    for (const LinkPlan& link : plan.links) faults.insert(link.fault);
    for (const HostOptions& host : plan.hosts) {
      defers += host.datapath.defers > 0;
    }
    killed += plan.killed_host >= 0;
    goodbyes += plan.says_goodbye;
    dark += plan.dark_at != Time::Never();
    paused += !plan.pauses.empty();
    rounds += plan.rounds.size() > 1;
    for (const auto& round : plan.rounds) {
      for (const FlowPlan& flow : round) {
        to_oneself += flow.from == flow.to;
        closes += flow.sender.close != Duration::Max() ||
                  flow.receiver.close != Duration::Max();
        for (const TransferPlan& message : flow.messages) {
          truncated += message.capacity_bytes < message.bytes;
        }
      }
    }
  }
  EXPECT_GE(faults.size(), 13u);  // One of them is none.
  for (const int count : {killed, goodbyes, dark, paused, closes, truncated,
                          rounds, to_oneself, defers}) {
    EXPECT_GE(count, 10);
  }
}

TEST(Plan, ToString__says_what_is_not_as_usual) {
  Plan plan = MakePlan(1);
  plan.killed_host = 1;
  plan.killed_at = Time::FromNanos(5'000'000);
  plan.dark_at = Time::FromNanos(7'000'000);
  const std::string text = ToString(plan);
  EXPECT_THAT(text, HasSubstr("seed 1, peer timeout "));
  EXPECT_THAT(text, HasSubstr("host 0: planes "));
  EXPECT_THAT(text, HasSubstr("round 0 flow 0: "));
  EXPECT_THAT(text, HasSubstr("host 1 is killed at 5000 us"));
  EXPECT_THAT(text, HasSubstr("all goes dark at 7000 us"));
}

}  // namespace
}  // namespace hawser::sim
