// Scenarios that have a name: what can happen to a path, a host, a flow or a
// message, and what must come of it.
#include <array>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/world.h"
#include "transport/base/random.h"

namespace hawser::sim {
namespace {

using ::testing::HasSubstr;

constexpr Duration kPeerTimeout = Duration::Millis(1000);

// Detection comes a little after the timeout: whatever was in the network when
// the peer died was still heard.
constexpr Duration kPatience = kPeerTimeout * 5 / 4;

// --- Paths -----------------------------------------------------------------

TEST(Life, all_is_well__every_path_carries) {
  World world;
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  for (int p = 0; p < 8; ++p) {
    EXPECT_GT(world.path(0, 1, p).counts().bytes_delivered,
              64u * kMessage / 8 / 2)
        << "path " << p;
  }
  EXPECT_EQ(world.metrics(0).packets_lost.value(), 0u);
  EXPECT_EQ(world.suspected(0, 1), 0u);
}

// As many as a header can name, with losses, so that acks and resends of all of
// them are under way at once.
TEST(Life, as_many_paths_as_there_can_be__every_path_carries) {
  HostOptions host = UsualHost();
  host.config.paths = host.datapath.entropies = kMaxPaths;
  host.config.scheduler = "round_robin";
  World world(2, host);
  for (int p = 0; p < kMaxPaths; ++p) world.link(0, 1, p).loss = 0.01;
  Stream stream(world, 0, 1, 256, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  for (int p = 0; p < kMaxPaths; ++p) {
    EXPECT_GT(world.path(0, 1, p).counts().bytes_delivered, 0u) << "path " << p;
  }
}

constexpr int kTrips = 500;

// Messages of 800 bytes, one there and one back. So many receives are posted
// ahead.
void PingPong(World& world, size_t ahead) {
  Stream ping(world, 0, 1, kTrips, 800);
  Stream pong(world, 1, 0, kTrips, 800);
  ping.sends.most_posted = 1;
  pong.sends.most_posted = 0;
  const bool done = world.sim.RunUntil(
      [&] {
        for (Stream* stream : {&ping, &pong}) {
          stream->receives.most_posted = stream->receives.done + ahead;
        }
        const bool pinged = ping.Step();
        pong.sends.most_posted = ping.receives.done;
        const bool ponged = pong.Step();
        ping.sends.most_posted = pong.receives.done + 1;
        return pinged && ponged;
      },
      Duration::Seconds(20));
  ASSERT_TRUE(done);
  ping.ExpectAllOk();
  pong.ExpectAllOk();
}

// Acks and grants go along with data, in datagrams larger than any packet of
// it. That those arrive has to be found out first.
TEST(Life, small_messages_there_and_back__share_datagrams) {
  HostOptions host = UsualHost();
  host.config.paths = 1;
  World world(2, host);
  PingPong(world, 32);
  // 2505 if nothing larger than a message may leave.
  EXPECT_LT(world.sim.network().departures(), 1750u);
}

// Receives are posted ahead, so that nobody is short of grants: several wait
// for one another, and none of them holds up an answer.
TEST(Life, small_messages_there_and_back__share_grants) {
  HostOptions host = UsualHost();
  host.config.paths = 1;
  host.config.target_delay_us = 2000;
  World world(2, host);
  PingPong(world, 8);
  const auto trips = static_cast<uint64_t>(kTrips);
  EXPECT_LT(world.metrics(0).packets_sent.value(), trips * 14 / 10);
  EXPECT_LT(world.sim.network().departures(), 2 * trips * 11 / 10);
  // 22 us each, and no waits.
  EXPECT_LT((world.sim.now() - Time()) / Duration::Micros(1), 24 * kTrips);
}

TEST(Life, a_dead_path__is_left_out) {
  World world;
  world.link(0, 1, 3).dark = world.link(1, 0, 3).dark = true;
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_EQ(world.path(0, 1, 3).state(), Path::State::kSuspect);
  EXPECT_EQ(world.suspected(0, 1), 1u);
  // A window of cargo before it is known, and then probes alone.
  EXPECT_LT(world.counts(0, 1, 3).packets, 100u);
}

// Half of the paths died long ago. When one more does, with nothing else under
// way, the witness against it is none of them.
TEST(Life, one_more_path_dies__a_living_one_is_its_witness) {
  HostOptions host = UsualHost();
  host.config.scheduler = "round_robin";
  World world(2, host);
  const auto kill = [&](int p) { world.link(0, 1, p).dark = true; };
  Stream warm(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&warm}));
  for (int p = 0; p < 6; ++p) kill(p);
  Stream half(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&half}));
  ASSERT_EQ(world.suspected(0, 1), 6u);
  world.Wait(Duration::Millis(100));
  kill(6);
  // One packet at a time, until one takes that path.
  for (int i = 0; world.suspected(0, 1) == 6; ++i) {
    ASSERT_LT(i, 10);
    Stream one(world, 0, 1, 1, 100);
    const Time begin = world.sim.now();
    ASSERT_TRUE(Finish(world, {&one}));
    EXPECT_LT(world.sim.now() - begin, Duration::Millis(2)) << i;
  }
}

