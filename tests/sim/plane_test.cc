// One window for all paths of a peer in a plane: what it holds, and what comes
// of a plane that falls silent.
#include <string>

#include "gtest/gtest.h"
#include "tests/sim/world.h"

namespace hawser::sim {
namespace {

// Two planes with `paths` / 2 ways each.
HostOptions OverTwoPlanes(int paths) {
  HostOptions host = UsualHost();
  host.planes = 2;
  host.config.paths = paths;
  host.config.window_per = "plane";
  host.datapath.entropies = static_cast<uint16_t>(paths / 2);
  return host;
}

void Darken(World& world, int plane, bool dark) {
  const int entropies = static_cast<int>(world.peer(0, 1).paths.size()) / 2;
  for (int entropy = 0; entropy < entropies; ++entropy) {
    world.link(0, 1, entropy, plane).dark = dark;
    world.link(1, 0, entropy, plane).dark = dark;
  }
}

// Of host 0, over all paths of the plane: packets that carried something.
uint64_t CargoSent(World& world, size_t plane) {
  uint64_t sum = 0;
  const auto& paths = world.peer(0, 1).paths;
  for (size_t p = plane; p < paths.size(); p += 2) {
    sum += paths[p].counts().packets_sent - paths[p].counts().probes_sent;
  }
  return sum;
}

TEST(PlaneWindow, paths_of_a_plane_share_it_and_planes_do_not) {
  World world(2, OverTwoPlanes(8));
  Stream stream(world, 0, 1, 4, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  const auto& paths = world.peer(0, 1).paths;
  for (size_t p = 0; p < 8; ++p) {
    EXPECT_EQ(&paths[p].window(), &paths[p % 2].window());
    EXPECT_EQ(paths[p].window().paths(), 4u);
  }
  EXPECT_NE(&paths[0].window(), &paths[1].window());
}

TEST(PlaneWindow, is_never_exceeded) {
  for (const char* scheduler : {"adaptive", "weave"}) {
    for (const int window : {1024, 10'000, 100'000}) {
      HostOptions host = OverTwoPlanes(16);
      host.config.scheduler = scheduler;
      host.config.congestion = "fixed_window";
      host.config.window_bytes = window;
      World world(2, host);
      world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.01; });
      world.link(0, 1, 2).dark = true;
      Stream stream(world, 0, 1, 20, kMessage);
      const auto most = std::max(static_cast<uint32_t>(window), 1472u);
      // The largest that was in flight; bare probes (16 bytes) come on top,
      // and those that a suspect path is asked with.
      uint32_t seen = 0;
      ASSERT_TRUE(world.sim.RunUntil(
          [&] {
            uint32_t in_flight[2] = {};
            for (const Path& path : world.peer(0, 1).paths) {
              if (path.state() != Path::State::kOpen) continue;
              in_flight[path.id().value % 2] += path.in_flight_bytes();
            }
            seen = std::max({seen, in_flight[0], in_flight[1]});
            return stream.Step();
          },
          Duration::Seconds(20)));
      EXPECT_LE(seen, most + 256) << scheduler;
      EXPECT_GT(seen, most / 2) << scheduler;
      stream.ExpectAllOk();
    }
  }
}

TEST(PlaneWindow, loss_is_made_good_whoever_picks_and_allows) {
  for (const char* scheduler : {"adaptive", "weave", "reps", "mixed", "bitmap",
                                "oblivious", "round_robin", "two_choices"}) {
    for (const char* congestion : {"swift", "nscc", "dctcp", "fixed_window"}) {
      HostOptions host = OverTwoPlanes(16);
      host.config.scheduler = scheduler;
      host.config.congestion = congestion;
      World world(2, host);
      world.ForBoth(0, 1, [](LinkModel& link) {
        link.loss = 0.01;
        link.mark_bytes = 64 * 1024;
      });
      Stream first(world, 0, 1, 4, kMessage);
      ASSERT_TRUE(Finish(world, {&first})) << scheduler << ", " << congestion;
      world.link(0, 1, 3, /*plane=*/1).dark = true;
      Stream stream(world, 0, 1, 16, kMessage);
      const Time begin = world.sim.now();
      ASSERT_TRUE(Finish(world, {&stream})) << scheduler << ", " << congestion;
      stream.ExpectAllOk();
      // A timeout is half a millisecond, and Swift halves its window for each.
      EXPECT_LT((world.sim.now() - begin).millis(), 50)
          << scheduler << ", " << congestion;
    }
  }
}

// A window of cargo is what a dead plane gets, whatever the number of its
// paths; then probes alone.
TEST(PlaneWindow, a_silent_plane_carries_probes_alone) {
  World world(2, OverTwoPlanes(64));
  for (int plane : {0, 1}) {
    PortModel& port = world.sim.network().port(1, plane);
    port.rate = Rate::MegabitsPerSecond(500);
    port.queue_bytes = 256 * 1024;
  }
  Stream stream(world, 0, 1, 400, kMessage);
  ASSERT_FALSE(Finish(world, {&stream}, Duration::Millis(5)));
  Darken(world, 1, true);
  const uint64_t before = CargoSent(world, 1);
  const uint64_t other = CargoSent(world, 0);
  uint32_t most = 0;
  (void)world.sim.RunUntil(
      [&] {
        most = std::max(most, world.path(0, 1, 1).window().bytes());
        return stream.Step();
      },
      Duration::Millis(50));
  EXPECT_TRUE(world.path(0, 1, 1).window().shut());
  EXPECT_FALSE(world.path(0, 1, 0).window().shut());
  EXPECT_LE(CargoSent(world, 1) - before, most / 1400 + 1);
  EXPECT_GT(CargoSent(world, 0) - other, 1'500u);

  Darken(world, 1, false);
  const uint64_t dark = CargoSent(world, 1);
  (void)Finish(world, {&stream}, Duration::Millis(410));  // Two long pauses.
  EXPECT_FALSE(world.path(0, 1, 1).window().shut());
  EXPECT_GT(CargoSent(world, 1) - dark, 5'000u);
  EXPECT_EQ(stream.sends.Count(Outcome::kOk), stream.sends.done);
}

// One path dies while the others of its plane have nothing to say. They are
// asked, and clear the plane.
TEST(PlaneWindow, one_dead_path_does_not_keep_its_plane_shut) {
  int shut = 0;
  for (const int dead : {0, 2, 4, 6}) {
    HostOptions host = OverTwoPlanes(8);
    host.config.scheduler = "round_robin";
    World world(2, host);
    Stream warm(world, 0, 1, 64, kMessage);
    ASSERT_TRUE(Finish(world, {&warm}));
    world.link(0, 1, /*entropy=*/dead / 2, /*plane=*/0).dark = true;
    const Path& path = world.path(0, 1, dead);
    for (int i = 0; path.state() == Path::State::kOpen; ++i) {
      ASSERT_LT(i, 20);
      Stream one(world, 0, 1, 1, 100);
      ASSERT_TRUE(world.sim.RunUntil(
          [&] {
            shut += path.window().shut();
            return one.Step();
          },
          Duration::Seconds(1)));
    }
    Stream more(world, 0, 1, 64, kMessage);
    ASSERT_TRUE(Finish(world, {&more}));
    EXPECT_FALSE(path.window().shut());
    EXPECT_EQ(path.state(), Path::State::kSuspect);
    for (const int other : {0, 2, 4, 6}) {
      if (other == dead) continue;
      EXPECT_GT(world.path(0, 1, other).counts().bytes_delivered, 1u << 20);
    }
  }
  EXPECT_GT(shut, 0);
}

}  // namespace
}  // namespace hawser::sim
