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
  EXPECT_THAT(Problem("{}", {"nonsense"}), HasSubstr("expected key=value"));
}

TEST(ParseScenario, refuses_what_nothing_can_hold) {
  const auto problem = [](const std::string& setting) {
    return Problem(
        R"({"links": [{"kind": "up"}],
            "workload": [{"kind": "shift", "size": "2 MB"}]})",
        {setting});
  };
  EXPECT_EQ(problem("limit=86400 s"), "");
  EXPECT_EQ(problem("limit=86401 s"),
            "--set limit is \"86401 s\"; expected at most a day: 86400 s");
  EXPECT_THAT(problem("limit=nan s"), HasSubstr("expected a number with"));
  EXPECT_THAT(problem("limit=inf s"), HasSubstr("expected at most a day"));
  EXPECT_EQ(problem("workload.0.size=4294967295 B"), "");
  EXPECT_THAT(problem("workload.0.size=4294967296 B"),
              HasSubstr("expected at most 4294967295 B"));
  EXPECT_THAT(problem("workload.0.size=nan B"), HasSubstr("expected a number"));
  EXPECT_THAT(problem("topology.rate=inf Gbps"),
              HasSubstr("expected at most 1600 Gbps"));
  EXPECT_EQ(problem("queue.limit=4 GB"), "");
  EXPECT_THAT(problem("queue.limit=5 GB"), HasSubstr("at most 4294967295 B"));
  EXPECT_THAT(problem("queue.limit=1e7 bdp"), HasSubstr("at most 1e+06"));
  EXPECT_EQ(problem("links.0.share=0"), "");
  EXPECT_EQ(problem("links.0.share=1e-6"), "");
  EXPECT_THAT(problem("links.0.share=1e-7"), HasSubstr("expected 0 or 1e-06"));
}

}  // namespace
}  // namespace hawser::sim
