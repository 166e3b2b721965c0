// How the plugin begins and ends in a process, and what it leaves behind:
// nothing.
#include <net/if.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "nlohmann/json.hpp"
#include "tests/nccl/process.h"
#include "tests/nccl/rank.h"

#if defined(__SANITIZE_THREAD__)
#define HAWSER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAWSER_TSAN 1
#endif
#endif
#ifndef HAWSER_TSAN
#define HAWSER_TSAN 0
#endif

namespace hawser {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LifeTest : public ::testing::Test {
 protected:
  void SetUp() override { LogBook::Clear(); }
  const Environment environment_;
};

TEST_F(LifeTest, TwentyLives) {
  Library library;
  const Api api = library.Newest();
  const int descriptors = OpenDescriptors();
  const int threads = Threads();
  for (int life = 0; life < 20; ++life) {
    void* context = nullptr;
    ASSERT_EQ(api.init(&context), Result::kSuccess);
    EXPECT_GT(Threads(), threads);
    Link link = Connect(api, context, api, context);
    Exchange(link, 100'000, life);
    link.Close();
    ASSERT_EQ(api.finalize(context), Result::kSuccess);
    EXPECT_TRUE(ThreadsBecome(threads)) << "life " << life;
    EXPECT_EQ(OpenDescriptors(), descriptors) << "life " << life;
  }
}

// One context per communicator; the transport lives as long as any of them.
TEST_F(LifeTest, SeveralContexts) {
  Library library;
  const Api api = library.Newest();
  const int threads = Threads();
  std::vector<void*> contexts(5);
  for (void*& context : contexts) {
    ASSERT_EQ(api.init(&context), Result::kSuccess);
    ASSERT_NE(context, nullptr);
  }
  EXPECT_EQ(Threads(), threads + 1);
  Link link = Connect(api, contexts[0], api, contexts[1]);
  std::sort(contexts.begin(), contexts.end());
  EXPECT_EQ(std::unique(contexts.begin(), contexts.end()), contexts.end());
  int stranger = 0;
  for (size_t i = 0; i + 1 < contexts.size(); ++i) {
    EXPECT_EQ(api.finalize(contexts[i]), Result::kSuccess);
    // Ended twice, never begun, failed to begin: NCCL 2.28 does the last.
    EXPECT_EQ(api.finalize(contexts[i]), Result::kSuccess);
    EXPECT_EQ(api.finalize(&stranger), Result::kSuccess);
    EXPECT_EQ(api.finalize(nullptr), Result::kSuccess);
    Exchange(link, 1000);
  }
  link.Close();
  EXPECT_EQ(Threads(), threads + 1);
  EXPECT_EQ(api.finalize(contexts.back()), Result::kSuccess);
  EXPECT_TRUE(ThreadsBecome(threads));
}

// An established comm is never pulled from under the one who uses it.
TEST_F(LifeTest, LastCommOutlivesTheLastContext) {
  Library library;
  const Api api = library.Newest();
  const int descriptors = OpenDescriptors();
  const int threads = Threads();
  void* context = nullptr;
  ASSERT_EQ(api.init(&context), Result::kSuccess);
  Link link = Connect(api, context, api, context);
  ASSERT_EQ(api.finalize(context), Result::kSuccess);
  Exchange(link, 10'000);
  link.Close();
  EXPECT_TRUE(ThreadsBecome(threads));
  EXPECT_EQ(OpenDescriptors(), descriptors);
}

TEST_F(LifeTest, ContextsComeAndGoOnManyThreads) {
  Library library;
  const Api api = library.Newest();
  const int descriptors = OpenDescriptors();
  const int threads_before = Threads();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int life = 0; life < 10; ++life) {
        void* context = nullptr;
        ASSERT_EQ(api.init(&context), Result::kSuccess);
        Link link = Connect(api, context, api, context);
        Exchange(link, 10'000, t);
        link.Close();
        ASSERT_EQ(api.finalize(context), Result::kSuccess);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(ThreadsBecome(threads_before));
  EXPECT_EQ(OpenDescriptors(), descriptors);
}

TEST_F(LifeTest, UnloadedAfterFinalize) {
  const int descriptors = OpenDescriptors();
  const int threads = Threads();
  for (int life = 0; life < 5; ++life) {
    Library library;
    const Api api = library.Newest();
    void* context = nullptr;
    ASSERT_EQ(api.init(&context), Result::kSuccess);
    Link link = Connect(api, context, api, context);
    Exchange(link, 10'000);
    link.Close();
    ASSERT_EQ(api.finalize(context), Result::kSuccess);
    library.Unload();
    EXPECT_TRUE(ThreadsBecome(threads));
    EXPECT_EQ(OpenDescriptors(), descriptors);
  }
}

// Before v11 there is no finalize(): unloading is all there is.
TEST_F(LifeTest, UnloadedWithoutFinalize) {
  const int descriptors = OpenDescriptors();
  const int threads = Threads();
  for (const bool closed : {true, false}) {
    Library library;
    const Api api = ApiOf(*library.Table<nccl::v9::Net>(9));
    void* none = nullptr;
    ASSERT_EQ(api.init(&none), Result::kSuccess);
    Link link = Connect(api, none, api, none);
    Exchange(link, 10'000);
    Handle handle;
    void* listen = nullptr;
    ASSERT_EQ(api.listen(nullptr, 0, handle.data(), &listen), Result::kSuccess);
    void* send = nullptr;
    ASSERT_EQ(api.connect(nullptr, 0, handle.data(), &send), Result::kSuccess);
    std::vector<uint8_t> memory(1000);
    if (closed) {
      link.Close();
    } else {
      Receive(link, memory.data(), memory.size());
    }
    library.Unload();
    EXPECT_TRUE(ThreadsBecome(threads));
    EXPECT_EQ(OpenDescriptors(), descriptors);
  }
}

TEST_F(LifeTest, UnloadedUnused) {
  Library library;
  library.Unload();
}

// A linger that nobody needs is not waited for.
TEST_F(LifeTest, FinalizeIsQuick) {
  double best_ms = 1e9;
  for (int life = 0; life < 5; ++life) {
    Rank a, b;
    Link there = Connect(a, b), back = Connect(b, a);
    Exchange(there, 1'000'000);
    Exchange(back, 1'000'000);
    there.Close();
    back.Close();
    const auto begin = Clock::now();
    a.End();
    const double first_ms = MillisSince(begin);
    b.End();
    RecordProperty("first_ms", std::to_string(first_ms));
    RecordProperty("both_ms", std::to_string(MillisSince(begin)));
    best_ms = std::min(best_ms, MillisSince(begin));
  }
  EXPECT_LT(best_ms, 100);
}

// --- Configuration ---------------------------------------------------------

struct BadValue {
  const char* name;
  const char* value;
  const char* expected;
};

class BadValueTest : public LifeTest,
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
    ::testing::Values(BadValue{"HAWSER_PATHS", "0", "1..256"},
                      BadValue{"HAWSER_PATHS", "many", "1..256"},
                      BadValue{"HAWSER_DATAPATH", "pigeons", "auto, udp"},
                      BadValue{"HAWSER_PEER_TIMEOUT_MS", "1", "100.."},
                      BadValue{"HAWSER_POLL", "never", "adaptive, busy, event"},
                      BadValue{"HAWSER_SOCKET_FAMILY", "AF_UNIX", "AF_INET6"},
                      BadValue{"HAWSER_ENGINES", "17", "1..16"},
                      BadValue{"HAWSER_IFNAME", "=nowhere", "there are: "}),
    [](const auto& bad) {
      return std::string(bad.param.name) + std::to_string(bad.index);
    });

nlohmann::json ReadJson(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  std::remove(path.c_str());
  return nlohmann::json::parse(text.str());
}

TEST_F(LifeTest, StatsFile) {
  const std::string pattern = testing::TempDir() + "hawser_stats_%p.json";
  const std::string path =
      testing::TempDir() + "hawser_stats_" + std::to_string(getpid()) + ".json";
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

TEST_F(LifeTest, StatsFileCannotBeWritten) {
  { Rank rank(Variables{{"HAWSER_STATS_FILE", "/nowhere/stats.json"}}); }
  EXPECT_THAT(LogBook::Warnings(),
              ElementsAre(HasSubstr("/nowhere/stats.json")));
}

// --- Forks -----------------------------------------------------------------

// What torch's DataLoader does: a child that knows nothing of the transport,
// but holds all of its memory. It must neither hang nor disturb.
TEST_F(LifeTest, ForkedChild) {
  Rank a, b;
  Link link = Connect(a, b);
  Exchange(link, 100'000);
  std::vector<uint8_t> memory(1000);
  Pending receive = Receive(link, memory.data(), memory.size());
  // For as long as the child lives, a lock may be held there forever.
  std::atomic<bool> over{false};
  std::thread busy([&] {
    while (!over.load()) receive.Test();
  });
  for (const bool begins_anew : {false, true}) {
    if (begins_anew && HAWSER_TSAN) continue;  // It allows no threads there.
    const pid_t child = fork();
    if (child == 0) {
      alarm(30);
      char bytes[10];
      void* request = bytes;
      int bad = 0;
      int done = 1, size = 0;
      bad += a.api.isend(link.send, bytes, sizeof bytes, 0, nullptr,
                         &request) == Result::kSuccess;
      bad += request != nullptr;
      bad += b.api.irecv(link.receive, bytes, sizeof bytes, 0, nullptr,
                         &request) == Result::kSuccess;
      bad += b.api.test(receive.request, &done, &size) == Result::kSuccess;
      bad += done != 0;
      bad += a.api.close_send(link.send) != Result::kSuccess;
      bad += b.api.close_receive(link.receive) != Result::kSuccess;
      bad += a.api.finalize(a.context) != Result::kSuccess;
      if (begins_anew) {
        void* context = nullptr;
        bad += a.api.init(&context) != Result::kSuccess;
        Link mine = Connect(a.api, context, a.api, context);
        Exchange(mine, 100'000);
        mine.Close();
        bad += testing::Test::HasFailure();
        bad += a.api.finalize(context) != Result::kSuccess;
      }
      // With all that runs at the end of a process.
      std::exit(bad);
    }
    ASSERT_GT(child, 0);
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  over.store(true);
  busy.join();
  // The parent's peers have noticed nothing.
  Pending send = Send(link, memory.data(), memory.size());
  EXPECT_TRUE(send.Finish());
  EXPECT_TRUE(receive.Finish());
  Exchange(link, 1'000'000);
  link.Close();
  EXPECT_THAT(LogBook::Warnings(), testing::IsEmpty());
}

// --- Several interfaces ----------------------------------------------------

constexpr int kSkipped = 77;

// In a network of its own, with two interfaces besides loopback.
bool MakeNetwork() {
  if (unshare(CLONE_NEWNET) != 0 &&
      unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    return false;
  }
  return std::system(
             "{ ip link set lo up"
             " && ip link add hw0 type veth peer name far0"
             " && ip link add hw1 type veth peer name far1"
             " && ip addr add 10.77.0.1/24 dev hw0"
             " && ip addr add 10.77.1.1/24 dev hw1"
             " && ip link set far0 up && ip link set far1 up"
             " && ip link set hw0 up && ip link set hw1 up; }"
             " >/dev/null 2>&1") == 0;
}

TEST(Helper, DISABLED_TwoInterfaces) {
  if (!MakeNetwork()) std::exit(kSkipped);
  const std::string stats =
      testing::TempDir() + "hawser_two_" + std::to_string(getpid()) + ".json";
  for (const char* aggregate : {"0", "1"}) {
    const bool one_device = aggregate[0] == '1';
    {
      const Environment environment(Variables{{"HAWSER_IFNAME", "hw"},
                                              {"HAWSER_AGGREGATE", aggregate},
                                              {"HAWSER_STATS_FILE", stats},
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

TEST_F(LifeTest, TwoInterfaces) {
  Process process("Helper.DISABLED_TwoInterfaces");
  const int code = process.Wait();
  if (code == kSkipped) {
    GTEST_SKIP() << "no network namespace with interfaces can be made here";
  }
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace hawser
