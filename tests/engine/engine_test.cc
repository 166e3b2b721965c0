// The engine's control functions and its turn, in virtual time. What becomes
// of traffic is told in tests/sim/.
#include "transport/engine/engine.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/world.h"
#include "transport/sim/network.h"

namespace hawser {
namespace {

using sim::Finish;
using sim::Stream;
using sim::World;
using ::testing::HasSubstr;

constexpr Time kStart = Time::FromNanos(1'000'000'000);

// An engine over `count` planes that lead nowhere.
struct Lone {
  explicit Lone(int count = 1, const Config& config = {},
                const sim::SimDatapathOptions& options = {}) {
    std::vector<Datapath*> raw;
    for (int p = 0; p < count; ++p) {
      planes.push_back(
          std::make_unique<sim::SimDatapath>(network, 0, p, options));
      raw.push_back(planes.back().get());
    }
    engine = std::make_unique<Engine>(config, wire::EndpointIdentity{1, 11},
                                      /*index=*/3, raw, /*seed=*/1);
  }
  wire::Introduction Introduce(int count = 1) const {
    wire::Introduction words;
    words.identity = {2, 22};
    words.engine = 0;
    words.peer = {7};
    words.flow = {9};
    words.paths = 8;
    for (int p = 0; p < count; ++p) {
      words.planes.push_back(planes[0]->address());
    }
    words.host = "far:1";
    return words;
  }
  // A peer of its own for each `id`, and open.
  Peer* Meet(uint64_t id) {
    Peer* peer = *engine->AddPeer({id, 22}, 0, kStart);
    EXPECT_TRUE(engine->OpenPeer(*peer, Introduce(), kStart).ok());
    return peer;
  }
  // A probe from the peer, which asks for an ack at once.
  void Probe(const Peer& peer, uint64_t number = 0) {
    wire::PacketHeader header;
    header.peer = peer.id;
    header.number = {number};
    header.ack_now = true;
    header.cargo.kind = wire::CargoKind::kProbe;
    std::vector<std::byte> bytes(wire::kMaxHeaderBytes);
    bytes.resize(wire::EncodePacket(header, peer.rx_key, bytes));
    planes[0]->OnArrival(std::move(bytes), /*marked=*/false);
  }
  sim::Network network{1};
  std::vector<std::unique_ptr<sim::SimDatapath>> planes;
  std::unique_ptr<Engine> engine;
};

// --- Peers -----------------------------------------------------------------

TEST(Engine, AddPeer__finds_it_again) {
  Lone lone;
  Engine& engine = *lone.engine;
  EXPECT_EQ(engine.index(), 3);
  const auto a = engine.AddPeer({2, 22}, 0, kStart);
  const auto same = engine.AddPeer({2, 22}, 0, kStart);
  const auto other_engine = engine.AddPeer({2, 22}, 1, kStart);
  const auto other_endpoint = engine.AddPeer({3, 33}, 0, kStart);
  ASSERT_TRUE(a.ok() && same.ok() && other_engine.ok() && other_endpoint.ok());
  EXPECT_EQ(*a, *same);
  EXPECT_EQ((std::set<Peer*>{*a, *other_engine, *other_endpoint}).size(), 3u);
  EXPECT_EQ((*a)->id, PeerId{0});
  EXPECT_EQ((*other_endpoint)->id, PeerId{2});
  EXPECT_EQ(engine.peers().size(), 3u);
  EXPECT_EQ((*a)->state, Peer::State::kNew);
  EXPECT_FALSE(engine.has_peers());
  EXPECT_TRUE(engine.quiet());
}

TEST(Engine, OpenPeer__paths_over_all_planes) {
  Config config;
  config.paths = 12;
  Lone lone(3, config);
  Peer* peer = *lone.engine->AddPeer({2, 22}, 0, kStart);
  ASSERT_TRUE(lone.engine->OpenPeer(*peer, lone.Introduce(3), kStart).ok());
  EXPECT_EQ(peer->state, Peer::State::kOpen);
  EXPECT_EQ(peer->name, "far:1");
  EXPECT_EQ(peer->far_id, PeerId{7});
  EXPECT_TRUE(lone.engine->has_peers());
  // The side that asks for fewer decides.
  ASSERT_EQ(peer->paths.size(), 8u);
  for (uint16_t p = 0; p < 8; ++p) {
    EXPECT_EQ(peer->paths[p].id(), PathId{p});
    EXPECT_EQ(peer->places[p].plane, p % 3);
    EXPECT_EQ(peer->places[p].entropy, p / 3);
  }
  // Once more is nothing.
  wire::Introduction other = lone.Introduce(3);
  other.host = "other";
  EXPECT_TRUE(lone.engine->OpenPeer(*peer, other, kStart).ok());
  EXPECT_EQ(peer->name, "far:1");
}

TEST(Engine, OpenPeer__unavailable_where_no_plane_reaches_it) {
  Lone lone;
  Peer* peer = *lone.engine->AddPeer({2, 22}, 0, kStart);
  wire::Introduction words = lone.Introduce();
  words.planes[0] = PlaneAddress();
  const absl::Status status = lone.engine->OpenPeer(*peer, words, kStart);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("far:1"));
  EXPECT_EQ(peer->state, Peer::State::kNew);
}

TEST(Engine, AddPeer__refused_once_it_was_lost) {
  World world;
  Stream stream(world, 0, 1, 1, 100);
  stream.sends.may_post = false;
  stream.Step();
  world.sim.Goodbye(0);
  const Peer& lost = world.peer(1, 0);
  for (const auto& [wait, state] :
       {std::pair(Duration::Millis(1), Peer::State::kLeaving),
        std::pair(Duration::Seconds(1), Peer::State::kLost)}) {
    world.Wait(wait);
    ASSERT_EQ(lost.state, state);
    const auto again =
        world.sim.engine(1).AddPeer(lost.identity, 0, world.sim.now());
    EXPECT_EQ(again.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(again.status().message()),
                HasSubstr("its endpoint ended"));
  }
}

// --- Flows -----------------------------------------------------------------

TEST(Engine, AddFlow__one_table_for_each_direction) {
  Lone lone;
  Peer* peer = *lone.engine->AddPeer({2, 22}, 0, kStart);
  const auto send = lone.engine->AddFlow(*peer, Direction::kSend);
  const auto receive = lone.engine->AddFlow(*peer, Direction::kReceive);
  ASSERT_TRUE(send.ok() && receive.ok());
  EXPECT_TRUE((*send)->send && !(*send)->receive);
  EXPECT_TRUE((*receive)->receive && !(*receive)->send);
  EXPECT_EQ((*send)->id, (*receive)->id);
  EXPECT_EQ((*send)->far_id, kNoFlow);
  EXPECT_EQ(peer->sends.Find((*send)->id), *send);
}

TEST(Engine, CloseFlow__before_it_was_connected) {
  Lone lone;
  Peer* peer = *lone.engine->AddPeer({2, 22}, 0, kStart);
  FlowRecord* record = *lone.engine->AddFlow(*peer, Direction::kSend);
  const FlowId id = record->id;
  std::byte bytes[8];
  ASSERT_NE(record->queue.Submit({bytes, 8, 0}), nullptr);
  lone.engine->inbox().Ring(&record->queue);
  lone.engine->CloseFlow(*record, kStart);
  EXPECT_EQ(peer->sends.Find(id), nullptr);
  EXPECT_TRUE(peer->closes.empty());  // Nobody there knows of it.
  EXPECT_FALSE(peer->needed());
  EXPECT_TRUE(lone.engine->inbox().empty());
  lone.engine->RunOnce(kStart);
}

// What was submitted before the handshake is over is not lost.
TEST(Engine, ConnectFlow__takes_what_waited) {
  World world;
  sim::SimFlow made = world.sim.Connect(0, 1);
  Engine& engine = world.sim.engine(0);
  Peer& peer = *made.send->peer;
  FlowRecord* record = *engine.AddFlow(peer, Direction::kSend);
  std::vector<std::byte> out(1000, std::byte{5}), in(1000);
  ASSERT_NE(world.sim.Submit(record, 0, out), nullptr);
  world.Wait(Duration::Millis(1));
  FlowRecord* far =
      *world.sim.engine(1).AddFlow(*made.receive->peer, Direction::kReceive);
  world.sim.engine(1).ConnectFlow(*far, record->id, world.sim.now());
  Request* receive = world.sim.Submit(far, 1, in);
  world.Wait(Duration::Millis(1));
  engine.ConnectFlow(*record, far->id, world.sim.now());
  world.sim.Pause(0, world.sim.now());  // That is, wakes it.
  world.Wait(Duration::Millis(50));
  EXPECT_EQ(receive->state.load(), Request::State::kDone);
  EXPECT_EQ(in, out);
}

TEST(Engine, CloseFlow__slots_are_used_again_under_other_ids) {
  World world;
  constexpr size_t kFlows = FlowTable::kResting + 20;
  std::set<uint32_t> ids;
  for (size_t i = 0; i < kFlows; ++i) {
    Stream stream(world, 0, 1, 3, 2000);
    ids.insert(stream.flow().send->id.value);
    EXPECT_LE(stream.flow().send->id.value & 0xffff, FlowTable::kResting);
    ASSERT_TRUE(Finish(world, {&stream}));
    stream.ExpectAllOk();
    stream.CloseSender();
    stream.CloseReceiver();
  }
  EXPECT_EQ(ids.size(), kFlows);
  world.Wait(Duration::Seconds(1));
  EXPECT_EQ(world.peer(0, 1).open_closes, 0u);
  EXPECT_FALSE(world.peer(0, 1).needed());
}

// --- Turns -----------------------------------------------------------------

TEST(Engine, RunOnce__nothing_to_do_is_nothing_due) {
  Lone lone;
  Engine::Turn turn = lone.engine->RunOnce(kStart);
  EXPECT_EQ(turn.next, Time::Never());
  EXPECT_FALSE(turn.worked);
  Peer* peer = *lone.engine->AddPeer({2, 22}, 0, kStart);
  ASSERT_TRUE(lone.engine->OpenPeer(*peer, lone.Introduce(), kStart).ok());
  turn = lone.engine->RunOnce(kStart);
  EXPECT_EQ(turn.next, Time::Never());
  EXPECT_EQ(lone.engine->metrics().turns.value(), 2u);
}

TEST(Engine, RunOnce__an_idle_pair_has_no_deadline) {
  World world;
  Stream stream(world, 0, 1, 10, 10'000);
  ASSERT_TRUE(Finish(world, {&stream}));
  world.Wait(Duration::Seconds(1));
  for (int h = 0; h < 2; ++h) {
    EXPECT_TRUE(world.sim.engine(h).quiet());
    EXPECT_EQ(world.sim.engine(h).RunOnce(world.sim.now()).next, Time::Never());
  }
}

// A socket may fill with the packets of one turn in the middle of it.
TEST(Engine, RunOnce__room_ends_in_the_middle_of_a_turn) {
  sim::SimDatapathOptions options;
  options.room = 256;
  options.defers = 1;
  Lone lone(1, {}, options);
  constexpr uint64_t kPeers = Stage::kCapacity + 1;
  for (uint64_t id = 2; id < 2 + kPeers; ++id) lone.Probe(*lone.Meet(id));
  while (lone.engine->RunOnce(kStart).worked && lone.planes[0]->tx_room() > 0) {
  }
  EXPECT_EQ(lone.network.departures(), Stage::kCapacity);
  lone.planes[0]->Refill();
  lone.engine->SayGoodbye(kStart);
  EXPECT_EQ(lone.network.departures(), 2 * Stage::kCapacity);
}

// Who waits for room is called by the plane, and must not spin until then.
TEST(Engine, RunOnce__acks_without_room_are_no_deadline) {
  sim::SimDatapathOptions options;
  options.room = 1;
  Lone lone(1, {}, options);
  for (uint64_t id = 2; id < 4; ++id) lone.Probe(*lone.Meet(id));
  while (lone.planes[0]->tx_room() > 0) lone.engine->RunOnce(kStart);
  ASSERT_EQ(lone.network.departures(), 1u);
  for (int i = 0; i < 3; ++i) {
    const Engine::Turn turn = lone.engine->RunOnce(kStart);
    EXPECT_FALSE(turn.worked);
    EXPECT_EQ(turn.next, Time::Never());
  }
  lone.planes[0]->Refill();
  lone.engine->RunOnce(kStart);
  EXPECT_EQ(lone.network.departures(), 2u);
}

// Packets of one path are further apart than an ack may wait by its delay
// alone, so that there would be one for each.
TEST(Engine, RunOnce__acks_over_a_long_way_are_few) {
  sim::HostOptions host = sim::UsualHost();
  host.config.target_delay_us = 2000;
  World world(2, host);
  world.ForBoth(0, 1, [](sim::LinkModel& link) {
    link.delay = Duration::Millis(10);
    link.rate = Rate::BitsPerSecond(100'000'000);
  });
  Stream stream(world, 0, 1, 20, 64'000);
  ASSERT_TRUE(Finish(world, {&stream}, Duration::Seconds(10)));
  stream.ExpectAllOk();
  const uint64_t packets = world.metrics(1).packets_received.value();
  EXPECT_GT(packets, 20u * 64'000 / 1472);
  EXPECT_LT(world.metrics(1).acks_sent.value(), packets / 4);
}

// Signs of life are asked for while a request is open, and a silent peer is
// lost exactly when it is due.
TEST(Engine, RunOnce__asks_before_it_judges) {
  World world;
  Stream stream(world, 0, 1, 1, 100);
  stream.sends.may_post = false;
  stream.Step();
  world.Wait(Duration::Millis(10));
  world.sim.Kill(0);
  const Peer& peer = world.peer(1, 0);
  const uint64_t probes = world.metrics(1).probes_sent.value();
  world.Wait(Duration::Millis(985));
  EXPECT_EQ(peer.state, Peer::State::kOpen);
  EXPECT_GE(world.metrics(1).probes_sent.value() - probes, 4u);
  world.Wait(Duration::Millis(200));
  EXPECT_EQ(peer.state, Peer::State::kLost);
  stream.Step();
  EXPECT_EQ(*stream.receives.outcomes[0], Request::Outcome::kPeerLost);
}

// Requests of a lost peer end at once, whenever they come.
TEST(Engine, LosePeer__later_requests_end_at_once) {
  World world;
  Stream first(world, 0, 1, 1, 100), later(world, 0, 1, 3, 100);
  first.sends.may_post = later.sends.may_post = false;
  later.receives.may_post = false;
  first.Step();
  world.sim.Goodbye(0);
  world.Wait(Duration::Seconds(1));
  later.receives.may_post = true;
  ASSERT_FALSE(Finish(world, {&later}, Duration::Millis(1)));
  EXPECT_TRUE(later.receives.All(Request::Outcome::kPeerLost));
}

// Whoever outlives many peers does not keep what they needed.
TEST(Engine, LosePeer__keeps_what_there_is_to_report) {
  World world;
  Stream done(world, 0, 1, 10, 10'000), open(world, 0, 1, 1, 100);
  open.sends.may_post = false;
  open.Step();
  ASSERT_TRUE(Finish(world, {&done}));
  const std::vector<PathReport> before = ReportPaths(world.peer(1, 0));
  world.sim.Goodbye(0);
  world.Wait(Duration::Seconds(1));
  const Peer& lost = world.peer(1, 0);
  ASSERT_EQ(lost.state, Peer::State::kLost);
  EXPECT_TRUE(lost.paths.empty());
  const std::vector<PathReport> after = ReportPaths(lost);
  ASSERT_EQ(after.size(), 8u);
  uint64_t received = 0;
  for (size_t p = 0; p < 8; ++p) {
    EXPECT_EQ(after[p].path, before[p].path);
    EXPECT_EQ(after[p].place.entropy, before[p].place.entropy);
    EXPECT_GE(after[p].counts.packets_received,
              before[p].counts.packets_received);
    received += after[p].counts.packets_received;
  }
  EXPECT_GT(received, 0u);
}

TEST(Engine, metrics__tell_what_happened) {
  World world;
  world.ForBoth(0, 1, [](sim::LinkModel& link) {
    link.loss = 0.02;
    link.duplicate = 0.02;
  });
  Stream stream(world, 0, 1, 50, 50'000);
  ASSERT_TRUE(Finish(world, {&stream}));
  world.Wait(Duration::Millis(100));
  const EngineMetrics& a = world.metrics(0);
  const EngineMetrics& b = world.metrics(1);
  EXPECT_EQ(b.bytes_received.value(), 2'500'000u);
  EXPECT_GE(a.bytes_delivered.value(), 2'400'000u);
  EXPECT_GT(a.packets_lost.value(), 10u);
  EXPECT_GT(a.packets_resent.value(), 10u);
  EXPECT_GT(b.packets_duplicate.value(), 10u);
  EXPECT_GE(a.packets_sent.value(), b.packets_received.value());
  EXPECT_GT(b.acks_sent.value(), 0u);
  EXPECT_GT(a.acks_received.value(), 0u);
  EXPECT_EQ(a.packets_malformed.value() + b.packets_malformed.value(), 0u);
  EXPECT_EQ(a.packets_foreign.value() + b.packets_foreign.value(), 0u);
}

}  // namespace
}  // namespace hawser