TEST(Life, a_slow_path__holds_nobody_up) {
  const auto run = [](bool slow) {
    World world;
    if (slow) {
      world.link(0, 1, 5).rate = Rate::MegabitsPerSecond(100);
      world.link(0, 1, 5).delay = Duration::Micros(500);
    }
    // The first window finds out.
    Stream first(world, 0, 1, 64, kMessage);
    EXPECT_TRUE(Finish(world, {&first}));
    const Time begin = world.sim.now();
    Stream stream(world, 0, 1, 128, kMessage);
    EXPECT_TRUE(Finish(world, {&stream}));
    stream.ExpectAllOk();
    return stream.receives.last_done - begin;
  };
  // It was an eighth of the capacity.
  EXPECT_LT(run(true) / run(false), 1.5);
}

TEST(Life, one_way_dead_out__is_left_out) {
  World world;
  world.link(0, 1, 2).dark = true;
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_EQ(world.path(0, 1, 2).state(), Path::State::kSuspect);
}

// The acks for what comes over a path may take any way back.
TEST(Life, one_way_dead_back__still_carries) {
  World world;
  world.link(1, 0, 2).dark = true;
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_EQ(world.path(0, 1, 2).state(), Path::State::kOpen);
  EXPECT_GT(world.path(0, 1, 2).counts().bytes_delivered, 1u << 20);
  // The grants that took it back showed that it is dead there.
  EXPECT_EQ(world.path(1, 0, 2).state(), Path::State::kSuspect);
}

// Of two paths each works in one direction alone. Both hosts must find out
// where to send, and their acks must find a way although no path is beyond
// suspicion at first.
TEST(Life, no_path_works_both_ways__all_arrives) {
  for (uint16_t paths : {2, 3, 8, 16}) {
    HostOptions host = UsualHost();
    host.config.paths = paths;
    host.datapath.entropies = paths;
    World world(2, host);
    for (uint16_t p = 0; p < paths; ++p) {
      world.link(0, 1, p).dark = p != 0;
      world.link(1, 0, p).dark = p != paths - 1;
    }
    Stream out(world, 0, 1, 8, kMessage), back(world, 1, 0, 8, kMessage);
    ASSERT_TRUE(Finish(world, {&out, &back}, Duration::Seconds(5))) << paths;
    out.ExpectAllOk();
    back.ExpectAllOk();
  }
}

// And where one host has nothing to say, it never finds out which of its paths
// work: its answers must find the way all the same.
TEST(Life, no_path_works_both_ways__a_single_message_arrives) {
  HostOptions host = UsualHost();
  host.config.paths = host.datapath.entropies = 16;
  host.config.peer_timeout_ms = Config().peer_timeout_ms;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    World world(2, host, seed);
    for (int p = 0; p < 16; ++p) {
      world.link(0, 1, p).dark = p != 1;
      world.link(1, 0, p).dark = p != 2;
    }
    Stream stream(world, 0, 1, 1, 16);
    ASSERT_TRUE(Finish(world, {&stream}, Duration::Seconds(5))) << seed;
    stream.ExpectAllOk();
  }
}

// Acks go where there is room, and must not for ever meet the moment at which
// only a dead path has some.
TEST(Life, one_path_dead_and_no_room__acks_find_the_other) {
  HostOptions host = UsualHost();
  host.planes = 2;
  host.config.paths = 2;
  host.datapath.room = 1;
  World world(1, host);
  world.link(0, 0, 0, /*plane=*/0).dark = true;
  Stream stream(world, 0, 0, 20, 10'000);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  stream.CloseSender();
  stream.CloseReceiver();
  world.Wait(Duration::Seconds(2));
  const uint64_t before = world.sim.network().departures();
  world.Wait(Duration::Seconds(1));
  EXPECT_EQ(world.sim.network().departures(), before);
}

TEST(Life, a_path_goes_dark__suspected_soon_and_used_again) {
  HostOptions host = UsualHost();
  // A packet takes a quarter of a millisecond here.
  host.config.target_delay_us = Config().target_delay_us;
  World world(2, host);
  world.ForBoth(
      0, 1, [](LinkModel& link) { link.rate = Rate::MegabitsPerSecond(50); });
  Stream stream(world, 0, 1, 200, kMessage);
  const auto step = [&] { return stream.Step(); };
  const auto wait = [&](Duration time) {
    ASSERT_FALSE(world.sim.RunUntil(step, time));
  };
  wait(Duration::Millis(20));
  const Path& path = world.path(0, 1, 4);
  ASSERT_EQ(path.state(), Path::State::kOpen);
  // A timeout from the last answer, and two thirds more: that may have been on
  // its way when the light went out, and the host is heard twice.
  const Duration patience = path.rto() * 5 / 3 + Duration::Micros(50);
  world.link(0, 1, 4).dark = world.link(1, 0, 4).dark = true;
  wait(patience);
  EXPECT_EQ(path.state(), Path::State::kSuspect);

  // Silent, it carries no cargo.
  const uint64_t probes = path.counts().probes_sent;
  const uint64_t sent = path.counts().packets_sent;
  wait(Duration::Millis(300));
  EXPECT_EQ(path.counts().packets_sent - sent,
            path.counts().probes_sent - probes);
  EXPECT_LT(path.counts().probes_sent - probes, 20u);
  EXPECT_GE(path.counts().probes_sent - probes, 3u);

  world.link(0, 1, 4).dark = world.link(1, 0, 4).dark = false;
  const uint64_t delivered = path.counts().bytes_delivered;
  wait(Duration::Millis(410));  // Two of the longest pauses.
  EXPECT_EQ(path.state(), Path::State::kOpen);
  EXPECT_GT(path.counts().bytes_delivered - delivered, 500'000u);
  EXPECT_EQ(stream.sends.Count(Outcome::kOk), stream.sends.done);
}

// Nobody minds the silence of who is not needed, and a host without traffic
// has nothing to wake up for; but the path is tried as soon as there is some.
TEST(Life, a_suspect_path_in_idle_times__is_left_in_peace) {
  World world;
  Stream first(world, 0, 1, 1, kMessage);
  ASSERT_TRUE(Finish(world, {&first}));
  world.link(0, 1, 1).dark = true;
  Stream second(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&second}));
  ASSERT_EQ(world.path(0, 1, 1).state(), Path::State::kSuspect);
  world.Wait(Duration::Millis(500));
  const uint64_t departures = world.sim.network().departures();
  const uint64_t turns = world.metrics(0).turns.value();
  world.Wait(Duration::Seconds(10));
  EXPECT_EQ(world.sim.network().departures(), departures);
  EXPECT_LE(world.metrics(0).turns.value(), turns + 1);

  world.link(0, 1, 1).dark = false;
  Stream third(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&third}));
  third.ExpectAllOk();
  EXPECT_EQ(world.path(0, 1, 1).state(), Path::State::kOpen);
}

