// The far NIC places the payload, and must never do so too late: what it writes
// where a buffer is done, or closed, shows in the buffer (Stream scribbles over
// each as soon as it has it back). docs/decisions/0017 has the rules. The same
// goes for a system that places what it has been told to, before we have seen
// it.
#include <algorithm>
#include <utility>

#include "gtest/gtest.h"
#include "tests/sim/world.h"
#include "transport/base/random.h"

namespace hawser::sim {
namespace {

HostOptions PlacingHost() {
  HostOptions host = UsualHost();
  host.config.packet_bytes = 4096;
  host.datapath.max_placed_bytes = 4096;
  return host;
}

TEST(Placing, all_is_well__the_nic_places_almost_everything) {
  World world(2, PlacingHost());
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_EQ(world.metrics(1).bytes_placed.value(), 64u * kMessage);
  EXPECT_EQ(world.metrics(0).packets_resent.value(), 0u);
}

TEST(Placing, a_lost_packet__is_sent_again_over_its_own_path) {
  World world(2, PlacingHost());
  world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.02; });
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_GT(world.metrics(0).packets_resent.value(), 50u);
  EXPECT_LT(world.metrics(1).bytes_placed.value(), 64u * kMessage);
}

TEST(Placing, a_dead_path__is_buried_and_its_cargo_released) {
  World world(2, PlacingHost());
  Stream first(world, 0, 1, 8, kMessage);
  ASSERT_TRUE(Finish(world, {&first}));
  world.link(0, 1, 3).dark = true;
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_GE(world.metrics(0).paths_buried.value(), 1u);
}

HostOptions TwoPlanes(const char* window_per = "path") {
  HostOptions host = PlacingHost();
  host.config.window_per = window_per;
  host.planes = 2;
  host.datapath.entropies = 4;
  return host;
}

void Darken(World& world, int plane, bool dark, bool there, bool back) {
  for (int entropy = 0; entropy < 4; ++entropy) {
    if (there) world.link(0, 1, entropy, plane).dark = dark;
    if (back) world.link(1, 0, entropy, plane).dark = dark;
  }
}

// No way of its own is left over which to bury what is bound to it.
TEST(Placing, a_dead_plane__is_buried_by_way_of_another) {
  for (const auto& [window_per, both_ways] : {std::pair{"path", true},
                                              {"path", false},
                                              {"plane", true},
                                              {"plane", false}}) {
    SCOPED_TRACE(testing::Message() << "a window per " << window_per
                                    << ", both ways " << both_ways);
    World world(2, TwoPlanes(window_per));
    Stream first(world, 0, 1, 8, kMessage);
    ASSERT_TRUE(Finish(world, {&first}));
    Stream stream(world, 0, 1, 64, kMessage);
    world.sim.At(world.sim.now() + Duration::Micros(300),
                 [&, back = both_ways] { Darken(world, 1, true, true, back); });
    ASSERT_TRUE(Finish(world, {&stream}, Duration::Millis(200)));
    stream.ExpectAllOk();
    EXPECT_GE(world.metrics(0).paths_buried.value(), 1u);
    // It is made anew, and the NIC places over it again.
    Darken(world, 1, false, true, true);
    world.Wait(Duration::Millis(1500));
    const uint64_t before = world.counts(0, 1, 0, 1).packets;
    Stream again(world, 0, 1, 64, kMessage);
    ASSERT_TRUE(Finish(world, {&again}));
    again.ExpectAllOk();
    EXPECT_GT(world.counts(0, 1, 0, 1).packets, before + 50);
  }
}

TEST(Placing, planes_that_come_and_go__write_into_nobodys_memory) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(2, TwoPlanes(seed % 2 == 0 ? "plane" : "path"), seed);
    Random random(Mix64(seed));
    for (int i = 0; i < 4; ++i) {
      const int plane = static_cast<int>(random.Below(2));
      const bool there = random.Chance(0.7),
                 back = !there || random.Chance(0.5);
      const Time when =
          world.sim.now() +
          Duration::Micros(static_cast<int64_t>(1500 * i + random.Below(1000)));
      world.sim.At(when,
                   [=, &world] { Darken(world, plane, true, there, back); });
      world.sim.At(when + Duration::Micros(1500),
                   [=, &world] { Darken(world, plane, false, there, back); });
    }
    Stream stream(world, 0, 1, 24, 96 * 1024);
    Stream other(world, 1, 0, 24, 96 * 1024);
    ASSERT_TRUE(Finish(world, {&stream, &other}));
    world.Wait(Duration::Millis(30));
    stream.ExpectAllOk();
    other.ExpectAllOk();
    if (HasFailure()) return;
  }
}

