#include "transport/engine/endpoint.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/engine/loopback.h"
#include "tests/peek.h"
#include "tests/sanitizers.h"

namespace hawser {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Endpoint, NeedsInterfaces) {
  std::vector<Interface> too_many(wire::kMaxPlanes + 1, Loopback()[0]);
  for (const auto& interfaces : {std::vector<Interface>(), too_many}) {
    const auto endpoint = Endpoint::Create({}, interfaces, {});
    EXPECT_EQ(endpoint.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(endpoint.status().message()),
                AllOf(HasSubstr("1..16"), HasSubstr("HAWSER_IFNAME")));
  }
}

TEST(Endpoint, RefusesWhatTheTableRefuses) {
  Config config;
  config.packet_bytes = 255;
  const auto endpoint = Endpoint::Create(config, Loopback(), {});
  EXPECT_EQ(endpoint.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(endpoint.status().message()),
              HasSubstr("HAWSER_PACKET_BYTES=\"255\""));
}

TEST(Endpoint, LivesAtBothEndsOfEveryNumber) {
  int numbers = 0;
  for (const ConfigRow& row : ConfigRows()) {
    int least, most;
    if (std::sscanf(row.expected.c_str(), "%d..%d", &least, &most) != 2) {
      continue;
    }
    ++numbers;
    for (const int value : {least, most}) {
      // That core is no part of a machine that runs tests.
      if (row.name == std::string("HAWSER_FIRST_CORE") && value == most) break;
      Config config;
      ASSERT_TRUE(row.parse(std::to_string(value), config));
      auto a = Endpoint::Create(config, Loopback(), {});
      ASSERT_TRUE(a.ok()) << row.name << "=" << value << ": " << a.status();
      Exchange(ConnectTo(**a, **a), 1000);
    }
  }
  EXPECT_GE(numbers, 10);
}

TEST(Endpoint, SaysWhichCoreIsMissing) {
  for (const int core : {1000, 4095}) {
    Config config;
    config.first_core = core;
    const auto endpoint = Endpoint::Create(config, Loopback(), {});
    EXPECT_EQ(endpoint.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(endpoint.status().message()),
                AllOf(HasSubstr("HAWSER_FIRST_CORE=" + std::to_string(core)),
                      HasSubstr("core " + std::to_string(core))));
  }
}

TEST(Endpoint, SaysWhichInterfaceFails) {
  std::vector<Interface> interfaces = Loopback();
  interfaces.push_back(interfaces[0]);
  interfaces[1].name = "elsewhere";
  // An address of documentation, RFC 5737: nobody has it.
  auto& address = reinterpret_cast<sockaddr_in&>(interfaces[1].address);
  address.sin_addr.s_addr = htonl(0xc0000201);
  const auto endpoint = Endpoint::Create({}, interfaces, {});
  ASSERT_FALSE(endpoint.ok());
  EXPECT_THAT(std::string(endpoint.status().message()),
              HasSubstr("interface elsewhere: "));
}

