// Two processes, and what the one that is left is told when the other dies.
#include <atomic>
#include <cstdlib>
#include <thread>

#include "tests/nccl/process.h"
#include "tests/nccl/rank.h"

namespace hawser {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// --- What the other process does -------------------------------------------

// Sends back whatever comes, until the other side is gone.
TEST(Helper, DISABLED_Echo) {
  Rank rank;
  Pair pair = ConnectBothWays(rank, kHelperSocket);
  std::vector<uint8_t> memory(4 << 20);
  while (true) {
    Pending receive = Receive(pair.in, memory.data(), memory.size());
    if (!receive.Finish()) break;
    Pending send = Send(pair.out, memory.data(), receive.size);
    if (!send.Finish()) break;
  }
  pair.Close(rank);
}

// Connects as often as it is told, and then does nothing until the socket
// ends. What it does then is up to what it is told at last.
constexpr char kConnect = 'c', kFinalize = 'f', kExit = 'e', kReturn = 'r';
TEST(Helper, DISABLED_Hold) {
  auto rank = std::make_unique<Rank>();
  std::vector<Pair> pairs;
  char order = 0;
  while (Hear(kHelperSocket, &order) && order == kConnect) {
    pairs.push_back(ConnectBothWays(*rank, kHelperSocket));
  }
  if (order == kExit) {
    // Without a word to the plugin, and while another thread uses it.
    static uint8_t memory[1000];
    static Pending pending = Receive(pairs[0].in, memory, sizeof memory);
    static std::atomic<int> turns{0};
    std::thread([] {
      while (!pending.Test()) ++turns;
      while (true) {
        // A comm that has failed may be asked as well.
        int done, size;
        pending.api->test(pending.request, &done, &size);
        ++turns;
      }
    }).detach();
    Until([&] { return turns > 1000; });
    std::exit(0);
  }
  for (Pair& pair : pairs) {
    if (order == kFinalize) pair.Close(*rank);
  }
  if (order == kReturn) {
    // Finalizes with comms that are open.
    rank->End();
    for (Pair& pair : pairs) pair.Close(*rank);
  }
}

// Listens and connects, and gets no further.
TEST(Helper, DISABLED_HalfWay) {
  Rank rank;
  Handle mine, theirs;
  void* listen = nullptr;
  ASSERT_EQ(rank.api.listen(rank.context, 0, mine.data(), &listen),
            Result::kSuccess);
  ASSERT_TRUE(Hear(kHelperSocket, &theirs));
  void* send = nullptr;
  ASSERT_EQ(rank.api.connect(rank.context, 0, theirs.data(), &send),
            Result::kSuccess);
  // Once more, so that the hello is out.
  ASSERT_TRUE(Until([&] {
    return rank.api.connect(rank.context, 0, theirs.data(), &send) ==
           Result::kSuccess;
  }));
  ASSERT_TRUE(Tell(kHelperSocket, mine));
  char order;
  Hear(kHelperSocket, &order);
}

// --- The tests -------------------------------------------------------------

class PeerTest : public ::testing::Test {
 protected:
  void SetUp() override { LogBook::Clear(); }
};

TEST_F(PeerTest, TwoProcesses) {
  Process process("Helper.DISABLED_Echo");
  Rank rank;
  Pair pair = ConnectBothWays(rank, process.socket());
  for (int i = 0; i < 100; ++i) {
    const std::vector<uint8_t> out = Pattern(i < 90 ? i * 777 : 4'000'000, i);
    std::vector<uint8_t> in(out.size());
    Pending receive = Receive(pair.in, in.data(), in.size());
    Pending send = Send(pair.out, out.data(), out.size());
    ASSERT_TRUE(send.Finish());
    ASSERT_TRUE(receive.Finish());
    ASSERT_EQ(in, out);
  }
  pair.Close(rank);
  EXPECT_EQ(process.Wait(), 0);
}

constexpr int kTimeoutMs = 1000;
const Variables kShort = {{"HAWSER_PEER_TIMEOUT_MS", "1000"}};
// What a busy machine may add, and a sanitizer.
constexpr double kSlackMs = 3000;

TEST_F(PeerTest, KilledWithEverythingOutstanding) {
  Process process("Helper.DISABLED_Hold");
  Rank rank(kShort);
  std::vector<Pair> pairs;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Tell(process.socket(), kConnect));
    pairs.push_back(ConnectBothWays(rank, process.socket()));
  }
  const std::string name = std::to_string(process.pid());
  std::vector<uint8_t> in(100'000), out(100'000);
  std::vector<Pending> pending;
  for (Pair& pair : pairs) {
    for (int i = 0; i < 16; ++i) {
      pending.push_back(Receive(pair.in, in.data(), in.size()));
      pending.push_back(Send(pair.out, out.data(), out.size()));
    }
  }
  for (int i = 0; i < 100; ++i) {
    for (Pending& one : pending) ASSERT_FALSE(one.Test());
  }
  process.Kill();
  const auto begin = Clock::now();
  for (Pending& one : pending) {
    ASSERT_TRUE(Until([&] { return one.Test(); }, kTimeoutMs + kSlackMs));
    EXPECT_EQ(one.result, Result::kRemoteError);
    EXPECT_FALSE(one.done);
  }
  EXPECT_LT(MillisSince(begin), kTimeoutMs + kSlackMs);
  // One warning, whatever hung on it, that names peer, path and cause.
  EXPECT_THAT(
      LogBook::Warnings(),
      ElementsAre(AllOf(HasSubstr("peer "), HasSubstr(":" + name),
                        HasSubstr("nothing was heard"), HasSubstr("path"),
                        HasSubstr("HAWSER_PEER_TIMEOUT_MS=1000"))));
  // What is asked of its comms afterwards ends the same way, and at once.
  Pending late = Send(pairs[0].out, out.data(), 10);
  EXPECT_FALSE(late.Finish(kSlackMs));
  EXPECT_EQ(late.result, Result::kRemoteError);
  late = Receive(pairs[1].in, in.data(), 10);
  EXPECT_FALSE(late.Finish(kSlackMs));
  EXPECT_EQ(late.result, Result::kRemoteError);
  EXPECT_EQ(LogBook::Warnings().size(), 1u);
  for (Pair& pair : pairs) pair.Close(rank);
}

