// What operators and programs read of an endpoint.
#include <atomic>
#include <thread>

#include "nlohmann/json.hpp"
#include "tests/engine/loopback.h"
#include "transport/engine/metrics.h"

namespace hawser {
namespace {

TEST(Report, SaysWhatEachPathCarried) {
  Config config;
  config.paths = 5;
  auto a = MakeEndpoint(config), b = MakeEndpoint(config);
  EXPECT_TRUE(a->Report().empty());
  Flow flow = ConnectTo(*a, *b);
  Exchange(flow, 3'000'000);
  const std::vector<PeerReport> sent = a->Report(), received = b->Report();
  ASSERT_EQ(sent.size(), 1u);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(sent[0].name, b->host());
  EXPECT_EQ(received[0].name, a->host());
  EXPECT_EQ(sent[0].state, PeerState::kOpen);
  ASSERT_EQ(sent[0].paths.size(), 5u);
  uint64_t delivered = 0, arrived = 0;
  for (int p = 0; p < 5; ++p) {
    const PathReport& path = sent[0].paths[p];
    EXPECT_EQ(path.path.value, p);
    EXPECT_EQ(path.plane, "lo");
    EXPECT_EQ(path.place.entropy, p);
    EXPECT_EQ(path.state, PathState::kOpen);
    EXPECT_GT(path.window_bytes, 0u);
    EXPECT_GE(path.counts.bytes_sent, path.counts.bytes_delivered);
    delivered += path.counts.bytes_delivered;
    arrived += received[0].paths[p].counts.packets_received;
  }
  EXPECT_GE(delivered, 3'000'000u);
  EXPECT_GT(arrived, 0u);
}

TEST(Report, JsonHasAllThatTheTablesHave) {
  Config config;
  config.engines = 2;
  auto a = MakeEndpoint(config), b = MakeEndpoint(config);
  std::vector<Flow> flows;
  for (int i = 0; i < 2; ++i) {
    flows.push_back(ConnectTo(*a, *b));
    Exchange(flows.back(), 100'000);
  }
  const nlohmann::json json = nlohmann::json::parse(a->ReportJson());
  EXPECT_EQ(json["host"], a->host());
  ASSERT_EQ(json["engines"].size(), 2u);
  for (const auto& engine : json["engines"]) {
    for (const MetricRow& row : EngineMetricRows()) {
      EXPECT_TRUE(engine[row.name].is_number_unsigned()) << row.name;
    }
    ASSERT_EQ(engine["planes"].size(), 1u);
    EXPECT_EQ(engine["planes"][0]["plane"], "lo");
  }
  ASSERT_EQ(json["peers"].size(), 2u);
  for (const auto& peer : json["peers"]) {
    EXPECT_EQ(peer["peer"], b->host());
    EXPECT_EQ(peer["state"], "open");
    ASSERT_EQ(peer["paths"].size(), 16u);
    for (const auto& path : peer["paths"]) {
      EXPECT_EQ(path["state"], "open");
      EXPECT_GE(path["rtt_us"].get<double>(), 0);
    }
  }
}

// The system and the peer choose these names, not we.
TEST(Report, JsonOfOddNames) {
  const std::string odd = "l\"o\\/\b\f\n\r\t\x01\x1f\x7f{},:[]'`";
  std::vector<Interface> interfaces = Loopback();
  interfaces[0].name = odd;
  auto a = *Endpoint::Create({}, interfaces, {});
  auto b = MakeEndpoint();
  Flow flow = ConnectTo(*a, *b);
  Exchange(flow, 1000);
  const nlohmann::json json = nlohmann::json::parse(a->ReportJson());
  EXPECT_EQ(json["engines"][0]["planes"][0]["plane"], odd);
  EXPECT_EQ(json["peers"][0]["paths"][0]["plane"], odd);
  // What is no UTF-8 is no reason to write what nobody can parse.
  interfaces[0].name = "\xff\xc3\x28\x80";
  auto c = *Endpoint::Create({}, interfaces, {});
  EXPECT_TRUE(nlohmann::json::accept(c->ReportJson()));
}

// At any time, from any thread.
TEST(Report, WhileItIsBusy) {
  auto a = MakeEndpoint(), b = MakeEndpoint();
  Flow flow = ConnectTo(*a, *b);
  std::atomic<bool> over{false};
  std::thread reader([&] {
    while (!over.load()) {
      EXPECT_TRUE(nlohmann::json::accept(a->ReportJson()));
    }
  });
  for (int i = 0; i < 20; ++i) Exchange(flow, 500'000);
  over.store(true);
  reader.join();
}

}  // namespace
}  // namespace hawser