TEST(Endpoint, TwoOverSeveralPlanesAndEngines) {
  Config config;
  config.engines = 2;
  std::vector<Interface> planes(3, Loopback()[0]);
  auto a = *Endpoint::Create(config, planes, {});
  config.paths = 7;
  auto b = *Endpoint::Create(config, planes, {});
  EXPECT_NE(a->identity(), b->identity());
  for (int i = 0; i < 4; ++i) {
    Flow there = ConnectTo(*a, *b), back = ConnectTo(*b, *a);
    Exchange(there, 300'000, static_cast<uint8_t>(i));
    Exchange(back, 300'000, static_cast<uint8_t>(i + 1));
  }
  // A peer for each engine of ours, with the fewer paths of the two.
  const auto report = a->Report();
  ASSERT_EQ(report.size(), 2u);
  for (const PeerReport& peer : report) {
    EXPECT_EQ(peer.paths.size(), 7u);
    EXPECT_EQ(peer.name, b->host());
  }
}

TEST(Endpoint, OutcomesOfAFlowThatIsClosed) {
  auto a = MakeEndpoint(), b = MakeEndpoint();
  Flow flow = ConnectTo(*a, *b);
  std::vector<char> memory(1000);
  Asked send = Ask(*flow.send, memory.data(), memory.size());
  flow.receive.reset();
  ASSERT_TRUE(send.Finish());
  EXPECT_EQ(send.outcome, Request::Outcome::kClosed);
  bool first = false;
  EXPECT_THAT(flow.send->Failure(&first),
              AllOf(HasSubstr(b->host()), HasSubstr("closed its half")));
  EXPECT_TRUE(first);
  flow.send->Failure(&first);
  EXPECT_FALSE(first);
  // What comes later ends at once.
  send = Ask(*flow.send, memory.data(), memory.size());
  ASSERT_TRUE(send.Finish());
  EXPECT_EQ(send.outcome, Request::Outcome::kClosed);
}

TEST(Endpoint, OneThatEndsIsMissedAtOnce) {
  Config config;
  config.peer_timeout_ms = 3'600'000;
  auto a = MakeEndpoint(config), b = MakeEndpoint(config);
  Flow one = ConnectTo(*a, *b), other = ConnectTo(*b, *a);
  Exchange(one, 1000);
  std::vector<char> memory(1000);
  Asked receive = Ask(*other.receive, memory.data(), memory.size());
  one.receive.reset();
  other.send.reset();
  b.reset();
  ASSERT_TRUE(receive.Finish(20'000));
  EXPECT_NE(receive.outcome, Request::Outcome::kOk);
  Asked send = Ask(*one.send, memory.data(), memory.size());
  ASSERT_TRUE(send.Finish(20'000));
  EXPECT_NE(send.outcome, Request::Outcome::kOk);
}

// A process may end while other threads of it still call.
TEST(Endpoint, CallsAfterStopDoNoHarm) {
  auto a = MakeEndpoint(), b = MakeEndpoint();
  Flow flow = ConnectTo(*a, *b);
  Exchange(flow, 1000);
  std::vector<char> memory(1000);
  Asked receive = Ask(*flow.receive, memory.data(), memory.size());
  b->Stop();
  b->Stop();
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(receive.Test());
  Ask(*flow.receive, memory.data(), memory.size());
  EXPECT_FALSE(b->ReportJson().empty());
  flow.receive.reset();
}

// --- Time that costs nothing -----------------------------------------------

constexpr int kAwayMs = 1000;
// Of a second. Some is the measuring itself, and a sanitizer's own threads.
constexpr double kIdleCpuMs = HAWSER_TSAN || HAWSER_ASAN ? 50 : 5;

double CpuWhileAway() {
  const double before = CpuMillis();
  StayAway(kAwayMs);
  return CpuMillis() - before;
}

// Within ten seconds: where the machine is busy with others, what came before
// takes its time to settle. Whoever spins or ticks never comes to rest.
testing::AssertionResult ComesToRest() {
  double used = 0;
  for (int i = 0; i < 10; ++i) {
    used = CpuWhileAway();
    if (used < kIdleCpuMs) return testing::AssertionSuccess();
  }
  return testing::AssertionFailure()
         << "used " << used << " ms of CPU in the last second";
}

TEST(Endpoint, IdleOneUsesNoCpu) {
  for (const char* poll : {"adaptive", "event"}) {
    Config config;
    config.poll = poll;
    config.engines = 2;
    auto endpoint = MakeEndpoint(config);
    EXPECT_TRUE(ComesToRest()) << poll;
  }
}

TEST(Endpoint, IdleFlowsUseNoCpu) {
  auto a = MakeEndpoint(), b = MakeEndpoint();
  std::vector<Flow> flows;
  for (int i = 0; i < 10; ++i) {
    flows.push_back(ConnectTo(*a, *b));
    flows.push_back(ConnectTo(*b, *a));
    Exchange(flows[2 * i], 100'000);
    Exchange(flows[2 * i + 1], 100'000);
  }
  EXPECT_TRUE(ComesToRest());
  // Nor those that wait for a message, nobody asking.
  std::vector<std::vector<char>> into(flows.size(), std::vector<char>(100));
  std::vector<Asked> waiting;
  for (size_t i = 0; i < flows.size(); ++i) {
    waiting.push_back(Ask(*flows[i].receive, into[i].data(), into[i].size()));
    waiting.back().Test();
  }
  EXPECT_TRUE(ComesToRest());
  // And they are awake when it comes.
  std::vector<char> from(100);
  for (Flow& flow : flows) Ask(*flow.send, from.data(), from.size());
  for (Asked& one : waiting) EXPECT_TRUE(one.Succeed());
}

// --- Waking up -------------------------------------------------------------

struct Waiting {
  const char* poll;
  int assist;
};

class WakeUpTest : public ::testing::TestWithParam<Waiting> {
 protected:
  static Config ConfigOf(const Waiting& waiting) {
    Config config;
    config.poll = waiting.poll;
    config.assist = waiting.assist;
    return config;
  }
  // Which starves everybody else where there are few cores.
  static bool busy() { return std::string(GetParam().poll) == "busy"; }
};

// Pauses of every length that the engine's thread knows: shorter than its
// spin, its nap, and longer than both. Whoever is not woken is never woken.
void Pause(std::mt19937& random) {
  const uint32_t kind = random() % 100;
  if (kind == 0) return StayAway(2);
  if (kind < 50) return;
  const double millis =
      kind < 80 ? (random() % 50) / 1e3 : (random() % 800) / 1e3;
  const auto begin = Clock::now();
  while (MillisSince(begin) < millis) sched_yield();
}

TEST_P(WakeUpTest, PingPongWithPauses) {
  const Config config = ConfigOf(GetParam());
  auto a = MakeEndpoint(config), b = MakeEndpoint(config);
  Flow there = ConnectTo(*a, *b), back = ConnectTo(*b, *a);
  const int rounds = busy() ? 40 : 2000;
  std::thread pong([&] {
    std::mt19937 random(1);
    int value = 0;
    for (int i = 0; i < rounds; ++i) {
      Asked receive = Ask(*there.receive, &value, sizeof value);
      Pause(random);
      ASSERT_TRUE(receive.Succeed());
      ASSERT_EQ(value, i);
      Pause(random);
      Asked send = Ask(*back.send, &value, sizeof value);
      ASSERT_TRUE(send.Succeed());
    }
  });
  std::mt19937 random(2);
  for (int i = 0; i < rounds; ++i) {
    int out = i, in = -1;
    Asked receive = Ask(*back.receive, &in, sizeof in);
    Asked send = Ask(*there.send, &out, sizeof out);
    // Sometimes nobody asks for a while: it must go on by itself.
    Pause(random);
    ASSERT_TRUE(send.Succeed());
    ASSERT_TRUE(receive.Succeed());
    ASSERT_EQ(in, i);
  }
  pong.join();
}

// After a question, the thread believes that somebody assists. Then nobody
// does, and there is work: it must notice by itself, and soon.
TEST_P(WakeUpTest, AssistantWalksAway) {
  const Config config = ConfigOf(GetParam());
  auto a = MakeEndpoint(config), b = MakeEndpoint(config);
  Flow flow = ConnectTo(*a, *b);
  double slowest_ms = 0;
  for (int i = 0; i < (busy() ? 10 : 100); ++i) {
    int out = i;
    int in = -1;
    if (i % 10 == 0) StayAway(20);  // Deep asleep.
    Asked receive = Ask(*flow.receive, &in, sizeof in);
    if (i % 2 == 0) receive.Test();
    Asked send = Ask(*flow.send, &out, sizeof out);
    const auto begin = Clock::now();
    // Looked at as a GPU does: that is no question.
    ASSERT_TRUE(Until([&] { return Peek(&in) == i; }));
    slowest_ms = std::max(slowest_ms, MillisSince(begin));
    ASSERT_TRUE(send.Succeed());
    ASSERT_TRUE(receive.Succeed());
  }
  EXPECT_LT(slowest_ms, 1000);
}

INSTANTIATE_TEST_SUITE_P(
    Ways, WakeUpTest,
    ::testing::Values(Waiting{"adaptive", 1}, Waiting{"adaptive", 0},
                      Waiting{"event", 1}, Waiting{"event", 0},
                      Waiting{"busy", 0}),
    [](const auto& way) {
      return std::string(way.param.poll) +
             (way.param.assist != 0 ? "Assisted" : "Alone");
    });

// Flows are closed and opened while others keep the engine busy: closing must
// get its turn.
TEST(Endpoint, ClosingGetsItsTurn) {
  auto a = MakeEndpoint(), b = MakeEndpoint();
  Flow flow = ConnectTo(*a, *b);
  std::atomic<bool> over{false};
  std::thread busy([&] {
    char byte = 0;
    Asked receive = Ask(*flow.receive, &byte, 1);
    while (!over.load()) receive.Test();
  });
  const auto begin = Clock::now();
  for (int i = 0; i < 50; ++i) Exchange(ConnectTo(*a, *b), 1000);
  EXPECT_LT(MillisSince(begin), 10'000);
  over.store(true);
  busy.join();
}

// --- The end of an endpoint ------------------------------------------------

// The receiver has all it wants and goes; the sender still waits for an ack.
void LeaveAfterTheLastMessage(Endpoint& sender, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    auto receiver = MakeEndpoint();
    Flow flow = ConnectTo(sender, *receiver);
    std::vector<uint8_t> out(30'000, static_cast<uint8_t>(round));
    std::vector<uint8_t> in(out.size());
    Asked receive = Ask(*flow.receive, in.data(), in.size());
    Asked send = Ask(*flow.send, out.data(), out.size());
    ASSERT_TRUE(receive.Succeed());
    flow.receive.reset();
    receiver.reset();
    ASSERT_TRUE(send.Finish());
    ASSERT_EQ(send.outcome, Request::Outcome::kOk) << "round " << round;
    ASSERT_EQ(in, out);
  }
}

TEST(Endpoint, LeavesAfterItsLastMessage) {
  auto sender = MakeEndpoint();
  LeaveAfterTheLastMessage(*sender, 200);
}

// The same where a fifth of all packets get lost, in a network of its own.
// Sockets belong to the network of the thread that makes them.
TEST(Endpoint, LeavesAfterItsLastMessageOverALossyNetwork) {
  bool made = false;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) return;
    made = std::system(
               "{ ip link set lo up && nft -f - <<END\n"
               "add table inet loss\n"
               "add chain inet loss in { type filter hook input priority 0; }\n"
               "add rule inet loss in meta l4proto udp "
               "numgen random mod 100 < 20 drop\n"
               "END\n"
               "} >/dev/null 2>&1") == 0;
    if (!made) return;
    auto sender = MakeEndpoint();
    LeaveAfterTheLastMessage(*sender, 100);
  }).join();
  if (!made) GTEST_SKIP() << "needs root, ip and nft";
}

// Several engines linger at the same time, not one after the other.
TEST(Endpoint, ManyEnginesLeaveTogether) {
  Config config;
  config.engines = 8;
  auto a = MakeEndpoint(config), b = MakeEndpoint(config);
  std::vector<Flow> flows;
  for (int i = 0; i < 8; ++i) {
    flows.push_back(ConnectTo(*a, *b));
    Exchange(flows.back(), 1000);
  }
  flows.clear();
  const auto begin = Clock::now();
  a.reset();
  b.reset();
  EXPECT_LT(MillisSince(begin), 1000);
}

}  // namespace
}  // namespace hawser
