#include "transport/engine/config.h"

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/engine/metrics.h"

namespace hawser {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Environment = std::map<std::string, std::string>;

absl::StatusOr<Config> Read(const Environment& environment,
                            std::string* used = nullptr) {
  return Config::FromEnvironment(
      [&](const char* name) -> const char* {
        const auto found = environment.find(name);
        return found == environment.end() ? nullptr : found->second.c_str();
      },
      used);
}

const ConfigRow& Row(const std::string& name) {
  for (const ConfigRow& row : ConfigRows()) {
    if (row.name == name) return row;
  }
  ADD_FAILURE() << "no row " << name;
  std::abort();
}

// The page as it lies in docs/. HAWSER_WRITE_DOCS=1 writes it first.
std::string PageIn(const std::string& file, const std::string& now) {
  const std::string path = std::string(HAWSER_SOURCE_DIR) + "/docs/" + file;
  if (std::getenv("HAWSER_WRITE_DOCS") != nullptr) std::ofstream(path) << now;
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Config, FromEnvironment__nothing_set_is_all_defaults) {
  std::string used;
  const auto config = Read({}, &used);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->ToString(), Config().ToString());
  EXPECT_THAT(used, IsEmpty());
  // Set to nothing is not set.
  ASSERT_TRUE(Read({{"HAWSER_PATHS", ""}}).ok());
}

TEST(Config, FromEnvironment__each_row_takes_its_default) {
  for (const ConfigRow& row : ConfigRows()) {
    const std::string value = row.show(Config());
    const auto config = Read({{row.name, value}});
    ASSERT_TRUE(config.ok()) << row.name << ": " << config.status();
    EXPECT_EQ(row.show(*config), value) << row.name;
  }
}

TEST(Config, FromEnvironment__numbers_at_and_beyond_their_ends) {
  int numbers = 0;
  for (const ConfigRow& row : ConfigRows()) {
    long long least, most;
    if (std::sscanf(row.expected.c_str(), "%lld..%lld", &least, &most) != 2) {
      continue;
    }
    ++numbers;
    for (const long long good : {least, most}) {
      const auto config = Read({{row.name, std::to_string(good)}});
      ASSERT_TRUE(config.ok()) << config.status();
      EXPECT_EQ(row.show(*config), std::to_string(good)) << row.name;
    }
    for (const std::string& bad :
         {std::to_string(least - 1), std::to_string(most + 1),
          std::to_string(least) + "x", std::string("many"),
          std::string("99999999999999999999"), std::string("1.5")}) {
      const auto config = Read({{row.name, bad}});
      EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument)
          << row.name << "=" << bad;
      const std::string message(config.status().message());
      EXPECT_THAT(message, HasSubstr(row.name));
      EXPECT_THAT(message, HasSubstr("\"" + bad + "\""));
      EXPECT_THAT(message, HasSubstr(row.expected));
    }
  }
  EXPECT_GE(numbers, 10);
}

TEST(Config, Validate__asks_what_the_environment_is_asked) {
  EXPECT_TRUE(Config().Validate().ok());
  Config config;
  config.paths = 1025;
  const absl::Status refused = config.Validate();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.message(),
            Read({{"HAWSER_PATHS", "1025"}}).status().message());
  config = Config();
  config.scheduler = "carrier_pigeon";
  EXPECT_THAT(std::string(config.Validate().message()),
              HasSubstr("HAWSER_SCHEDULER"));
}

TEST(Config, FromEnvironment__choices_are_those_that_are_listed) {
  for (const char* name :
       {"HAWSER_DATAPATH", "HAWSER_SCHEDULER", "HAWSER_CONGESTION",
        "HAWSER_WINDOW_PER", "HAWSER_POLL", "HAWSER_CHECKSUM",
        "HAWSER_SOCKET_FAMILY"}) {
    const ConfigRow& row = Row(name);
    std::istringstream choices(row.expected);
    int count = 0;
    for (std::string choice; std::getline(choices >> std::ws, choice, ',');) {
      const auto config = Read({{name, choice}});
      ASSERT_TRUE(config.ok()) << config.status();
      EXPECT_EQ(row.show(*config), choice);
      ++count;
    }
    EXPECT_GE(count, 2) << name;
    const auto refused = Read({{name, "carrier_pigeon"}});
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.status().message()),
                HasSubstr("expected " + row.expected));
  }
}

