// Many hosts send to one: what that one admits, what it spares the others, and
// that it never holds up whoever sends alone.
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sim/world.h"

namespace hawser::sim {
namespace {

constexpr Rate kPort = Rate::GigabitsPerSecond(10);

// Their ports take 10 Gb/s, which they know.
HostOptions Host(bool admits) {
  HostOptions host = UsualHost();
  host.config.admission = admits ? "auto" : "off";
  host.config.port_mbps = 10'000;
  return host;
}

void Narrow(World& world, int host) {
  PortModel& port = world.sim.network().port(host, 0);
  port.rate = kPort;
  port.queue_bytes = 512 * 1024;
}

using Streams = std::vector<std::unique_ptr<Stream>>;

Time LastDone(const Streams& streams) {
  Time last;
  for (const auto& stream : streams) {
    last = std::max(last, stream->receives.last_done);
  }
  return last;
}

// --- An incast -------------------------------------------------------------

struct Incast {
  double stretch = 0;  // How long it took, over what the port would have.
  double lost = 0;     // Of the packets.
  Duration mean_wait, longest_wait;  // Of small messages from somebody else.
  uint64_t raised = 0;
};

Incast RunIncast(int senders, const HostOptions& host, int messages = 64,
                 double loss = 0) {
  World world(senders + 2, host);
  Narrow(world, 0);
  Streams streams;
  for (int h = 1; h <= senders; ++h) {
    world.ForBoth(0, h, [&](LinkModel& link) {
      link.loss = loss;
      link.duplicate = link.overtake = loss;
    });
    streams.push_back(
        std::make_unique<Stream>(world, h, 0, messages, kMessage));
  }
  Incast incast;
  // One after the other, from a host that has nothing to do with it.
  auto victim = std::make_unique<Stream>(world, senders + 1, 0, 1, 1000);
  Time began = world.sim.now();
  int victims = 0;
  Duration waits;
  EXPECT_TRUE(world.sim.RunUntil(
      [&] {
        if (victim->Step()) {
          const Duration wait = world.sim.now() - began;
          victim->ExpectAllOk();
          waits += wait;
          ++victims;
          incast.longest_wait = std::max(incast.longest_wait, wait);
          victim = std::make_unique<Stream>(world, senders + 1, 0, 1, 1000);
          began = world.sim.now();
        }
        bool all = true;
        for (const auto& stream : streams) all &= stream->Step();
        return all;
      },
      Duration::Seconds(20)));
  uint64_t lost = 0, sent = 0;
  for (int h = 1; h <= senders; ++h) {
    streams[static_cast<size_t>(h - 1)]->ExpectAllOk();
    lost += world.metrics(h).packets_lost.value();
    sent += world.metrics(h).packets_sent.value();
  }
  const auto bytes = static_cast<uint64_t>(senders) *
                     static_cast<uint64_t>(messages) * kMessage;
  incast.stretch = (LastDone(streams) - Time()) / kPort.TimeToSend(bytes);
  incast.lost = static_cast<double>(lost) / static_cast<double>(sent);
  incast.mean_wait = waits / std::max(victims, 1);
  incast.raised = world.metrics(0).grants_raised.value();
  return incast;
}

TEST(Admission, incast_of_eight__loses_nothing) {
  const Incast free = RunIncast(8, Host(false), 32);
  const Incast admitted = RunIncast(8, Host(true), 32);
  EXPECT_GT(free.lost, 0.001);
  EXPECT_EQ(admitted.lost, 0);
  EXPECT_LT(admitted.stretch, 1.03);
  EXPECT_LT(admitted.mean_wait, free.mean_wait);
  EXPECT_LT(admitted.longest_wait, Duration::Micros(600));
  EXPECT_GT(admitted.raised, 1000u);
}

// They cannot all be told before they begin.
TEST(Admission, incast_of_thirty_one__loses_little) {
  const Incast free = RunIncast(31, Host(false), 12);
  const Incast admitted = RunIncast(31, Host(true), 12);
  EXPECT_GT(free.lost, 0.01);
  EXPECT_LT(admitted.lost, free.lost / 2);
  EXPECT_LT(admitted.stretch, free.stretch);
}

TEST(Admission, incast_of_two__fills_the_port) {
  const Incast free = RunIncast(2, Host(false));
  const Incast admitted = RunIncast(2, Host(true));
  EXPECT_EQ(admitted.lost, 0);
  EXPECT_LT(admitted.stretch, free.stretch + 0.005);
}

// --- Receives that were posted long before ---------------------------------

// Every receive of every host is posted at once, and each message is sent when
// what it depends on has come. Ports are taken for so slow that hardly anything
// is admitted unasked.
HostOptions Stingy(bool admits) {
  HostOptions host = Host(admits);
  host.config.port_mbps = 10;
  return host;
}

// What host 0 begins goes around the ring `rounds` times; beside each link lie
// flows on which nothing is ever sent.
Duration RunRing(int hosts, int rounds, const HostOptions& options) {
  World world(hosts, options);
  for (int h = 0; h < hosts; ++h) Narrow(world, h);
  Streams ring, idle;
  for (int h = 0; h < hosts; ++h) {
    const int next = (h + 1) % hosts;
    ring.push_back(std::make_unique<Stream>(world, h, next, rounds, kMessage));
    for (int other = 0; other < hosts; ++other) {
      if (other == next) continue;
      idle.push_back(std::make_unique<Stream>(world, other, next, 8, kMessage));
      idle.back()->sends.may_post = false;
    }
  }
  EXPECT_TRUE(world.sim.RunUntil(
      [&] {
        for (const auto& stream : idle) stream->Step();
        bool all = true;
        for (int h = 0; h < hosts; ++h) {
          Stream& out = *ring[static_cast<size_t>(h)];
          const Stream& in =
              *ring[static_cast<size_t>((h + hosts - 1) % hosts)];
          // Host 0 is a round ahead of what it has received.
          out.sends.most_posted = in.receives.done + (h == 0 ? 1 : 0);
          all &= out.Step();
        }
        return all;
      },
      Duration::Seconds(20)));
  for (const auto& stream : ring) stream->ExpectAllOk();
  return world.sim.now() - Time();
}

TEST(Admission, a_ring_posted_far_ahead__goes_around) {
  const Duration free = RunRing(6, 20, Host(false));
  const Duration admitted = RunRing(6, 20, Host(true));
  EXPECT_LT(admitted / free, 1.05);
  // With next to nothing admitted it is slow, and goes around.
  RunRing(6, 20, Stingy(true));
}

// In round r each host sends to the r-th behind it, and goes on when it has
// received what was sent to it in that round.
Duration RunAllToAll(int hosts, int rounds, const HostOptions& options) {
  World world(hosts, options);
  for (int h = 0; h < hosts; ++h) Narrow(world, h);
  Streams streams;  // From h to the d-th behind it: h * (hosts - 1) + d - 1.
  const auto at = [&](int h, int d) -> Stream& {
    return *streams[static_cast<size_t>(h * (hosts - 1) + d - 1)];
  };
  for (int h = 0; h < hosts; ++h) {
    for (int d = 1; d < hosts; ++d) {
      streams.push_back(std::make_unique<Stream>(world, h, (h + d) % hosts,
                                                 rounds, kMessage));
    }
  }
  std::vector<int> step(static_cast<size_t>(hosts));
  EXPECT_TRUE(world.sim.RunUntil(
      [&] {
        bool all = true;
        for (int h = 0; h < hosts; ++h) {
          int& now = step[static_cast<size_t>(h)];
          const int d = now % (hosts - 1) + 1;
          const auto round = static_cast<size_t>(now / (hosts - 1));
          if (now < rounds * (hosts - 1) &&
              at((h + hosts - d) % hosts, d).receives.done > round) {
            ++now;
          }
          for (int other = 1; other < hosts; ++other) {
            Stream& out = at(h, other);
            out.sends.most_posted = static_cast<size_t>(
                now / (hosts - 1) + (now % (hosts - 1) + 1 >= other));
            all &= out.Step();
          }
        }
        return all;
      },
      Duration::Seconds(20)));
  for (const auto& stream : streams) stream->ExpectAllOk();
  return world.sim.now() - Time();
}

TEST(Admission, an_all_to_all_posted_far_ahead__comes_to_its_end) {
  const Duration free = RunAllToAll(6, 8, Host(false));
  const Duration admitted = RunAllToAll(6, 8, Host(true));
  EXPECT_LT(admitted / free, 1.05);
  RunAllToAll(6, 8, Stingy(true));
}

// --- One sender ------------------------------------------------------------

struct Alone {
  Duration took;
  uint64_t packets = 0;  // That the receiver sent.
  uint64_t raised = 0;
};

// Of `expected` hosts one sends.
Alone RunAlone(int expected, bool admits, uint32_t bytes, int messages,
               std::optional<uint32_t> capacity = std::nullopt) {
  World world(expected + 1, Host(admits));
  Narrow(world, 0);
  Streams idle;
  for (int h = 2; h <= expected; ++h) {
    idle.push_back(std::make_unique<Stream>(world, h, 0, 8, kMessage));
    idle.back()->sends.may_post = false;
    idle.back()->Step();
  }
  world.Wait(Duration::Millis(1));
  const Time begin = world.sim.now();
  const uint64_t before = world.metrics(0).packets_sent.value();
  Stream stream(world, 1, 0, messages, bytes, capacity);
  EXPECT_TRUE(Finish(world, {&stream}));
  stream.ExpectAllOk();
  return {stream.receives.last_done - begin,
          world.metrics(0).packets_sent.value() - before,
          world.metrics(0).grants_raised.value()};
}

TEST(Admission, a_lone_sender__costs_nothing) {
  for (const uint32_t bytes : {100u, 10'000u, kMessage}) {
    const Alone free = RunAlone(1, false, bytes, 200);
    const Alone alone = RunAlone(1, true, bytes, 200);
    EXPECT_EQ(alone.raised, 0u);
    EXPECT_EQ(alone.packets, free.packets);
    EXPECT_EQ(alone.took, free.took);
  }
}

// Where others could send, and do not: the messages that were posted before it
// showed itself are granted twice, and no other.
TEST(Admission, one_of_several__is_not_slowed) {
  for (const uint32_t bytes : {100u, 10'000u, kMessage}) {
    for (const uint32_t more : {0u, 1'000'000u}) {
      // The sender shows itself after kSlots of them; as many again follow.
      const int messages = bytes < kMessage ? 200 : 2 * RequestQueue::kSlots;
      const Alone free = RunAlone(4, false, bytes, messages, bytes + more);
      const Alone alone = RunAlone(4, true, bytes, messages, bytes + more);
      // Of a new flow it is not known how much of a buffer a message takes.
      EXPECT_LT(alone.took - free.took,
                free.took / 100 + Duration::Micros(more > 0 ? 30 : 1))
          << bytes << " " << more;
      EXPECT_LE(alone.raised, RequestQueue::kSlots + 2) << bytes << " " << more;
    }
  }
}

// With very many it begins with less than a round trip's worth, and that is all
// it costs.
TEST(Admission, one_of_very_many__waits_for_a_round_trip_at_most) {
  const Alone free = RunAlone(40, false, kMessage, 100);
  const Alone alone = RunAlone(40, true, kMessage, 100);
  EXPECT_LT(alone.took - free.took, Duration::Micros(50));
}

// --- Packets that are lost, late, and twice there --------------------------

TEST(Admission, grants_are_lost_and_overtaken__all_arrives) {
  const Incast incast = RunIncast(4, Host(true), 16, 0.1);
  EXPECT_GT(incast.raised, 100u);
}

TEST(Admission, the_nic_places__nothing_is_placed_twice) {
  HostOptions host = Host(true);
  host.config.packet_bytes = 4096;
  host.datapath.max_placed_bytes = 4096;
  for (const double loss : {0.0, 0.02}) {
    const Incast incast = RunIncast(4, host, 16, loss);
    EXPECT_GT(incast.raised, 100u);
  }
}

// What has come for a GPU makes room only when it is there, and by then no
// packet need be under way any more.
TEST(Admission, the_nic_carries_to_a_gpu__grants_wait_for_no_packet) {
  HostOptions host = Stingy(true);
  host.datapath.gpu = true;
  host.datapath.max_placed_bytes = 1;  // Nothing is placed.
  host.datapath.carries_for = Duration::Micros(700);
  World world(3, host);
  Stream one(world, 1, 0, 4, 64 * 1024), other(world, 2, 0, 4, 64 * 1024);
  ASSERT_TRUE(Finish(world, {&one, &other}));
  one.ExpectAllOk();
  other.ExpectAllOk();
  EXPECT_GT(world.metrics(0).bytes_carried.value(), 7u * 64 * 1024);
  EXPECT_GT(world.metrics(0).grants_raised.value(), 0u);
  EXPECT_LT((world.sim.now() - Time()) / Duration::Millis(1), 20);
}

}  // namespace
}  // namespace hawser::sim
