// What torch's DataLoader does: a child that knows nothing of the transport,
// but holds all of its memory. It must neither hang nor disturb.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "tests/nccl/rank.h"
#include "tests/sanitizers.h"

namespace hawser {
namespace {

TEST(Fork, ChildIsAStranger) {
  LogBook::Clear();
  const Environment environment;
  Rank a, b;
  Link link = Connect(a, b);
  Exchange(link, 100'000);
  std::vector<uint8_t> in(1000), out(1000);
  Pending receive = Receive(link, in.data(), in.size());
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
      // The leak checker would look for the parent's threads, and not find
      // them.
      if (HAWSER_ASAN) std::_Exit(bad);
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
  Pending send = Send(link, out.data(), out.size());
  EXPECT_TRUE(send.Finish());
  EXPECT_TRUE(receive.Finish());
  Exchange(link, 1'000'000);
  link.Close();
  EXPECT_THAT(LogBook::Warnings(), testing::IsEmpty());
}

}  // namespace
}  // namespace hawser