// Host 2 throws more at host 0 than it can read in one turn, at every turn.
class Flood {
 public:
  explicit Flood(World& world) : world_(world) {
    LinkModel& link = world.link(2, 0, 0);
    link = LinkModel();
    link.delay = Duration::Micros(1);
  }
  void Step() {
    const uint64_t read = world_.metrics(0).packets_malformed.value();
    if (thrown_ >= read + kUnread) return;
    for (uint64_t i = 0; i < kUnread; ++i, ++thrown_) {
      world_.sim.network().OnSend({2, 0, 0, 0}, {std::byte{0}},
                                  world_.sim.now());
    }
  }

 private:
  static constexpr uint64_t kUnread = 256;
  World& world_;
  uint64_t thrown_ = 0;
};

TEST(Life, a_flood_from_another_host__hides_no_dead_path) {
  World world(3);
  Stream stream(world, 0, 1, 200, kMessage);
  ASSERT_FALSE(Finish(world, {&stream}, Duration::Millis(2)));
  world.link(0, 1, 3).dark = true;
  Flood flood(world);
  EXPECT_TRUE(world.sim.RunUntil(
      [&] {
        flood.Step();
        stream.Step();
        return world.path(0, 1, 3).state() == Path::State::kSuspect;
      },
      Duration::Millis(3)));
}

TEST(Life, a_flood_from_another_host__holds_up_no_ack) {
  World world(3);
  Stream stream(world, 1, 0, 1, 100);
  Flood flood(world);
  EXPECT_TRUE(world.sim.RunUntil(
      [&] {
        flood.Step();
        return stream.Step();
      },
      Duration::Millis(1)));
}

TEST(Life, two_planes__one_dies_whole) {
  HostOptions host = UsualHost();
  host.planes = 2;
  World world(2, host);
  Stream stream(world, 0, 1, 256, kMessage);
  world.sim.At(Time() + Duration::Millis(5), [&] {
    for (int entropy = 0; entropy < 8; ++entropy) {
      world.link(0, 1, entropy, /*plane=*/1).dark = true;
      world.link(1, 0, entropy, /*plane=*/1).dark = true;
    }
  });
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  for (int p = 0; p < 8; ++p) {
    EXPECT_EQ(world.path(0, 1, p).state(),
              p % 2 == 0 ? Path::State::kOpen : Path::State::kSuspect);
  }
}

// --- Packets ---------------------------------------------------------------

TEST(Life, corrupted_packets__are_dropped_and_sent_again) {
  HostOptions host = UsualHost();
  host.config.checksum = "payload";
  World world(2, host);
  world.ForBoth(0, 1, [](LinkModel& link) { link.corrupt = 0.05; });
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_GT(world.metrics(1).packets_malformed.value(), 100u);
}

