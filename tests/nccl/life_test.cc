// How the plugin begins and ends in a process, and what it leaves behind:
// nothing.
#include <algorithm>
#include <string>
#include <thread>

#include "tests/nccl/rank.h"

namespace hawser {
namespace {

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

// A linger that nobody needs is not waited for: in one life of many both ends
// take less than one linger could. (In the others the machine was busy.)
TEST_F(LifeTest, FinalizeIsQuick) {
  constexpr double kLingerMs = 300;
  double best_ms = 1e9;
  for (int life = 0; life < 100 && best_ms >= kLingerMs; ++life) {
    Rank a, b;
    Link there = Connect(a, b), back = Connect(b, a);
    Exchange(there, 1'000'000);
    Exchange(back, 1'000'000);
    there.Close();
    back.Close();
    const auto begin = Clock::now();
    a.End();
    b.End();
    best_ms = std::min(best_ms, MillisSince(begin));
  }
  EXPECT_LT(best_ms, kLingerMs);
}

}  // namespace
}  // namespace hawser