// The case that the rules are for: the far side has the bytes from another
// path, and the buffer back, when the first copy comes. Two paths stall, so
// that the request to bury the one is held up in the other, and comes late.
TEST(Placing, a_path_that_stalls__writes_into_nobodys_memory) {
  for (int stall_us = 500; stall_us <= 4000; stall_us += 100) {
    SCOPED_TRACE(testing::Message() << stall_us << " us");
    World world(2, PlacingHost());
    Stream first(world, 0, 1, 8, kMessage);
    ASSERT_TRUE(Finish(world, {&first}));
    Stream stream(world, 0, 1, 64, kMessage);
    world.sim.At(world.sim.now() + Duration::Micros(200), [&] {
      for (const int p : {3, 4}) {
        world.link(0, 1, p).delay = Duration::Micros(stall_us);
      }
    });
    ASSERT_TRUE(Finish(world, {&stream}));
    world.Wait(Duration::Millis(20));  // All that was slow has come.
    stream.ExpectAllOk();
    if (HasFailure()) return;
  }
}

// One of two streams loses a half in the middle; the other one goes on.
void CloseInTheMiddle(void (Stream::*close)(),
                      const HostOptions& host = PlacingHost()) {
  World world(2, host);
  world.ForBoth(0, 1,
                [](LinkModel& link) { link.delay = Duration::Micros(300); });
  Stream stream(world, 0, 1, 16, kMessage);
  Stream other(world, 0, 1, 16, kMessage);
  EXPECT_FALSE(Finish(world, {&stream, &other}, Duration::Micros(1500)));
  (stream.*close)();
  ASSERT_TRUE(Finish(world, {&other}));
  world.Wait(Duration::Millis(10));
  stream.ExpectUntouched();
  other.ExpectAllOk();
}

TEST(Placing, a_receiver_that_closes__is_not_written_to) {
  CloseInTheMiddle(&Stream::CloseReceiver);
}

TEST(Placing, a_sender_that_closes__has_its_memory_back) {
  CloseInTheMiddle(&Stream::CloseSender);
}

// What the host would copy home, the NIC has to.
HostOptions GpuHost() {
  HostOptions host = PlacingHost();
  host.datapath.gpu = true;
  return host;
}

TEST(Placing, a_gpu__is_written_to_by_nics_alone) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(2, GpuHost(), seed);
    world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.02; });
    Stream stream(world, 0, 1, 64, 96 * 1024);
    Stream small(world, 0, 1, 64, 64);
    ASSERT_TRUE(Finish(world, {&stream, &small}));
    stream.ExpectAllOk();
    small.ExpectAllOk();
    const EngineMetrics& metrics = world.metrics(1);
    EXPECT_GT(metrics.bytes_carried.value(), 0u);
    EXPECT_GE(metrics.bytes_placed.value() + metrics.bytes_carried.value(),
              64u * (96 * 1024 + 64));
    EXPECT_EQ(metrics.bytes_received.value(), 64u * (96 * 1024 + 64));
  }
}

// Both copies come, the first one last, while the other is being carried: the
// buffer is given back when neither is under way.
TEST(Placing, a_gpu_and_a_path_that_stalls__write_into_nobodys_memory) {
  for (int stall_us = 500; stall_us <= 4000; stall_us += 250) {
    SCOPED_TRACE(testing::Message() << stall_us << " us");
    HostOptions host = GpuHost();
    host.datapath.carries_for = Duration::Micros(700);
    World world(2, host);
    Stream first(world, 0, 1, 8, kMessage);
    ASSERT_TRUE(Finish(world, {&first}));
    Stream stream(world, 0, 1, 64, kMessage);
    world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.01; });
    world.sim.At(world.sim.now() + Duration::Micros(200), [&] {
      for (const int p : {3, 4}) {
        world.link(0, 1, p).delay = Duration::Micros(stall_us);
      }
    });
    ASSERT_TRUE(Finish(world, {&stream}));
    world.Wait(Duration::Millis(20));
    stream.ExpectAllOk();
    if (HasFailure()) return;
  }
}