// Nothing was open when it died; the first message finds out.
TEST_F(PeerTest, KilledWhileIdle) {
  Process process("Helper.DISABLED_Hold");
  Rank rank(kShort);
  ASSERT_TRUE(Tell(process.socket(), kConnect));
  Pair pair = ConnectBothWays(rank, process.socket());
  process.Kill();
  std::vector<uint8_t> memory(1000);
  Pending send = Send(pair.out, memory.data(), memory.size());
  EXPECT_FALSE(send.Finish(kTimeoutMs + kSlackMs));
  EXPECT_EQ(send.result, Result::kRemoteError);
  EXPECT_EQ(LogBook::Warnings().size(), 1u);
  pair.Close(rank);
}

TEST_F(PeerTest, KilledInTheMiddleOfALargeMessage) {
  Process process("Helper.DISABLED_Echo");
  Rank rank(kShort);
  Pair pair = ConnectBothWays(rank, process.socket());
  std::vector<uint8_t> in(4 << 20), out(4 << 20);
  for (int i = 0; i < 5; ++i) {
    Pending receive = Receive(pair.in, in.data(), in.size());
    Pending send = Send(pair.out, out.data(), out.size());
    if (i < 4) {
      ASSERT_TRUE(send.Finish());
      ASSERT_TRUE(receive.Finish());
      continue;
    }
    send.Test();
    process.Kill();
    // The last send may have arrived whole.
    send.Finish(kTimeoutMs + kSlackMs);
    EXPECT_FALSE(receive.Finish(kTimeoutMs + kSlackMs));
    EXPECT_EQ(receive.result, Result::kRemoteError);
  }
  EXPECT_EQ(LogBook::Warnings().size(), 1u);
  pair.Close(rank);
}

TEST_F(PeerTest, KilledWhileConnecting) {
  Process process("Helper.DISABLED_HalfWay");
  Rank rank(kShort);
  Handle mine, theirs;
  void* listen = nullptr;
  ASSERT_EQ(rank.api.listen(rank.context, 0, mine.data(), &listen),
            Result::kSuccess);
  ASSERT_TRUE(Tell(process.socket(), mine));
  ASSERT_TRUE(Hear(process.socket(), &theirs));
  void* send = nullptr;
  ASSERT_EQ(rank.api.connect(rank.context, 0, theirs.data(), &send),
            Result::kSuccess);
  ASSERT_EQ(send, nullptr);
  process.Kill();
  Result result = Result::kSuccess;
  EXPECT_TRUE(Until([&] {
    result = rank.api.connect(rank.context, 0, theirs.data(), &send);
    return result != Result::kSuccess;
  }));
  EXPECT_EQ(result, Result::kRemoteError);
  EXPECT_EQ(send, nullptr);
  EXPECT_THAT(LogBook::Warnings(), ElementsAre(HasSubstr("connect")));
  // The listener never gave it out, and goes on for others.
  for (int i = 0; i < 100; ++i) {
    void* receive = nullptr;
    EXPECT_EQ(rank.api.accept(listen, &receive), Result::kSuccess);
    EXPECT_EQ(receive, nullptr);
  }
  EXPECT_EQ(rank.api.close_listen(listen), Result::kSuccess);
  Link link = Connect(rank, rank);
  Exchange(link, 1000);
  link.Close();
}

// A peer that leaves says so: nobody has to wait for a timeout.
class LeavingTest : public PeerTest,
                    public ::testing::WithParamInterface<char> {};

TEST_P(LeavingTest, IsToldAtOnce) {
  Process process("Helper.DISABLED_Hold");
  Rank rank(Variables{{"HAWSER_PEER_TIMEOUT_MS", "60000"}});
  ASSERT_TRUE(Tell(process.socket(), kConnect));
  Pair pair = ConnectBothWays(rank, process.socket());
  std::vector<uint8_t> memory(1000);
  Pending receive = Receive(pair.in, memory.data(), memory.size());
  Pending send = Send(pair.out, memory.data(), memory.size());
  ASSERT_TRUE(Tell(process.socket(), GetParam()));
  EXPECT_FALSE(receive.Finish(20'000));
  EXPECT_EQ(receive.result, Result::kRemoteError);
  // With kExit it had posted one receive.
  if (!send.Finish(20'000)) {
    EXPECT_EQ(send.result, Result::kRemoteError);
  }
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_THAT(LogBook::Warnings(), testing::Each(HasSubstr("peer ")));
  EXPECT_GE(LogBook::Warnings().size(), 1u);
  EXPECT_LE(LogBook::Warnings().size(), 2u);  // One for each comm.
  pair.Close(rank);
}
INSTANTIATE_TEST_SUITE_P(Ways, LeavingTest,
                         ::testing::Values(kFinalize, kReturn, kExit),
                         [](const auto& way) {
                           return way.param == kFinalize ? "ClosesAndFinalizes"
                                  : way.param == kReturn ? "FinalizesFirst"
                                                         : "Exits";
                         });

}  // namespace
}  // namespace hawser
