// What the operator says in the environment, and what the plugin says to it.
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include "nlohmann/json.hpp"
#include "tests/nccl/process.h"
#include "tests/nccl/rank.h"

namespace hawser {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EnvironmentTest : public ::testing::Test {
 protected:
  void SetUp() override { LogBook::Clear(); }
  const Environment environment_;
};

// Where RDMA is not to be had, whatever is missing of it, packets go by UDP,
// and one line says why.
TEST_F(EnvironmentTest, WithoutRdmaOneLineSaysSo) {
  // What there is, nobody's name fits.
  Rank rank({{"HAWSER_DATAPATH", "auto"}, {"HAWSER_IB_HCA", "=nobody"}});
  EXPECT_THAT(LogBook::Of(nccl::LogLevel::kInfo),
              testing::Contains(HasSubstr("verbs is not used: ")).Times(1));
  EXPECT_THAT(LogBook::Warnings(), testing::IsEmpty());
  Link link = Connect(rank, rank);
  Exchange(link, 10'000);
  link.Close();
}

struct BadValue {
  const char* name;
  const char* value;
  const char* expected;
};

class BadValueTest : public EnvironmentTest,
                     public ::testing::WithParamInterface<BadValue> {};

TEST_P(BadValueTest, IsRefusedWithWhatWasExpected) {
  const BadValue& bad = GetParam();
  Library library;
  const Api api = library.Newest();
  const int descriptors = OpenDescriptors();
  const int threads = Threads();
  {
    const Environment environment(Variables{{bad.name, bad.value}});
    void* context = &library;
    EXPECT_NE(api.init(&context), Result::kSuccess);
    EXPECT_EQ(context, nullptr);
    int count = -1;
    EXPECT_EQ(api.devices(&count), Result::kSuccess);
    EXPECT_EQ(count, 0);
    EXPECT_THAT(
        LogBook::Warnings(),
        ElementsAre(AllOf(HasSubstr(bad.value), HasSubstr(bad.expected))));
    // NCCL 2.28 ends what never began.
    EXPECT_EQ(api.finalize(context), Result::kSuccess);
    EXPECT_EQ(Threads(), threads);
    EXPECT_EQ(OpenDescriptors(), descriptors);
  }
  void* context = nullptr;
  ASSERT_EQ(api.init(&context), Result::kSuccess);
  Link link = Connect(api, context, api, context);
  Exchange(link, 1000);
  link.Close();
  EXPECT_EQ(api.finalize(context), Result::kSuccess);
}
INSTANTIATE_TEST_SUITE_P(
    Knobs, BadValueTest,
    ::testing::Values(BadValue{"HAWSER_PATHS", "0", "1..1024"},
                      BadValue{"HAWSER_PATHS", "many", "1..1024"},
                      BadValue{"HAWSER_DATAPATH", "pigeons", "auto, udp"},
                      BadValue{"HAWSER_PEER_TIMEOUT_MS", "1", "100.."},
                      BadValue{"HAWSER_POLL", "never", "adaptive, busy, event"},
                      BadValue{"HAWSER_SOCKET_FAMILY", "AF_UNIX", "AF_INET6"},
                      BadValue{"HAWSER_ENGINES", "17", "1..16"},
                      BadValue{"HAWSER_IFNAME", "=nowhere", "there are: "}),
    [](const auto& bad) {
      return std::string(bad.param.name) + std::to_string(bad.index);
    });

TEST_F(EnvironmentTest, SlipOfThePen) {
  { Rank rank(Variables{{"HAWSER_PATH", "4"}, {"HAWSER_PATHS", "4"}}); }
  EXPECT_THAT(LogBook::Warnings(),
              ElementsAre(HasSubstr("HAWSER_PATH: nobody reads")));
}

nlohmann::json ReadJson(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  std::remove(path.c_str());
  return nlohmann::json::parse(text.str());
}

// Each process has a file of its own, however it is named.
class StatsFileTest : public EnvironmentTest,
                      public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(WithAndWithoutItsPlace, StatsFileTest,
                         ::testing::Bool());

TEST_P(StatsFileTest, HasTheProcessInItsName) {
  const std::string begin = testing::TempDir() + "hawser_stats";
  const std::string pid = std::to_string(getpid());
  const std::string pattern = GetParam() ? begin + "_%p.json" : begin;
  const std::string path =
      GetParam() ? begin + "_" + pid + ".json" : begin + "." + pid;
  Rank a;
  {
    Rank b(Variables{{"HAWSER_STATS_FILE", pattern}, {"HAWSER_PATHS", "4"}});
    Link link = Connect(b, a);
    Exchange(link, 5'000'000);
    link.Close();
  }
  const nlohmann::json report = ReadJson(path);
  ASSERT_EQ(report["peers"].size(), 1u);
  ASSERT_EQ(report["peers"][0]["paths"].size(), 4u);
  uint64_t delivered = 0;
  for (const auto& path_report : report["peers"][0]["paths"]) {
    EXPECT_EQ(path_report["plane"], "lo");
    delivered += path_report["bytes_delivered"].get<uint64_t>();
  }
  EXPECT_GE(delivered, 5'000'000u);
  EXPECT_GE(report["engines"][0]["bytes_delivered"], 5'000'000);
}

TEST_F(EnvironmentTest, StatsFileCannotBeWritten) {
  { Rank rank(Variables{{"HAWSER_STATS_FILE", "/nowhere/stats.json"}}); }
  EXPECT_THAT(LogBook::Warnings(),
              ElementsAre(HasSubstr("/nowhere/stats.json")));
}

// --- The traffic class ---------------------------------------------------

// What IP_TOS says of the process's UDP sockets, without the ECN bits.
std::set<int> TrafficClasses() {
  std::set<int> classes;
  for (int fd = 0; fd < 1024; ++fd) {
    int type = 0, tos = 0;
    socklen_t length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
        type == SOCK_DGRAM &&
        getsockopt(fd, IPPROTO_IP, IP_TOS, &tos, &length) == 0) {
      classes.insert(tos & 0xfc);
    }
  }
  return classes;
}

TEST_F(EnvironmentTest, FirstCommunicatorDecidesOnTheTrafficClass) {
  const Environment environment(Variables{{"HAWSER_TRAFFIC_CLASS", "40"}});
  Library library;
  const auto* net = library.Table<nccl::v12::Net>(12);
  const auto begin = [&](int traffic_class) {
    void* context = nullptr;
    nccl::v10::CommConfig config = {traffic_class};
    EXPECT_EQ(net->init(&context, 1, &config, LogBook::Write, nullptr),
              Result::kSuccess);
    return context;
  };
  for (const auto& [asked, used] :
       {std::pair(nccl::kTrafficClassUndefined, 40), std::pair(104, 104)}) {
    LogBook::Clear();
    void* first = begin(asked);
    // What only receives has none.
    EXPECT_THAT(TrafficClasses(), ElementsAre(0, used));
    void* second = begin(nccl::kTrafficClassUndefined);
    void* third = begin(used);
    EXPECT_THAT(LogBook::Warnings(), ElementsAre());
    void* fourth = begin(8);
    void* fifth = begin(8);
    EXPECT_THAT(LogBook::Warnings(),
                ElementsAre(AllOf(HasSubstr("traffic class 8,"),
                                  HasSubstr("have " + std::to_string(used)))));
    for (void* context : {first, second, third, fourth, fifth}) {
      EXPECT_EQ(net->finalize(context), Result::kSuccess);
    }
  }
}

// It says so with every connection, and after the sockets were made.
TEST_F(EnvironmentTest, TrafficClassOfVersion10) {
  Library library;
  const auto* net = library.Table<nccl::v10::Net>(10);
  ASSERT_EQ(net->init(LogBook::Write, nullptr), Result::kSuccess);
  Handle handle;
  void *listen = nullptr, *send = nullptr;
  nccl::DeviceHandle* device = nullptr;
  ASSERT_EQ(net->listen(0, handle.data(), &listen), Result::kSuccess);
  for (const int wanted : {nccl::kTrafficClassUndefined, 0, 104, 104}) {
    nccl::v10::CommConfig config = {wanted};
    ASSERT_EQ(net->connect(0, &config, handle.data(), &send, &device),
              Result::kSuccess);
  }
  EXPECT_THAT(LogBook::Warnings(),
              ElementsAre(HasSubstr("HAWSER_TRAFFIC_CLASS=104")));
  EXPECT_EQ(net->closeListen(listen), Result::kSuccess);
}

// --- Several interfaces ----------------------------------------------------

constexpr int kSkipped = 77;

// In a network of its own, with two interfaces besides loopback.
bool MakeNetwork() {
  if (unshare(CLONE_NEWNET) != 0 &&
      unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    return false;
  }
  if (std::system("{ ip link set lo up"
                  " && ip link add hw0 type veth peer name far0"
                  " && ip link add hw1 type veth peer name far1"
                  " && ip addr add 10.77.0.1/24 dev hw0"
                  " && ip addr add 10.77.1.1/24 dev hw1"
                  " && ip link set far0 up && ip link set far1 up"
                  " && ip link set hw0 up && ip link set hw1 up; }"
                  " >/dev/null 2>&1") != 0) {
    return false;
  }
  // A cable has its carrier some time after it was plugged in.
  return Until([] {
    int running = 0;
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) return false;
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
      running += one->ifa_addr != nullptr &&
                 one->ifa_addr->sa_family == AF_INET &&
                 (one->ifa_flags & IFF_RUNNING) != 0 && one->ifa_name[0] == 'h';
    }
    freeifaddrs(list);
    return running == 2;
  });
}