// The sender has its last ack, and goes, while bytes are carried yet.
TEST(Placing, a_gpu_whose_sender_has_closed__gets_what_has_arrived) {
  HostOptions host = GpuHost();
  host.datapath.carries_for = Duration::Millis(2);
  World world(2, host);
  world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.05; });
  Stream stream(world, 0, 1, 8, kMessage);
  bool closed = false;
  ASSERT_TRUE(world.sim.RunUntil(
      [&] {
        const bool done = stream.Step();
        if (!closed && stream.sends.done == stream.messages()) {
          stream.CloseSender();
          closed = true;
        }
        return done;
      },
      Duration::Seconds(5)));
  EXPECT_TRUE(stream.receives.All(Outcome::kOk));
  EXPECT_GT(world.metrics(1).bytes_carried.value(), 0u);
}

TEST(Placing, a_gpu_whose_receiver_closes__is_not_written_to) {
  HostOptions host = GpuHost();
  host.datapath.carries_for = Duration::Millis(2);
  // Nothing is placed: all of it is under way to the GPU by way of the host.
  host.datapath.max_placed_bytes = 1;
  CloseInTheMiddle(&Stream::CloseReceiver, host);
}

TEST(Placing, a_flush__is_done_when_each_nic_has_seen_to_it) {
  HostOptions host = GpuHost();
  host.planes = 2;
  host.datapath.entropies = 4;
  World world(2, host);
  Stream stream(world, 0, 1, 2, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  std::vector<std::byte> memory(8);
  Request* const flush = world.sim.Flush(stream.flow(), memory);
  ASSERT_NE(flush, nullptr);
  const Time began = world.sim.now();
  Outcome outcome = Outcome::kClosed;
  uint32_t bytes = 0;
  ASSERT_TRUE(world.sim.RunUntil(
      [&] { return RequestQueue::Test(flush, &outcome, &bytes); },
      Duration::Millis(10)));
  EXPECT_EQ(outcome, Outcome::kOk);
  EXPECT_GE(world.sim.now() - began, host.datapath.carries_for);
  // As many as receives may be outstanding.
  for (uint32_t i = 0; i < RequestQueue::kSlots; ++i) {
    EXPECT_NE(world.sim.Flush(stream.flow(), memory), nullptr);
  }
  EXPECT_EQ(world.sim.Flush(stream.flow(), memory), nullptr);
}

TEST(Placing, a_lost_peer__no_longer_writes) {
  World world(2, PlacingHost());
  Stream stream(world, 0, 1, 16, kMessage);
  EXPECT_FALSE(Finish(world, {&stream}, Duration::Micros(300)));
  // Nothing passes until both have given up; then all that waited comes.
  world.ForBoth(0, 1,
                [](LinkModel& link) { link.delay = Duration::Seconds(3); });
  ASSERT_TRUE(Finish(world, {&stream}));
  world.Wait(Duration::Seconds(5));
  stream.ExpectUntouched();
}

// Many networks, each with its own troubles: loss, slow paths, paths that die
// or stall on the way, in either direction. A path keeps its order: that is the
// assumption that all of this stands on.
TEST(Placing, no_seed_writes_astray) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(2, PlacingHost(), seed);
    Random random(Mix64(seed));
    for (int p = 0; p < 8; ++p) {
      for (const auto& [from, to] : {std::pair(0, 1), std::pair(1, 0)}) {
        LinkModel& link = world.link(from, to, p);
        if (random.Chance(0.5)) link.loss = random.Chance(0.3) ? 0.3 : 0.02;
        if (random.Chance(0.3)) {
          link.delay =
              Duration::Micros(static_cast<int64_t>(random.Below(2000)));
        }
        if (p == 0 || !random.Chance(0.25)) continue;
        const Time when =
            world.sim.now() +
            Duration::Micros(static_cast<int64_t>(random.Below(3000)));
        const bool dies = random.Chance(0.5);
        world.sim.At(when, [&link, dies] {
          dies ? void(link.dark = true)
               : void(link.delay = Duration::Millis(8));
        });
        world.sim.At(when + Duration::Millis(6), [&link] {
          link.dark = false;
          link.delay = Duration::Micros(10);
        });
      }
    }
    Stream there(world, 0, 1, 24, 96 * 1024);
    Stream back(world, 1, 0, 24, 96 * 1024);
    ASSERT_TRUE(Finish(world, {&there, &back}));
    world.Wait(Duration::Millis(30));
    there.ExpectAllOk();
    back.ExpectAllOk();
    if (HasFailure()) return;
  }
}

