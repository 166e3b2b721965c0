#include "transport/sim/fabric/scenario.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hawser::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Problem(const std::string& text,
                    const std::vector<std::string>& set = {}) {
  const auto scenario = ParseScenario(text, "file.json", set);
  return scenario.ok() ? "" : std::string(scenario.status().message());
}

TEST(ParseScenario, every_named_one_is_valid) {
  for (const NamedScenario& named : NamedScenarios()) {
    EXPECT_EQ(Problem(named.text), "") << named.name;
  }
}

TEST(ParseScenario, reads_units_and_obeys_set) {
  const auto scenario = ParseScenario(
      R"({"topology": {"rate": "400 Gbps", "link_latency": "500 ns"},
          "queue": {"limit": "2.5 bdp", "kmin": "100 KB"},
          "workload": [{"kind": "shift", "size": "2 MiB"}]})",
      "file.json",
      std::vector<std::string>{"topology.hosts=64", "hosts.scheduler=reps",
                               "workload.0.size=1 MB"});
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  EXPECT_EQ(scenario->topology.rate, Rate::GigabitsPerSecond(400));
  EXPECT_EQ(scenario->topology.link_latency, Duration::Nanos(500));
  EXPECT_EQ(scenario->topology.hosts, 64);
  EXPECT_EQ(scenario->limit.bdps, 2.5);
  EXPECT_EQ(scenario->kmin.bytes, 100'000u);
  EXPECT_EQ(scenario->scheduler, "reps");
  EXPECT_EQ(scenario->workload[0].bytes, 1'000'000u);
}

TEST(ParseScenario, refuses_with_file_line_and_what_was_expected) {
  EXPECT_THAT(Problem("{\n \"topologie\": {}\n}"),
              StartsWith("file.json:2: topologie is unknown; expected name,"));
  EXPECT_THAT(Problem("{\n \"topology\": {\n  \"rate\": 100}}"),
              StartsWith("file.json:3: topology.rate is 100; expected a number "
                         "with a unit: Mbps, Gbps, Tbps"));
  EXPECT_THAT(Problem("{\"workload\": [\n{\"kind\": \"incast\", "
                      "\"size\": \"2 MB\"},\n{\"size\": \"2 MB\"}]}"),
              HasSubstr("workload.0.senders is missing"));
  EXPECT_THAT(Problem("{\"workload\": [\n{\"kind\": \"shift\", "
                      "\"size\": \"2 MB\"},\n{\"kind\": \"spiral\"}]}"),
              StartsWith("file.json:3: workload.1.kind is \"spiral\""));
  EXPECT_THAT(Problem("{\n\n\"workload\": [}"), StartsWith("file.json:3: "));
  EXPECT_THAT(Problem("{\n\"topology\": {\"hosts\": 100},\n \"workload\": "
                      "[{\"kind\": \"shift\", \"size\": \"2 MB\"}]}"),
              StartsWith("file.json:2: topology is impossible: "));
  EXPECT_THAT(Problem("{}"), HasSubstr("workload is missing"));
  EXPECT_THAT(Problem("{}", {"topology.colour=3"}),
              StartsWith("--set topology.colour is unknown; expected tiers"));
  EXPECT_THAT(Problem("{\"limit\": \"86401 s\"}"),
              StartsWith("file.json:1: limit is over a day: 86400 s"));
  EXPECT_THAT(Problem("{}", {"nonsense"}), HasSubstr("expected key=value"));
}

}  // namespace
}  // namespace hawser::sim
