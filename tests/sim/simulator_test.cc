#include "transport/sim/simulator.h"

#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sim/world.h"

namespace hawser::sim {
namespace {

TEST(Simulator, RunUntil__time_passes_with_and_without_events) {
  Simulator sim(1);
  EXPECT_FALSE(sim.RunUntil([] { return false; }, Duration::Seconds(3)));
  EXPECT_EQ(sim.now(), Time() + Duration::Seconds(3));
  EXPECT_TRUE(sim.RunUntil([] { return true; }, Duration::Seconds(3)));
  EXPECT_EQ(sim.now(), Time() + Duration::Seconds(3));
}

TEST(Simulator, At__in_order_of_time_and_then_of_asking) {
  Simulator sim(1);
  std::string order;
  const auto at = [&](int64_t millis, char what) {
    sim.At(Time() + Duration::Millis(millis), [&, millis, what] {
      order += what;
      EXPECT_EQ(sim.now(), Time() + Duration::Millis(millis));
    });
  };
  at(5, 'c');
  at(3, 'a');
  at(5, 'd');
  at(4, 'b');
  at(5, 'e');
  EXPECT_FALSE(sim.RunUntil([] { return false; }, Duration::Millis(10)));
  EXPECT_EQ(order, "abcde");
}

TEST(Simulator, At__may_ask_for_more) {
  Simulator sim(1);
  int calls = 0;
  std::function<void()> again = [&] {
    if (++calls < 10) sim.At(sim.now() + Duration::Millis(1), again);
  };
  sim.At(Time(), again);
  EXPECT_FALSE(sim.RunUntil([] { return false; }, Duration::Seconds(1)));
  EXPECT_EQ(calls, 10);
}

TEST(Simulator, Pause__no_turns_until_then) {
  World world;
  Stream stream(world, 0, 1, 1, 1000);
  world.sim.Pause(1, Time() + Duration::Millis(50));
  const uint64_t turns = world.metrics(1).turns.value();
  EXPECT_FALSE(Finish(world, {&stream}, Duration::Millis(49)));
  EXPECT_EQ(world.metrics(1).turns.value(), turns);
  EXPECT_TRUE(Finish(world, {&stream}, Duration::Millis(10)));
}

TEST(Simulator, Kill__for_ever) {
  World world;
  Stream stream(world, 0, 1, 1, 1000);
  world.sim.Kill(1);
  EXPECT_FALSE(Finish(world, {&stream}, Duration::Seconds(100)));
  EXPECT_EQ(world.metrics(1).turns.value(), 0u);
}

TEST(Simulator, Connect__both_know_each_other) {
  World world;
  const SimFlow flow = world.sim.Connect(0, 1);
  EXPECT_EQ(flow.send->far_id, flow.receive->id);
  EXPECT_EQ(flow.receive->far_id, flow.send->id);
  EXPECT_EQ(world.peer(0, 1).paths.size(), 8u);
  EXPECT_EQ(world.peer(0, 1).state, Peer::State::kOpen);
  EXPECT_EQ(world.peer(1, 0).state, Peer::State::kOpen);
  // A second flow is between the same peers.
  const SimFlow second = world.sim.Connect(0, 1);
  EXPECT_EQ(second.send->peer, flow.send->peer);
  EXPECT_EQ(world.sim.engine(0).peers().size(), 1u);
}

TEST(Simulator, Submit__as_many_as_there_are_slots) {
  World world;
  const SimFlow flow = world.sim.Connect(0, 1);
  std::vector<std::byte> bytes(10);
  for (uint32_t i = 0; i < RequestQueue::kSlots; ++i) {
    EXPECT_NE(world.sim.Send(flow, bytes), nullptr);
  }
  EXPECT_EQ(world.sim.Send(flow, bytes), nullptr);
}

TEST(Simulator, hash__same_seed_same_run) {
  const auto run = [](uint64_t seed) {
    World world(2, UsualHost(), seed);
    world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.05; });
    Stream stream(world, 0, 1, 20, 50'000);
    EXPECT_TRUE(Finish(world, {&stream}));
    return world.sim.hash();
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace hawser::sim