// --- The system places -----------------------------------------------------

HostOptions PeekingHost() {
  HostOptions host = UsualHost();
  host.config.peek_bytes = 512;
  host.datapath.front_bytes = 256;
  return host;
}

TEST(Peeking, all_is_well__most_of_what_nobody_watches_is_placed) {
  World world(2, PeekingHost());
  Stream stream(world, 0, 1, 64, kMessage);
  stream.watched = false;
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_GT(world.metrics(1).bytes_placed.value(), 63u * kMessage);
  EXPECT_EQ(world.metrics(1).packets_malformed.value(), 0u);
}

// The system promises no order of bytes, and who polls needs one.
TEST(Peeking, somebody_watches__nothing_is_placed) {
  World world(2, PeekingHost());
  Stream watched(world, 0, 1, 64, kMessage);
  Stream stream(world, 0, 1, 1, kMessage);
  stream.watched = false;
  ASSERT_TRUE(Finish(world, {&watched, &stream}));
  watched.ExpectAllOk();
  stream.ExpectAllOk();
  EXPECT_LE(world.metrics(1).bytes_placed.value(), 1u * kMessage);
  World alone(2, PeekingHost());
  Stream other(alone, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(alone, {&other}));
  EXPECT_EQ(alone.metrics(1).bytes_placed.value(), 0u);
}

// Packets come twice, side by side and long afterwards, on paths that race and
// lose: what is done is never touched again.
TEST(Peeking, late_and_double_packets__write_into_nobodys_memory) {
  uint64_t placed = 0, duplicates = 0;
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(2, PeekingHost(), seed);
    world.ForBoth(0, 1, [](LinkModel& link) {
      link.loss = 0.01;
      link.duplicate = 0.2;
      link.echo = 0.2;
      link.overtake = 0.1;
      link.jitter = Duration::Micros(30);
    });
    Stream stream(world, 0, 1, 40, 96 * 1024);
    Stream longer(world, 1, 0, 20, 64 * 1024, /*capacity=*/96 * 1024);
    Stream closed(world, 0, 1, 40, 96 * 1024);
    for (Stream* one : {&stream, &longer, &closed}) one->watched = false;
    world.sim.At(world.sim.now() + Duration::Micros(700),
                 [&] { closed.CloseReceiver(); });
    ASSERT_TRUE(Finish(world, {&stream, &longer, &closed}));
    world.Wait(Duration::Millis(60));
    stream.ExpectAllOk();
    longer.ExpectAllOk();
    closed.ExpectUntouched();
    placed += world.metrics(1).bytes_placed.value();
    duplicates += world.metrics(1).packets_duplicate.value();
    if (HasFailure()) return;
  }
  EXPECT_GT(placed, 25u * 20 * 96 * 1024);
  EXPECT_GT(duplicates, 1000u);
}

// A check over the payload can be made of what is here alone.
TEST(Peeking, a_checked_payload__is_not_placed) {
  HostOptions host = PeekingHost();
  host.config.checksum = "payload";
  World world(2, host);
  world.ForBoth(0, 1, [](LinkModel& link) { link.corrupt = 0.05; });
  Stream stream(world, 0, 1, 64, kMessage);
  stream.watched = false;
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_EQ(world.metrics(1).bytes_placed.value(), 0u);
  EXPECT_GT(world.metrics(1).packets_malformed.value(), 10u);
}

}  // namespace
}  // namespace hawser::sim