TEST(Config, FromEnvironment__falls_back_to_names_that_NCCL_users_know) {
  std::string used;
  auto config = Read({{"NCCL_SOCKET_IFNAME", "=eth0"}}, &used);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->interfaces, "=eth0");
  EXPECT_EQ(used, "NCCL_SOCKET_IFNAME==eth0\n");
  config = Read({{"NCCL_SOCKET_IFNAME", "eth"}, {"HAWSER_IFNAME", "ib"}});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->interfaces, "ib");
  // The message names the variable that was read.
  config = Read({{"NCCL_SOCKET_FAMILY", "AF_UNIX"}});
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("NCCL_SOCKET_FAMILY=\"AF_UNIX\""));
}

TEST(Config, FromEnvironment__says_what_was_used) {
  std::string used;
  ASSERT_TRUE(
      Read({{"HAWSER_PATHS", "4"}, {"HAWSER_POLL", "busy"}, {"HOME", "/"}},
           &used)
          .ok());
  EXPECT_THAT(used, HasSubstr("HAWSER_PATHS=4\n"));
  EXPECT_THAT(used, HasSubstr("HAWSER_POLL=busy\n"));
  EXPECT_THAT(used, Not(HasSubstr("HOME")));
}

TEST(Config, UnknownKnobs__names_what_nobody_reads) {
  const char* const good[] = {"HOME=/",           "HAWSER_PATHS=4",
                              "HAWSER_IFNAME",    "HAWSER_SWARM_SEEDS=5",
                              "MY_HAWSER_PATH=4", nullptr};
  EXPECT_THAT(UnknownKnobs(good), IsEmpty());
  const char* const bad[] = {"HAWSER_PATH=4", "HAWSER_PATHS=4",
                             "HAWSER_IF_NAME=lo", "HAWSER_=", nullptr};
  EXPECT_THAT(UnknownKnobs(bad),
              testing::StartsWith("HAWSER_, HAWSER_IF_NAME, HAWSER_PATH: "));
}

TEST(Config, ConfigRows__every_one_is_whole) {
  std::set<std::string> names;
  for (const ConfigRow& row : ConfigRows()) {
    EXPECT_THAT(row.name, testing::StartsWith("HAWSER_"));
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " twice";
    EXPECT_FALSE(row.expected.empty()) << row.name;
    EXPECT_EQ(std::string(row.help).back(), '.') << row.name;
    EXPECT_THAT(Config().ToString(), HasSubstr(std::string(row.name) + "="));
  }
}

TEST(Config, ConfigPage__is_docs_config) {
  EXPECT_EQ(PageIn("config.md", ConfigPage()), ConfigPage())
      << "HAWSER_WRITE_DOCS=1 engine_test --gtest_filter='*Page*' writes it";
}

TEST(Metrics, EngineMetricRows__every_counter_has_one) {
  const auto rows = EngineMetricRows();
  // As many as there are counters, each another.
  EXPECT_LE(rows.size() * sizeof(Counter), sizeof(EngineMetrics));
  EXPECT_GT((rows.size() + 64 / sizeof(Counter)) * sizeof(Counter),
            sizeof(EngineMetrics));
  EngineMetrics metrics;
  std::set<std::string> names;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(names.insert(rows[i].name).second) << rows[i].name;
    EXPECT_EQ((metrics.*rows[i].field).value(), 0u) << rows[i].name;
    (metrics.*rows[i].field).Add(i + 1);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ((metrics.*rows[i].field).value(), i + 1) << rows[i].name;
  }
}

TEST(Metrics, MetricsPage__is_docs_metrics) {
  EXPECT_EQ(PageIn("metrics.md", MetricsPage()), MetricsPage())
      << "HAWSER_WRITE_DOCS=1 engine_test --gtest_filter='*Page*' writes it";
}

}  // namespace
}  // namespace hawser