TEST(Life, repeated_packets__are_placed_once) {
  World world;
  world.ForBoth(0, 1,
                [](LinkModel& link) { link.duplicate = link.echo = 0.5; });
  Stream stream(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  world.Wait(Duration::Millis(100));
  stream.ExpectAllOk();
  EXPECT_GT(world.metrics(1).packets_duplicate.value(), 5000u);
  EXPECT_EQ(world.metrics(1).bytes_received.value(), 64u * kMessage);
}

TEST(Life, marked_packets__are_reported_and_not_lost) {
  World world;
  world.link(0, 1, 0).ecn = 1;
  // Not so much at once that every window is full and every path needed.
  Stream stream(world, 0, 1, 4000, 1000);
  ASSERT_TRUE(Finish(world, {&stream}));
  world.Wait(Duration::Millis(1));
  stream.ExpectAllOk();
  const PathCounts& marked = world.path(0, 1, 0).counts();
  EXPECT_GT(marked.ecn_marked, 0u);
  EXPECT_EQ(marked.ecn_marked, marked.packets_delivered);
  EXPECT_EQ(world.path(0, 1, 1).counts().ecn_marked, 0u);
  // The scheduler prefers the others.
  EXPECT_LT(marked.packets_sent, world.path(0, 1, 1).counts().packets_sent / 2);
}

TEST(Life, reordered_packets__cost_little) {
  World world;
  world.ForBoth(0, 1, [](LinkModel& link) { link.overtake = 0.2; });
  Stream stream(world, 0, 1, 256, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  const double sent =
      static_cast<double>(world.metrics(0).packets_sent.value());
  EXPECT_LT(static_cast<double>(world.metrics(0).packets_resent.value()) / sent,
            0.05);
}

TEST(Life, grants_and_acks_are_lost__all_arrives) {
  World world;
  world.sim.ForEachLink(1, 0, [](LinkModel& link) { link.loss = 0.6; });
  Stream stream(world, 0, 1, 100, 20'000);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
}

// A path that swallows large packets and lets small ones through, acks of the
// others' and all, must not look healthy.
TEST(Life, a_path_without_large_packets__gets_smaller_ones) {
  HostOptions host = UsualHost();
  host.config.packet_bytes = 8192;
  host.datapath.max_packet_bytes = 8972;
  World world(2, host);
  world.link(0, 1, 6).max_bytes = 1472;
  Stream stream(world, 0, 1, 200, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_EQ(world.path(0, 1, 6).max_packet_bytes(), 1200u);
  EXPECT_EQ(world.path(0, 1, 5).max_packet_bytes(), PacketSize::kUnlimited);
  EXPECT_GT(world.path(0, 1, 6).counts().bytes_delivered, 100'000u);
}

// Where there is no other, and nothing else to wake up for, a path that has
// answered to little is asked at once for more.
TEST(Life, the_only_path_takes_no_large_packets__found_out_soon) {
  HostOptions host = UsualHost();
  host.config.paths = 1;
  host.config.packet_bytes = 8192;
  host.datapath.max_packet_bytes = 8972;
  host.config.peer_timeout_ms = Config().peer_timeout_ms;
  World world(2, host);
  Stream first(world, 0, 1, 1, 100);
  ASSERT_TRUE(Finish(world, {&first}));
  LinkModel& link = world.link(0, 1, 0);
  link.max_bytes = 1500;
  link.dark = true;
  Stream stream(world, 0, 1, 1, 4000);
  ASSERT_TRUE(world.sim.RunUntil(
      [&] {
        stream.Step();
        return world.path(0, 1, 0).state() == Path::State::kSuspect;
      },
      Duration::Millis(100)));
  link.dark = false;
  ASSERT_TRUE(Finish(world, {&stream}, Duration::Millis(100)));
  stream.ExpectAllOk();
}

TEST(Life, no_path_takes_large_packets__all_arrives) {
  for (const uint32_t max_bytes : {600u, 1200u, 1500u, 5000u}) {
    HostOptions host = UsualHost();
    host.config.packet_bytes = 8192;
    host.datapath.max_packet_bytes = 8972;
    World world(2, host);
    world.ForBoth(0, 1, [&](LinkModel& link) { link.max_bytes = max_bytes; });
    Stream stream(world, 0, 1, 16, kMessage);
    ASSERT_TRUE(Finish(world, {&stream}, Duration::Seconds(2))) << max_bytes;
    stream.ExpectAllOk();
    const uint64_t lost = world.metrics(0).packets_lost.value();
    Stream more(world, 0, 1, 16, kMessage);
    ASSERT_TRUE(Finish(world, {&more}));
    EXPECT_LT(world.metrics(0).packets_lost.value() - lost, 100u);
  }
}

// Small packets share a datagram, and none of them shows how large that was.
TEST(Life, no_path_takes_large_packets__small_messages_arrive) {
  for (const uint32_t max_bytes : {600u, 1000u}) {
    World world;
    world.ForBoth(0, 1, [&](LinkModel& link) { link.max_bytes = max_bytes; });
    Stream stream(world, 0, 1, 5000, 40);
    ASSERT_TRUE(Finish(world, {&stream}, Duration::Seconds(2))) << max_bytes;
    stream.ExpectAllOk();
    EXPECT_EQ(world.metrics(0).packets_lost.value(), 0u);
  }
}

TEST(Life, the_hole_for_large_packets_is_mended__large_ones_again) {
  HostOptions host = UsualHost();
  host.config.packet_bytes = 8192;
  host.datapath.max_packet_bytes = 8972;
  World world(2, host);
  world.ForBoth(0, 1, [](LinkModel& link) { link.max_bytes = 1500; });
  Stream stream(world, 0, 1, 16, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  ASSERT_EQ(world.path(0, 1, 0).max_packet_bytes(), 1200u);
  world.ForBoth(0, 1, [](LinkModel& link) { link.max_bytes = UINT32_MAX; });
  world.Wait(Duration::Seconds(3));
  Stream more(world, 0, 1, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&more}));
  for (int p = 0; p < 8; ++p) {
    EXPECT_GT(world.path(0, 1, p).max_packet_bytes(), 8192u) << "path " << p;
  }
}

// Whatever anybody throws at an engine is a drop that is counted, and changes
// nothing.
TEST(Life, foreign_replayed_and_malformed_packets__are_counted_drops) {
  World world(3);
  using Packet = std::pair<LinkId, std::vector<std::byte>>;
  std::vector<Packet> heard;
  world.sim.network().Listen(
      [&](const LinkId& id, std::span<const std::byte> bytes) {
        heard.emplace_back(id, std::vector(bytes.begin(), bytes.end()));
      });
  Stream stream(world, 0, 1, 16, 10'000), other(world, 2, 1, 16, 10'000);
  ASSERT_TRUE(Finish(world, {&stream, &other}));
  world.Wait(Duration::Millis(10));
  world.sim.network().Listen(nullptr);
  ASSERT_GT(heard.size(), 100u);

  const auto state = [&] {
    std::string text;
    for (int h = 0; h < 3; ++h) {
      for (const auto& peer : world.sim.engine(h).peers()) {
        for (const Path& path : peer->paths) {
          const PathCounts& counts = path.counts();
          for (const uint64_t n :
               {uint64_t{path.in_flight_bytes()}, uint64_t{path.window_bytes()},
                counts.packets_sent, counts.packets_delivered,
                counts.packets_lost, counts.packets_received,
                counts.ecn_marked}) {
            text += std::to_string(n) + " ";
          }
        }
      }
      text += std::to_string(world.metrics(h).bytes_received.value()) + "\n";
    }
    return text;
  };
  const auto drops = [&] {
    uint64_t sum = 0;
    for (int h = 0; h < 3; ++h) {
      const EngineMetrics& m = world.metrics(h);
      sum += m.packets_malformed.value() + m.packets_foreign.value() +
             m.packets_duplicate.value();
    }
    return sum;
  };
  const std::string before = state();
  Random random(7);

  // Of another pair of engines.
  uint64_t dropped = drops();
  uint64_t thrown = 0;
  for (const auto& [id, bytes] : heard) {
    LinkId wrong = id;
    wrong.to = (id.to + 1) % 3;
    world.sim.network().OnSend(wrong, bytes, world.sim.now());
    ++thrown;
  }
  world.Wait(Duration::Millis(1));
  EXPECT_GE(drops() - dropped, thrown);

  // Noise, and what looks like ours at first.
  dropped = drops();
  thrown = 0;
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::byte> noise(1 + random.Below(200));
    for (std::byte& b : noise) b = static_cast<std::byte>(random.Next());
    if (i % 2 == 0) noise[0] = heard[0].second[0];
    world.sim.network().OnSend({0, 1, 0, 0}, noise, world.sim.now());
    ++thrown;
  }
  world.Wait(Duration::Millis(1));
  EXPECT_GE(drops() - dropped, thrown);

  // Cut short, and with a bit flipped in the header.
  dropped = drops();
  thrown = 0;
  for (const auto& [id, bytes] : heard) {
    auto cut = bytes;
    cut.resize(random.Below(std::min<uint64_t>(cut.size(), 36)));
    if (!cut.empty()) {
      world.sim.network().OnSend(id, cut, world.sim.now());
      ++thrown;
    }
    auto flipped = bytes;
    flipped[random.Below(16)] ^= std::byte{1} << random.Below(8);
    world.sim.network().OnSend(id, flipped, world.sim.now());
    ++thrown;
  }
  world.Wait(Duration::Millis(10));
  EXPECT_GE(drops() - dropped, thrown);
  EXPECT_EQ(state(), before);

  // Replayed. Numbers are known, so nothing is opened twice; that it is acked
  // again is all.
  dropped = drops();
  for (const auto& [id, bytes] : heard) {
    world.sim.network().OnSend(id, bytes, world.sim.now());
  }
  world.Wait(Duration::Millis(10));
  EXPECT_GT(drops() - dropped, heard.size() / 4);
  EXPECT_EQ(state(), before);
  stream.ExpectAllOk();
  other.ExpectAllOk();

  Stream after(world, 0, 1, 16, 10'000);
  ASSERT_TRUE(Finish(world, {&after}));
  after.ExpectAllOk();
}

// --- Peers -----------------------------------------------------------------

TEST(Life, all_goes_dark__every_request_ends_in_time) {
  World world;
  Stream out(world, 0, 1, 500, kMessage), back(world, 1, 0, 500, kMessage);
  // A receive for which nothing was ever sent.
  Stream waiting(world, 0, 1, 1, 100);
  waiting.sends.may_post = false;
  const Time dark_at = Time() + Duration::Millis(10);
  world.sim.At(dark_at, [&] {
    world.ForBoth(0, 1, [](LinkModel& link) { link.dark = true; });
  });
  const auto ended = [&] {
    out.Step(), back.Step(), waiting.Step();
    return out.sends.done == 500 && out.receives.done == 500 &&
           back.sends.done == 500 && back.receives.done == 500 &&
           waiting.receives.done == 1;
  };
  ASSERT_TRUE(world.sim.RunUntil(ended, Duration::Seconds(20)));
  EXPECT_GE(world.sim.now() - dark_at, kPeerTimeout - Duration::Millis(1));
  EXPECT_LE(world.sim.now() - dark_at, kPatience);
  EXPECT_EQ(waiting.receives.outcomes[0], Outcome::kPeerLost);
  for (const Stream* stream : {&out, &back}) {
    EXPECT_GT(stream->sends.Count(Outcome::kPeerLost), 0u);
    EXPECT_EQ(stream->sends.Count(Outcome::kPeerLost) +
                  stream->sends.Count(Outcome::kOk),
              500u);
    EXPECT_EQ(stream->receives.Count(Outcome::kPeerLost) +
                  stream->receives.Count(Outcome::kOk),
              500u);
    stream->ExpectUntouched();
  }
  EXPECT_EQ(world.metrics(0).peers_lost.value(), 1u);
}

TEST(Life, a_peer_is_killed__cause_names_peer_path_and_reason) {
  World world(3);
  Stream doomed(world, 0, 1, 1000, kMessage), fine(world, 0, 2, 64, kMessage);
  doomed.receives.may_post = true;
  const Time killed_at = Time() + Duration::Millis(5);
  world.sim.At(killed_at, [&] { world.sim.Kill(1); });
  ASSERT_TRUE(world.sim.RunUntil(
      [&] {
        doomed.Step();
        return fine.Step() && doomed.sends.done == doomed.messages();
      },
      Duration::Seconds(20)));
  EXPECT_LE(world.sim.now() - killed_at, kPatience);
  fine.ExpectAllOk();
  EXPECT_EQ(*doomed.sends.outcomes.back(), Outcome::kPeerLost);
  const std::string& cause = world.peer(0, 1).cause;
  EXPECT_THAT(cause, HasSubstr("peer host1 is lost"));
  EXPECT_THAT(cause, HasSubstr("nothing was heard for 1000 ms"));
  EXPECT_THAT(cause, HasSubstr("last on path "));
  EXPECT_THAT(cause, HasSubstr("8 of 8 paths silent"));
  EXPECT_THAT(cause, HasSubstr("HAWSER_PEER_TIMEOUT_MS=1000"));
}

TEST(Life, a_receive_that_nothing_comes_for__waits_while_the_peer_lives) {
  World world;
  Stream stream(world, 0, 1, 1, 1000);
  stream.sends.may_post = false;
  EXPECT_FALSE(Finish(world, {&stream}, 20 * kPeerTimeout));
  EXPECT_EQ(stream.receives.done, 0u);
  stream.sends.may_post = true;
  // Anything that happens makes it try.
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  EXPECT_LT(world.sim.network().departures(), 1000u);
}

// Who stood still has heard nobody, and must ask before it judges.
TEST(Life, a_host_stood_still_for_longer_than_the_timeout__loses_nobody) {
  World world;
  Stream stream(world, 0, 1, 1, 1000);
  stream.sends.may_post = false;
  stream.Step();
  world.Wait(Duration::Millis(1));
  for (int h = 0; h < 2; ++h) {
    world.sim.Pause(h, world.sim.now() + 3 * kPeerTimeout);
  }
  world.Wait(5 * kPeerTimeout);
  stream.sends.may_post = true;
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
}

TEST(Life, goodbye__ends_what_is_open_and_frees_the_peer) {
  World world;
  Stream stream(world, 0, 1, 2, kMessage);
  stream.sends.may_post = false;
  stream.Step();
  world.Wait(Duration::Millis(1));
  world.sim.Goodbye(0);
  const Time said_at = world.sim.now();
  ASSERT_TRUE(world.sim.RunUntil(
      [&] {
        stream.Step();
        return stream.receives.done == 2;
      },
      Duration::Seconds(5)));
  EXPECT_TRUE(stream.receives.All(Outcome::kPeerLost));
  EXPECT_LT(world.sim.now() - said_at, Duration::Millis(200));
  EXPECT_THAT(world.peer(1, 0).cause,
              HasSubstr("peer host0 is lost: its endpoint ended"));
}

// --- Messages --------------------------------------------------------------

TEST(Life, the_receiver_is_late__nothing_is_sent_before) {
  World world;
  Stream stream(world, 0, 1, 32, kMessage);
  stream.receives.may_post = false;
  EXPECT_FALSE(Finish(world, {&stream}, Duration::Millis(50)));
  EXPECT_EQ(world.metrics(0).packets_sent.value(), 0u);
  stream.receives.may_post = true;
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
}

TEST(Life, the_sender_is_late__grants_wait_there) {
  World world;
  Stream stream(world, 0, 1, 32, kMessage);
  stream.sends.may_post = false;
  EXPECT_FALSE(Finish(world, {&stream}, Duration::Millis(50)));
  EXPECT_LE(world.metrics(1).packets_sent.value(), 40u);
  stream.sends.may_post = true;
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
}

TEST(Life, empty_messages__arrive_like_others) {
  World world;
  Stream stream(world, 0, 1, 100, 0, 100);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
}

TEST(Life, a_message_too_large__both_sides_know_and_the_flow_goes_on) {
  World world;
  SimFlow flow = world.sim.Connect(0, 1);
  constexpr std::array<uint32_t, 4> kSizes = {1000, 50'000, 1000, 0};
  constexpr std::array<uint32_t, 4> kCapacities = {1000, 49'999, 1001, 0};
  std::vector<std::vector<std::byte>> out, in;
  std::vector<Request*> sends, receives;
  for (int m = 0; m < 4; ++m) {
    out.emplace_back(kSizes[m], std::byte{7});
    in.emplace_back(kCapacities[m], kUntouched);
  }
  for (int m = 0; m < 4; ++m) {
    sends.push_back(world.sim.Send(flow, out[m]));
    receives.push_back(world.sim.Receive(flow, in[m]));
  }
  world.Wait(Duration::Millis(10));
  for (int m = 0; m < 4; ++m) {
    const Outcome expected = m == 1 ? Outcome::kTruncated : Outcome::kOk;
    for (Request* request : {sends[m], receives[m]}) {
      Outcome outcome;
      uint32_t bytes;
      ASSERT_TRUE(RequestQueue::Test(request, &outcome, &bytes));
      EXPECT_EQ(outcome, expected) << m;
      EXPECT_EQ(bytes, m == 1 ? 0 : kSizes[m]) << m;
    }
  }
  EXPECT_EQ(in[1], std::vector<std::byte>(49'999, kUntouched));
}

TEST(Life, a_message_to_oneself) {
  World world(1);
  Stream stream(world, 0, 0, 64, kMessage);
  ASSERT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
}

// --- Flows -----------------------------------------------------------------

TEST(Life, the_sender_closes_in_the_middle__receives_end_as_closed) {
  World world;
  Stream stream(world, 0, 1, 100, kMessage);
  ASSERT_FALSE(Finish(world, {&stream}, Duration::Millis(1)));
  stream.CloseSender();
  ASSERT_TRUE(Finish(world, {&stream}, Duration::Millis(50)));
  EXPECT_GT(stream.receives.Count(Outcome::kClosed), 0u);
  EXPECT_EQ(stream.receives.Count(Outcome::kClosed) +
                stream.receives.Count(Outcome::kOk),
            100u);
  world.Wait(Duration::Millis(100));
  stream.ExpectUntouched();
}

TEST(Life, the_receiver_closes_in_the_middle__sends_end_as_closed) {
  World world;
  world.ForBoth(0, 1, [](LinkModel& link) { link.echo = 0.3; });
  Stream stream(world, 0, 1, 100, kMessage);
  ASSERT_FALSE(Finish(world, {&stream}, Duration::Millis(1)));
  stream.CloseReceiver();
  ASSERT_TRUE(Finish(world, {&stream}, Duration::Millis(50)));
  EXPECT_GT(stream.sends.Count(Outcome::kClosed), 0u);
  EXPECT_EQ(
      stream.sends.Count(Outcome::kClosed) + stream.sends.Count(Outcome::kOk),
      100u);
  // What was on its way touches nothing, nor does it reach the flow that takes
  // the place.
  Stream next(world, 0, 1, 100, kMessage);
  ASSERT_TRUE(Finish(world, {&next}));
  world.Wait(Duration::Millis(100));
  next.ExpectAllOk();
  stream.ExpectUntouched();
}

// What is on its way to a flow that is closed is acked all the same, or its
// paths would seem to lose packets.
TEST(Life, the_receiver_closes_in_the_middle__no_path_is_blamed) {
  World world;
  Stream stream(world, 0, 1, 100, kMessage);
  ASSERT_FALSE(Finish(world, {&stream}, Duration::Millis(1)));
  stream.CloseReceiver();
  ASSERT_TRUE(Finish(world, {&stream}, Duration::Millis(50)));
  world.Wait(Duration::Millis(100));
  uint64_t delivered = 0;
  for (const Path& path : world.peer(0, 1).paths) {
    EXPECT_EQ(path.counts().packets_lost, 0u);
    EXPECT_EQ(path.counts().packets_delivered, path.counts().packets_sent);
    delivered += path.counts().packets_delivered;
  }
  EXPECT_GT(delivered, 0u);
}

// A close may overtake the acks for what came last, and says what came.
TEST(Life, the_receiver_closes_after_its_last_receive__sends_end_well) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    World world(2, UsualHost(), seed);
    world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.1; });
    Stream stream(world, 0, 1, 20, 20'000);
    ASSERT_TRUE(world.sim.RunUntil(
        [&] {
          stream.Step();
          return stream.receives.done == 20;
        },
        Duration::Seconds(5)));
    stream.CloseReceiver();
    ASSERT_TRUE(Finish(world, {&stream}));
    EXPECT_TRUE(stream.sends.All(Outcome::kOk)) << seed;
  }
}

TEST(Life, a_close_that_nobody_hears__comes_to_an_end) {
  World world;
  Stream stream(world, 0, 1, 1, 1000);
  ASSERT_TRUE(Finish(world, {&stream}));
  world.sim.Kill(1);
  stream.CloseSender();
  world.Wait(kPatience);
  const uint64_t before = world.sim.network().departures();
  world.Wait(Duration::Seconds(10));
  EXPECT_EQ(world.sim.network().departures(), before);
  EXPECT_TRUE(world.sim.engine(0).quiet());
}

TEST(Life, a_thousand_flows__share_the_paths) {
  World world;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Stream*> all;
  for (int i = 0; i < 1000; ++i) {
    streams.push_back(std::make_unique<Stream>(world, 0, 1, 4, 3000));
    all.push_back(streams.back().get());
  }
  ASSERT_TRUE(Finish(world, all));
  for (const Stream* stream : all) stream->ExpectAllOk();
  EXPECT_EQ(world.peer(0, 1).paths.size(), 8u);
  EXPECT_EQ(world.metrics(0).packets_lost.value(), 0u);
}

// Flows take turns: one with much to say does not keep others waiting.
TEST(Life, a_small_message_beside_a_large_one__is_not_kept_waiting) {
  World world;
  Stream large(world, 0, 1, 64, 1 << 20);
  ASSERT_FALSE(Finish(world, {&large}, Duration::Millis(2)));
  const Time asked_at = world.sim.now();
  Stream small(world, 0, 1, 1, 100);
  ASSERT_TRUE(world.sim.RunUntil(
      [&] {
        large.Step();
        return small.Step();
      },
      Duration::Seconds(1)));
  EXPECT_LT(world.sim.now() - asked_at, Duration::Millis(1));
}

// --- Congestion ------------------------------------------------------------

// The window is obeyed, always: what is in flight fits it, or is one packet.
TEST(Life, a_fixed_window__is_never_exceeded) {
  for (const int window : {1024, 10'000, 100'000}) {
    HostOptions host = UsualHost();
    host.config.congestion = "fixed_window";
    host.config.window_bytes = window;
    World world(2, host);
    world.ForBoth(0, 1, [](LinkModel& link) { link.loss = 0.01; });
    world.link(0, 1, 2).dark = true;
    Stream stream(world, 0, 1, 20, kMessage);
    const auto most = std::max(static_cast<uint32_t>(window), 1472u);
    // The largest that was in flight; bare probes (16 bytes) come on top.
    uint32_t seen = 0;
    ASSERT_TRUE(world.sim.RunUntil(
        [&] {
          for (const Path& path : world.peer(0, 1).paths) {
            seen = std::max(seen, path.in_flight_bytes());
          }
          return stream.Step();
        },
        Duration::Seconds(20)));
    EXPECT_LE(seen, most + 256);
    EXPECT_GT(seen, most / 2);
    stream.ExpectAllOk();
  }
}

TEST(Life, incast_of_eight__shares_the_port_and_loses_little) {
  constexpr int kSenders = 8;
  World world(1 + kSenders);
  PortModel& port = world.sim.network().port(0, 0);
  port.rate = Rate::GigabitsPerSecond(10);
  port.queue_bytes = 512 * 1024;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Stream*> all;
  for (int h = 1; h <= kSenders; ++h) {
    streams.push_back(std::make_unique<Stream>(world, h, 0, 64, kMessage));
    all.push_back(streams.back().get());
  }
  ASSERT_TRUE(Finish(world, all));
  const Duration ideal =
      port.rate.TimeToSend(uint64_t{kSenders} * 64 * kMessage);
  uint64_t lost = 0, sent = 0;
  Time last;
  for (int h = 1; h <= kSenders; ++h) {
    all[h - 1]->ExpectAllOk();
    last = std::max(last, all[h - 1]->receives.last_done);
    lost += world.metrics(h).packets_lost.value();
    sent += world.metrics(h).packets_sent.value();
  }
  EXPECT_LT((last - Time()) / ideal, 1.3);
  EXPECT_LT(static_cast<double>(lost) / static_cast<double>(sent), 0.05);
}

// Sixteen paths over four planes of 200 Mb/s, whose queues take 10 ms.
TEST(Life, a_start_on_slow_planes__loses_nothing) {
  HostOptions host = UsualHost();
  host.planes = 4;
  host.config.paths = 16;
  host.datapath.entropies = 4;
  host.config.window_bytes = Config().window_bytes;
  host.config.target_delay_us = Config().target_delay_us;
  World world(2, host);
  constexpr Rate kPlane = Rate::MegabitsPerSecond(200);
  for (int plane = 0; plane < 4; ++plane) {
    PortModel& port = world.sim.network().port(1, plane);
    port.rate = kPlane;
    port.queue_bytes = 256 * 1024;
  }
  Stream stream(world, 0, 1, 5, 1 << 20);
  const Time begin = world.sim.now();
  ASSERT_TRUE(Finish(world, {&stream}));
  EXPECT_EQ(world.metrics(0).packets_lost.value(), 0u);
  const Duration ideal = kPlane.TimeToSend(5 << 20) / 4;
  EXPECT_LT((stream.receives.last_done - begin) / ideal, 1.05);
}

TEST(Life, two_peers__get_alike_shares) {
  HostOptions host = UsualHost();
  host.config.window_bytes = Config().window_bytes;
  host.config.target_delay_us = Config().target_delay_us;
  World world(3, host);
  PortModel& port = world.sim.network().port(0, 0);
  port.rate = Rate::GigabitsPerSecond(10);
  port.queue_bytes = 512 * 1024;
  Stream a(world, 1, 0, 400, kMessage), b(world, 2, 0, 400, kMessage);
  (void)Finish(world, {&a, &b}, Duration::Millis(100));
  const double share = static_cast<double>(a.receives.done) /
                       static_cast<double>(a.receives.done + b.receives.done);
  EXPECT_NEAR(share, 0.5, 0.1);
}

// And as senders: the engine serves its peers in turn.
TEST(Life, one_host_to_two_peers__serves_both) {
  World world(3);
  Stream a(world, 0, 1, 400, kMessage), b(world, 0, 2, 400, kMessage);
  (void)Finish(world, {&a, &b}, Duration::Millis(10));
  const double share = static_cast<double>(a.receives.done) /
                       static_cast<double>(a.receives.done + b.receives.done);
  EXPECT_NEAR(share, 0.5, 0.1);
}

}  // namespace
}  // namespace hawser::sim
