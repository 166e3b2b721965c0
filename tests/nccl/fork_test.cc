// What torch's DataLoader does: a child that knows nothing of the transport,
// but holds all of its memory. It must neither hang nor disturb.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "tests/nccl/rank.h"
#include "tests/sanitizers.h"

namespace hawser {
namespace {

std::string NotOurs(const std::string& call) {
  return "NET/Hawser : " + call +
         ": this comm belongs to the process that forked this one";
}

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
      bad += LogBook::Warnings() != std::vector<std::string>{NotOurs("isend"),
                                                             NotOurs("irecv"),
                                                             NotOurs("test")};
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

// A child that does nothing, and by that holds a copy of every descriptor.
class Bystander {
 public:
  Bystander() : pid_(fork()) {
    if (pid_ == 0) {
      alarm(120);
      while (true) pause();
    }
    EXPECT_GT(pid_, 0);
  }
  ~Bystander() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;

 private:
  const pid_t pid_;
};

// No listener gives up by itself while a test waits.
const Variables kPatient = {{"HAWSER_HANDSHAKE_TIMEOUT_MS", "120000"}};

// The end of a connection is the last word of a handshake, so it must be heard
// whoever has a copy of the descriptor: at each step, with either side first.
TEST(Fork, DuringAHandshake) {
  LogBook::Clear();
  Rank a(kPatient), b(kPatient);
  for (int steps = 0; steps < 4; ++steps) {
    Handle handle;
    void* listen = nullptr;
    ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
              Result::kSuccess);
    Link link = {&a.api, &b.api};
    const auto step = [&](int i) {
      if (i % 2 == 0 && link.send == nullptr) {
        EXPECT_EQ(a.api.connect(a.context, 0, handle.data(), &link.send),
                  Result::kSuccess);
      } else if (i % 2 == 1 && link.receive == nullptr) {
        EXPECT_EQ(b.api.accept(listen, &link.receive), Result::kSuccess);
      }
    };
    for (int i = 0; i < steps; ++i) step(i);
    const Bystander child;
    int i = steps;
    ASSERT_TRUE(Until([&] {
      step(i++);
      return link.send != nullptr && link.receive != nullptr;
    })) << "forked after step "
        << steps;
    EXPECT_EQ(b.api.close_listen(listen), Result::kSuccess);
    Exchange(link, 1000);
    link.Close();
  }
  EXPECT_THAT(LogBook::Warnings(), testing::IsEmpty());
}

TEST(Fork, ListenerGoesDuringAHandshake) {
  for (const bool accepted : {false, true}) {
    Rank a, b;
    Handle handle;
    void *listen = nullptr, *send = nullptr, *receive = nullptr;
    ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
              Result::kSuccess);
    ASSERT_EQ(a.api.connect(a.context, 0, handle.data(), &send),
              Result::kSuccess);
    if (accepted) {
      ASSERT_EQ(b.api.accept(listen, &receive), Result::kSuccess);
    }
    const Bystander child;
    ASSERT_EQ(b.api.close_listen(listen), Result::kSuccess);
    Result result = Result::kSuccess;
    EXPECT_TRUE(Until([&] {
      result = a.api.connect(a.context, 0, handle.data(), &send);
      return result != Result::kSuccess;
    })) << "accepted: "
        << accepted;
    EXPECT_EQ(result, Result::kRemoteError);
  }
}

TEST(Fork, ConnectorGoesDuringAHandshake) {
  Rank b(kPatient);
  Handle handle;
  void *listen = nullptr, *send = nullptr, *receive = nullptr;
  ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
            Result::kSuccess);
  const int without_a = OpenDescriptors();
  auto a = std::make_unique<Rank>();
  const int with_a = OpenDescriptors();
  ASSERT_EQ(a->api.connect(a->context, 0, handle.data(), &send),
            Result::kSuccess);
  ASSERT_TRUE(Until([&] {
    EXPECT_EQ(b.api.accept(listen, &receive), Result::kSuccess);
    return OpenDescriptors() == with_a + 2;
  }));
  const Bystander child;
  a.reset();
  EXPECT_TRUE(Until([&] {
    EXPECT_EQ(b.api.accept(listen, &receive), Result::kSuccess);
    EXPECT_EQ(receive, nullptr);
    return OpenDescriptors() == without_a;
  }));
  EXPECT_EQ(b.api.close_listen(listen), Result::kSuccess);
}

}  // namespace
}  // namespace hawser
