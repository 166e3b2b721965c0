// Closing in the middle: what an aborted communicator does.
#include <sys/mman.h>

#include <random>
#include <thread>

#include "tests/nccl/rank.h"

namespace hawser {
namespace {

using ::testing::HasSubstr;

class CloseTest : public ::testing::Test {
 protected:
  void SetUp() override { LogBook::Clear(); }
};

// Memory that nobody can touch any more once it is gone: the process would
// die of it.
class Mapping {
 public:
  explicit Mapping(size_t bytes) : bytes_(bytes) {
    data_ = static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  ~Mapping() { munmap(data_, bytes_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  uint8_t* data() { return data_; }

 private:
  size_t bytes_;
  uint8_t* data_;
};

TEST_F(CloseTest, InFlightOnFourThreads) {
  Rank a, b;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int iteration = 0; iteration < 10; ++iteration) {
        Link link = Connect(a, b);
        constexpr size_t kBytes = 200'000;
        Mapping in(16 * kBytes), out(16 * kBytes);
        void* mhandle = nullptr;
        a.api.register_memory(link.send, out.data(), 16 * kBytes,
                              nccl::kPtrHost, &mhandle);
        std::vector<Pending> receives, sends;
        const size_t count = 8 + random() % 9;
        for (size_t i = 0; i < count; ++i) {
          receives.push_back(Receive(link, in.data() + i * kBytes, kBytes));
        }
        for (size_t i = 0; i < 10; ++i) {
          sends.push_back(Send(link, out.data() + i * kBytes, kBytes));
        }
        const size_t finished = random() % 8;
        for (size_t i = 0; i < finished; ++i) {
          EXPECT_TRUE(receives[i].Finish());
        }
        // First deregistered, then closed, as NCCL's abort does.
        EXPECT_EQ(a.api.unregister_memory(link.send, mhandle),
                  Result::kSuccess);
        if (random() % 2 == 0) {
          EXPECT_EQ(b.api.close_receive(link.receive), Result::kSuccess);
          EXPECT_EQ(a.api.close_send(link.send), Result::kSuccess);
        } else {
          EXPECT_EQ(a.api.close_send(link.send), Result::kSuccess);
          EXPECT_EQ(b.api.close_receive(link.receive), Result::kSuccess);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The peers are none the worse for it.
  Link link = Connect(a, b);
  Exchange(link, 1'000'000);
  link.Close();
}

// The memory goes, and comes back as somebody else's, while the far side still
// believes in the flow.
TEST_F(CloseTest, ReceiveBufferBelongsToOthersAfterwards) {
  Rank a, b;
  constexpr size_t kBytes = 4'000'000;
  std::vector<uint8_t> in(kBytes), canary(kBytes, 0xca);
  const std::vector<uint8_t> out = Pattern(kBytes, 1);
  for (int round = 0; round < 10; ++round) {
    Link link = Connect(a, b);
    Link other = Connect(a, b);
    Pending receive = Receive(link, in.data(), in.size());
    Pending send = Send(link, out.data(), out.size());
    for (int i = 0; i < round; ++i) receive.Test();
    EXPECT_EQ(b.api.close_receive(link.receive), Result::kSuccess);
    in = canary;
    // Time for all that was on its way.
    Exchange(other, 500'000);
    // It may have been through before.
    if (!send.Finish()) {
      EXPECT_EQ(send.result, Result::kRemoteError);
    }
    ASSERT_EQ(in, canary);
    EXPECT_EQ(a.api.close_send(link.send), Result::kSuccess);
    other.Close();
  }
}

TEST_F(CloseTest, FarSideLearnsOfIt) {
  Rank a, b;
  std::vector<uint8_t> memory(1000);
  {  // The receiver goes.
    Link link = Connect(a, b);
    std::vector<Pending> sends;
    for (int i = 0; i < 8; ++i) {
      sends.push_back(Send(link, memory.data(), memory.size()));
    }
    EXPECT_EQ(b.api.close_receive(link.receive), Result::kSuccess);
    for (Pending& send : sends) {
      EXPECT_FALSE(send.Finish());
      EXPECT_EQ(send.result, Result::kRemoteError);
    }
    EXPECT_EQ(a.api.close_send(link.send), Result::kSuccess);
  }
  EXPECT_THAT(LogBook::Warnings(),
              testing::ElementsAre(HasSubstr("closed its half")));
  LogBook::Clear();
  {  // The sender goes; what it sent arrives.
    Link link = Connect(a, b);
    std::vector<uint8_t> in(1000);
    const std::vector<uint8_t> out = Pattern(1000, 1);
    Pending receive = Receive(link, in.data(), in.size());
    Pending more = Receive(link, memory.data(), memory.size());
    Pending send = Send(link, out.data(), out.size());
    EXPECT_TRUE(send.Finish());
    EXPECT_EQ(a.api.close_send(link.send), Result::kSuccess);
    EXPECT_TRUE(receive.Finish());
    EXPECT_EQ(in, out);
    EXPECT_FALSE(more.Finish());
    EXPECT_EQ(more.result, Result::kRemoteError);
    EXPECT_EQ(b.api.close_receive(link.receive), Result::kSuccess);
  }
  EXPECT_EQ(LogBook::Warnings().size(), 1u);
}

// The last message is no exception: the receiver closes as soon as it has it,
// and ends; the sender's request must still end well.
TEST_F(CloseTest, ReceiverLeavesRightAfterItsLastMessage) {
  Rank a;
  for (int round = 0; round < 50; ++round) {
    Rank b;
    Link link = Connect(a, b);
    const std::vector<uint8_t> out = Pattern(100'000, round);
    std::vector<uint8_t> in(out.size());
    Pending receive = Receive(link, in.data(), in.size());
    Pending send = Send(link, out.data(), out.size());
    ASSERT_TRUE(receive.Finish());
    EXPECT_EQ(b.api.close_receive(link.receive), Result::kSuccess);
    b.End();
    b.library.Unload();
    ASSERT_TRUE(send.Finish()) << "round " << round;
    EXPECT_EQ(in, out);
    EXPECT_EQ(a.api.close_send(link.send), Result::kSuccess);
  }
  EXPECT_THAT(LogBook::Warnings(), testing::IsEmpty());
}

}  // namespace
}  // namespace hawser