TEST(Helper, DISABLED_TwoInterfaces) {
  if (!MakeNetwork()) std::exit(kSkipped);
  const std::string name = testing::TempDir() + "hawser_two";
  const std::string stats = name + "." + std::to_string(getpid());
  for (const char* aggregate : {"0", "1"}) {
    const bool one_device = aggregate[0] == '1';
    {
      const Environment environment(Variables{{"HAWSER_IFNAME", "hw"},
                                              {"HAWSER_AGGREGATE", aggregate},
                                              {"HAWSER_STATS_FILE", name},
                                              {"HAWSER_PATHS", "4"}});
      Library library;
      const auto* net = library.Table<nccl::v12::Net>(12);
      const Api api = ApiOf(*net);
      void* context = nullptr;
      ASSERT_EQ(api.init(&context), Result::kSuccess);
      int count = 0;
      ASSERT_EQ(api.devices(&count), Result::kSuccess);
      ASSERT_EQ(count, one_device ? 1 : 2);
      std::vector<std::string> names;
      std::vector<uint64_t> guids;
      for (int dev = 0; dev < count; ++dev) {
        nccl::v12::Properties properties;
        ASSERT_EQ(net->getProperties(dev, &properties), Result::kSuccess);
        names.push_back(properties.name);
        guids.push_back(properties.guid);
        EXPECT_EQ(properties.vProps.devs[0], dev);
      }
      if (one_device) {
        EXPECT_THAT(names, ElementsAre("hawser"));
      } else {
        EXPECT_THAT(names, ElementsAre("hawser-hw0", "hawser-hw1"));
        EXPECT_NE(guids[0], guids[1]);
      }
      for (int dev = 0; dev < count; ++dev) {
        Handle handle;
        void* listen = nullptr;
        Link link = {&api, &api};
        ASSERT_EQ(api.listen(context, dev, handle.data(), &listen),
                  Result::kSuccess);
        ASSERT_TRUE(Until([&] {
          if (link.send == nullptr) {
            EXPECT_EQ(api.connect(context, dev, handle.data(), &link.send),
                      Result::kSuccess);
          }
          if (link.receive == nullptr) {
            EXPECT_EQ(api.accept(listen, &link.receive), Result::kSuccess);
          }
          return link.send != nullptr && link.receive != nullptr;
        }));
        Exchange(link, 1'000'000 * (dev + 1));
        link.Close();
        EXPECT_EQ(api.close_listen(listen), Result::kSuccess);
      }
      ASSERT_EQ(api.finalize(context), Result::kSuccess);
    }
    // Each device has used its own interfaces, and all of them.
    for (int dev = 0; dev < (one_device ? 1 : 2); ++dev) {
      const nlohmann::json report =
          ReadJson(dev == 0 ? stats : stats + "." + std::to_string(dev));
      std::map<std::string, uint64_t> delivered;
      for (const auto& path : report["peers"][0]["paths"]) {
        delivered[path["plane"]] += path["bytes_delivered"].get<uint64_t>();
      }
      if (one_device) {
        EXPECT_EQ(delivered.size(), 2u);
        EXPECT_GT(delivered["hw0"], 50'000u);
        EXPECT_GT(delivered["hw1"], 50'000u);
      } else {
        EXPECT_EQ(delivered.size(), 1u);
        EXPECT_GE(delivered["hw" + std::to_string(dev)],
                  1'000'000u * (dev + 1));
      }
    }
  }
}

TEST(Helper, DISABLED_BridgeIsLeftOut) {
  if (!MakeNetwork()) std::exit(kSkipped);
  if (std::system("{ ip link add hwbr type bridge && ip link set far0 master "
                  "hwbr && ip addr add 10.77.2.1/24 dev hwbr && ip link set "
                  "hwbr up; } >/dev/null 2>&1") != 0) {
    std::exit(kSkipped);
  }
  const auto devices = [](const char* selection) {
    const Environment environment(
        Variables{{"HAWSER_IFNAME", selection}, {"HAWSER_AGGREGATE", "0"}});
    Library library;
    const auto* net = library.Table<nccl::v12::Net>(12);
    void* context = nullptr;
    EXPECT_EQ(ApiOf(*net).init(&context), Result::kSuccess);
    std::vector<std::string> names;
    int count = 0;
    EXPECT_EQ(net->devices(&count), Result::kSuccess);
    for (int dev = 0; dev < count; ++dev) {
      nccl::v12::Properties properties;
      EXPECT_EQ(net->getProperties(dev, &properties), Result::kSuccess);
      names.push_back(properties.name);
    }
    EXPECT_EQ(net->finalize(context), Result::kSuccess);
    return names;
  };
  // A bridge has its carrier some time after its first port.
  EXPECT_TRUE(Until([&] { return devices("hw").size() == 3; }));
  EXPECT_THAT(devices(""), ElementsAre("hawser-hw0", "hawser-hw1"));
  ASSERT_EQ(std::system("ip addr flush dev hw0 && ip addr flush dev hw1"), 0);
  EXPECT_THAT(devices(""), ElementsAre("hawser-hwbr"));
}

// One interface goes between listen() and connect(), then the other.
TEST(Helper, DISABLED_InterfacesGo) {
  if (!MakeNetwork()) std::exit(kSkipped);
  const Variables both = {{"HAWSER_IFNAME", "hw"}};
  Rank a(both), b(both);
  Handle handle;
  void* listen = nullptr;
  ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
            Result::kSuccess);
  ASSERT_EQ(std::system("ip addr flush dev hw0"), 0);
  Link link = {&a.api, &b.api};
  ASSERT_TRUE(Until([&] {
    if (link.send == nullptr) {
      EXPECT_EQ(a.api.connect(a.context, 0, handle.data(), &link.send),
                Result::kSuccess);
    }
    if (link.receive == nullptr) {
      EXPECT_EQ(b.api.accept(listen, &link.receive), Result::kSuccess);
    }
    return link.send != nullptr && link.receive != nullptr;
  }));
  Exchange(link, 1'000'000);
  EXPECT_EQ(b.api.close_listen(listen), Result::kSuccess);
  // One that is left will do for a new listener too.
  Link second = Connect(a, b);
  Exchange(second, 1000);
  second.Close();
  link.Close();
  ASSERT_EQ(std::system("ip addr flush dev hw1"), 0);
  // No fault of any peer's.
  EXPECT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
            Result::kSystemError);
  EXPECT_EQ(listen, nullptr);
}

class TwoInterfacesTest : public EnvironmentTest,
                          public ::testing::WithParamInterface<const char*> {};

TEST_P(TwoInterfacesTest, InANetworkOfItsOwn) {
  Process process(std::string("Helper.DISABLED_") + GetParam());
  const int code = process.Wait();
  if (code == kSkipped) {
    GTEST_SKIP() << "no network namespace with interfaces can be made here";
  }
  EXPECT_EQ(code, 0);
}
INSTANTIATE_TEST_SUITE_P(Helpers, TwoInterfacesTest,
                         ::testing::Values("TwoInterfaces", "BridgeIsLeftOut",
                                           "InterfacesGo"),
                         [](const auto& helper) {
                           return std::string(helper.param);
                         });

}  // namespace
}  // namespace hawser
