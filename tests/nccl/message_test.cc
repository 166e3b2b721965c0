// Messages, as NCCL's progress thread drives them.
#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>
#include <thread>

#include "tests/nccl/rank.h"
#include "tests/peek.h"
#include "tests/sanitizers.h"

namespace hawser {
namespace {

using ::testing::HasSubstr;

class MessageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    LogBook::Clear();
    link_ = Connect(a_, b_);
  }
  void TearDown() override { link_.Close(); }
  Rank a_, b_;
  Link link_;
};

TEST_F(MessageTest, ThirtyTwoOutstandingThenNoneThenMore) {
  constexpr int kMost = nccl::kMaxRequests;
  std::vector<std::vector<uint8_t>> in(2 * kMost);
  std::vector<Pending> receives, sends;
  const std::vector<uint8_t> out = Pattern(4096, 3);
  const auto irecv = [&](int i) {
    in[i].assign(out.size(), 0);
    Pending pending = {&b_.api};
    EXPECT_EQ(b_.api.irecv(link_.receive, in[i].data(), in[i].size(), 0,
                           nullptr, &pending.request),
              Result::kSuccess);
    return pending;
  };
  for (int i = 0; i < kMost; ++i) {
    receives.push_back(irecv(i));
    ASSERT_NE(receives.back().request, nullptr);
  }
  EXPECT_EQ(irecv(kMost).request, nullptr);
  const auto isend = [&] {
    Pending pending = {&a_.api};
    EXPECT_EQ(a_.api.isend(link_.send, const_cast<uint8_t*>(out.data()),
                           out.size(), 0, nullptr, &pending.request),
              Result::kSuccess);
    return pending;
  };
  for (int i = 0; i < kMost; ++i) {
    sends.push_back(isend());
    ASSERT_NE(sends.back().request, nullptr);
  }
  EXPECT_EQ(isend().request, nullptr);
  // One that is tested makes room for one.
  for (int i = 0; i < kMost; ++i) {
    ASSERT_TRUE(receives[i].Finish());
    receives.push_back(irecv(kMost + i));
    ASSERT_NE(receives.back().request, nullptr);
    ASSERT_TRUE(sends[i].Finish());
    sends.push_back(isend());
    ASSERT_NE(sends.back().request, nullptr);
  }
  for (Pending& one : receives) ASSERT_TRUE(one.Finish());
  for (Pending& one : sends) ASSERT_TRUE(one.Finish());
  for (const auto& bytes : in) EXPECT_EQ(bytes, out);
}

TEST_F(MessageTest, TestInAnyOrder) {
  std::mt19937 random(42);
  for (int round = 0; round < 20; ++round) {
    constexpr int kCount = nccl::kMaxRequests;
    std::vector<std::vector<uint8_t>> in, out;
    std::vector<Pending> pending;
    for (int i = 0; i < kCount; ++i) {
      out.push_back(Pattern(random() % 20'000, round * kCount + i));
      in.emplace_back(20'000);
    }
    for (int i = 0; i < kCount; ++i) {
      pending.push_back(Receive(link_, in[i].data(), in[i].size()));
    }
    for (int i = 0; i < kCount; ++i) {
      pending.push_back(Send(link_, out[i].data(), out[i].size()));
    }
    std::vector<int> order(pending.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (const int i : order) ASSERT_TRUE(pending[i].Finish());
    for (int i = 0; i < kCount; ++i) {
      ASSERT_EQ(pending[i].size, static_cast<int>(out[i].size()));
      in[i].resize(out[i].size());
      ASSERT_EQ(in[i], out[i]);
    }
  }
}

TEST_F(MessageTest, OnlyTheOldestIsTested) {
  std::vector<uint8_t> in(8 * 100'000);
  const std::vector<uint8_t> out = Pattern(in.size(), 9);
  for (int round = 0; round < 10; ++round) {
    std::fill(in.begin(), in.end(), 0);
    std::vector<Pending> receives, sends;
    for (int i = 0; i < 8; ++i) {
      sends.push_back(Send(link_, &out[i * 100'000], 100'000));
      receives.push_back(Receive(link_, &in[i * 100'000], 100'000));
    }
    for (int i = 0; i < 8; ++i) {
      ASSERT_TRUE(sends[i].Finish());
      ASSERT_TRUE(receives[i].Finish());
    }
    ASSERT_EQ(in, out);
  }
}

// Empty slices are messages like others: in order, and with their size.
TEST_F(MessageTest, EmptyOnesAmongOthers) {
  const std::vector<size_t> sizes = {0, 100, 0, 0, 65536, 1, 0, 300'000, 0};
  std::vector<std::vector<uint8_t>> in, out;
  std::vector<Pending> receives, sends;
  for (size_t i = 0; i < sizes.size(); ++i) {
    out.push_back(Pattern(sizes[i], i));
    in.emplace_back(1 << 20, 0xcc);
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    receives.push_back(Receive(link_, in[i].data(), in[i].size()));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    sends.push_back(
        Send(link_, sizes[i] == 0 ? nullptr : out[i].data(), sizes[i]));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    ASSERT_TRUE(receives[i].Finish());
    ASSERT_TRUE(sends[i].Finish());
    EXPECT_EQ(receives[i].size, static_cast<int>(sizes[i]));
    EXPECT_TRUE(std::equal(out[i].begin(), out[i].end(), in[i].begin()));
    // The capacity beyond the message is not touched.
    EXPECT_TRUE(std::all_of(in[i].begin() + sizes[i], in[i].end(),
                            [](uint8_t byte) { return byte == 0xcc; }));
  }
}

TEST_F(MessageTest, EmptyOneIntoAnEmptyBuffer) {
  Pending receive = Receive(link_, nullptr, 0);
  Pending send = Send(link_, nullptr, 0);
  EXPECT_TRUE(receive.Finish());
  EXPECT_TRUE(send.Finish());
  EXPECT_EQ(receive.size, 0);
}

TEST_F(MessageTest, SendComesFirst) {
  const std::vector<uint8_t> out = Pattern(200'000, 5);
  std::vector<uint8_t> in(out.size());
  Pending send = Send(link_, out.data(), out.size());
  // Long enough for whatever it could do wrong on its own.
  for (int i = 0; i < 2000; ++i) ASSERT_FALSE(send.Test());
  Pending receive = Receive(link_, in.data(), in.size());
  EXPECT_TRUE(receive.Finish());
  EXPECT_TRUE(send.Finish());
  EXPECT_EQ(in, out);
}

TEST_F(MessageTest, ReceiveComesFirst) {
  const std::vector<uint8_t> out = Pattern(200'000, 6);
  std::vector<uint8_t> in(out.size());
  Pending receive = Receive(link_, in.data(), in.size());
  for (int i = 0; i < 2000; ++i) ASSERT_FALSE(receive.Test());
  Pending send = Send(link_, out.data(), out.size());
  EXPECT_TRUE(send.Finish());
  EXPECT_TRUE(receive.Finish());
  EXPECT_EQ(in, out);
}

// LL and LL128: NCCL sees the arrival by itself and says so in *request.
TEST_F(MessageTest, OptionalReceiveCompletion) {
  for (int i = 0; i < 100; ++i) {
    const std::vector<uint8_t> out = Pattern(5000, i);
    std::vector<uint8_t> in(5000);
    Pending receive = {&b_.api};
    ASSERT_TRUE(Until([&] {
      receive.request = reinterpret_cast<void*>(nccl::kOptionalRecvCompletion);
      EXPECT_EQ(b_.api.irecv(link_.receive, in.data(), in.size(), 0, nullptr,
                             &receive.request),
                Result::kSuccess);
      // A request or none, and never what stood there.
      EXPECT_NE(receive.request,
                reinterpret_cast<void*>(nccl::kOptionalRecvCompletion));
      return receive.request != nullptr;
    }));
    Pending send = Send(link_, out.data(), out.size());
    ASSERT_TRUE(send.Finish());
    ASSERT_TRUE(receive.Finish());
    ASSERT_EQ(in, out);
  }
}

TEST_F(MessageTest, LargerThanTheBuffer) {
  const std::vector<uint8_t> out = Pattern(10'000, 1);
  std::vector<uint8_t> in(out.size(), 0xcc);
  Pending receive = Receive(link_, in.data(), out.size() - 1);
  Pending send = Send(link_, out.data(), out.size());
  EXPECT_FALSE(receive.Finish());
  EXPECT_FALSE(send.Finish());
  EXPECT_EQ(receive.result, Result::kInvalidUsage);
  EXPECT_EQ(send.result, Result::kInvalidUsage);
  EXPECT_EQ(in, std::vector<uint8_t>(out.size(), 0xcc));
  EXPECT_THAT(LogBook::Warnings(),
              testing::UnorderedElementsAre(
                  testing::AllOf(HasSubstr("isend"), HasSubstr("10000 bytes"),
                                 HasSubstr("larger than the buffer")),
                  testing::AllOf(HasSubstr("irecv"), HasSubstr("9999 bytes"),
                                 HasSubstr("larger than the buffer"))));
  // Who asks again is told the same, and not that it goes on.
  int done = 1, size = 0;
  EXPECT_EQ(a_.api.test(send.request, &done, &size), Result::kInvalidUsage);
  EXPECT_EQ(done, 0);
  // Those before and after it are no worse for it.
  Exchange(link_, 10'000);
}

TEST_F(MessageTest, LargerThanAnyMessage) {
  char byte = 0;
  for (const size_t bytes : {size_t{1} << 32, size_t{1} << 40, SIZE_MAX}) {
    void* request = &byte;
    EXPECT_EQ(a_.api.isend(link_.send, &byte, bytes, 0, nullptr, &request),
              Result::kInvalidArgument);
    EXPECT_EQ(request, nullptr);
  }
  EXPECT_THAT(LogBook::Warnings(), testing::Each(HasSubstr("0..")));
  // A buffer may be that large.
  std::vector<uint8_t> in(100);
  Pending receive = Receive(link_, in.data(), size_t{5} << 30);
  const std::vector<uint8_t> out = Pattern(100, 1);
  Pending send = Send(link_, out.data(), out.size());
  EXPECT_TRUE(receive.Finish());
  EXPECT_TRUE(send.Finish());
  EXPECT_EQ(in, out);
}

TEST_F(MessageTest, TestedOnceTooOften) {
  std::vector<uint8_t> in(10), out(10);
  Pending receive = Receive(link_, in.data(), 10);
  Pending send = Send(link_, out.data(), 10);
  ASSERT_TRUE(receive.Finish());
  ASSERT_TRUE(send.Finish());
  int done = 1, size = 0;
  EXPECT_EQ(b_.api.test(receive.request, &done, &size),
            Result::kInvalidArgument);
  EXPECT_EQ(done, 0);
  EXPECT_EQ(b_.api.test(nullptr, &done, &size), Result::kInvalidArgument);
}

TEST_F(MessageTest, SizesMayBeNull) {
  std::vector<uint8_t> in(10), out(10);
  Pending receive = Receive(link_, in.data(), 10);
  Pending send = Send(link_, out.data(), 10);
  for (Pending* one : {&receive, &send}) {
    int done = 0;
    EXPECT_TRUE(Until([&] {
      EXPECT_EQ(one->api->test(one->request, &done, nullptr), Result::kSuccess);
      return done != 0;
    }));
  }
}

TEST_F(MessageTest, OneBufferAtATime) {
  char memory[2];
  void* buffers[] = {&memory[0], &memory[1]};
  size_t sizes[] = {1, 1};
  int tags[] = {0, 1};
  void* mhandles[] = {nullptr, nullptr};
  void* profiles[] = {nullptr, nullptr};
  void* request = memory;
  const auto* net = b_.library.Table<nccl::v12::Net>(12);
  EXPECT_EQ(net->irecv(link_.receive, 2, buffers, sizes, tags, mhandles,
                       profiles, &request),
            Result::kInvalidArgument);
  EXPECT_EQ(request, nullptr);
}

class LargeMessageTest : public MessageTest,
                         public ::testing::WithParamInterface<int> {};

TEST_P(LargeMessageTest, BytesAreEqual) {
  Exchange(link_, size_t{1} << GetParam(), GetParam());
  Exchange(link_, (size_t{1} << GetParam()) - 77, GetParam());
}
INSTANTIATE_TEST_SUITE_P(Sizes, LargeMessageTest,
                         ::testing::Values(20, 22, 24, 26),
                         [](const auto& power) {
                           return std::to_string((1 << power.param) >> 20) +
                                  "MiB";
                         });

TEST_F(MessageTest, BothDirectionsAtOnce) {
  Link back = Connect(b_, a_);
  const std::vector<uint8_t> out = Pattern(3'000'000, 1);
  std::vector<uint8_t> in_a(out.size()), in_b(out.size());
  for (int round = 0; round < 5; ++round) {
    Pending all[] = {Receive(link_, in_b.data(), in_b.size()),
                     Receive(back, in_a.data(), in_a.size()),
                     Send(link_, out.data(), out.size()),
                     Send(back, out.data(), out.size())};
    for (Pending& one : all) ASSERT_TRUE(one.Finish());
    ASSERT_EQ(in_a, out);
    ASSERT_EQ(in_b, out);
    in_a.assign(in_a.size(), 0);
    in_b.assign(in_b.size(), 0);
  }
  back.Close();
}

// When a receive is done its buffer is the application's. Whatever copies are
// still under way, they do not land in it.
TEST_F(MessageTest, BufferIsLeftAloneWhenDone) {
  constexpr size_t kBytes = 200'000;
  constexpr int kBuffers = 4;
  std::vector<std::vector<uint8_t>> in(kBuffers);
  std::vector<uint8_t> mark(kBytes);
  for (int round = 0; round < 200; ++round) {
    std::vector<uint8_t>& buffer = in[round % kBuffers];
    ASSERT_TRUE(buffer.empty() || buffer == mark) << "round " << round;
    buffer.assign(kBytes, 0);
    const std::vector<uint8_t> out = Pattern(kBytes, round);
    Pending receive = Receive(link_, buffer.data(), kBytes);
    Pending send = Send(link_, out.data(), kBytes);
    ASSERT_TRUE(receive.Finish());
    ASSERT_EQ(buffer, out);
    buffer = mark;
    ASSERT_TRUE(send.Finish());
  }
}

// LL128: the GPU looks at each line of 128 bytes while it arrives, and takes
// its first 120 bytes as soon as the last 8 are as expected.
TEST_F(MessageTest, FlagOfALineIsSeenLast) {
  if (HAWSER_TSAN) GTEST_SKIP() << "it takes all order out of the test";
  constexpr size_t kLines = 4096;
  constexpr size_t kWords = 16;
  struct alignas(128) Line {
    uint64_t words[kWords];
  };
  static_assert(sizeof(Line) == 128);
  std::vector<Line> out(kLines), in(kLines);
  std::atomic<uint64_t> flag{0};
  std::atomic<uint64_t> torn{0}, seen_early{0};
  std::atomic<bool> over{false}, rest{true}, resting{true};
  std::thread reader([&] {
    while (!over.load()) {
      if (rest.load()) {
        resting.store(true);
        sched_yield();
        continue;
      }
      resting.store(false);
      const uint64_t expected = flag.load();
      bool seen = false;  // Some line before this one.
      for (size_t i = 0; i < kLines; ++i) {
        const uint64_t* words = in[i].words;
        if (Peek(&words[15]) != expected) {
          // So the message was not whole when that line was seen.
          if (seen) seen_early.fetch_add(1, std::memory_order_relaxed);
          continue;
        }
        seen = true;
        for (size_t w = 0; w + 1 < kWords; ++w) {
          if (Peek(&words[w]) != (expected ^ (i * kWords + w))) {
            torn.fetch_add(1);
          }
        }
      }
    }
  });
  // Until a look into the middle was had, however the threads were run.
  const auto begin = Clock::now();
  for (uint64_t round = 1;
       round <= 60 || (seen_early.load() == 0 && MillisSince(begin) < 60'000);
       ++round) {
    const uint64_t mark = round * 0x0101'0101'0101'0101u;
    for (size_t i = 0; i < kLines; ++i) {
      for (size_t w = 0; w + 1 < kWords; ++w) {
        out[i].words[w] = mark ^ (i * kWords + w);
      }
      out[i].words[15] = mark;
    }
    flag.store(mark);
    rest.store(false);
    Pending receive = Receive(link_, in.data(), kLines * sizeof(Line));
    Pending send = Send(link_, out.data(), kLines * sizeof(Line));
    ASSERT_TRUE(receive.Finish());
    ASSERT_TRUE(send.Finish());
    resting.store(false);
    rest.store(true);
    ASSERT_TRUE(Until([&] { return resting.load(); }));
  }
  over.store(true);
  reader.join();
  EXPECT_EQ(torn.load(), 0u);
  EXPECT_GT(seen_early.load(), 0u);
}

// NCCL's progress threads: one per communicator, each with comms of its own.
TEST_F(MessageTest, ManyThreads) {
  constexpr int kThreads = 6;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int life = 0; life < 3; ++life) {
        Link there = Connect(a_, b_), back = Connect(b_, a_);
        for (int i = 0; i < 20; ++i) {
          Exchange(there, 1000 * i + t, t);
          Exchange(back, 3000 * i + t, t);
        }
        there.Close();
        back.Close();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(MessageTest, HandedFromThreadToThread) {
  const std::vector<uint8_t> out = Pattern(50'000, 1);
  std::vector<uint8_t> in(out.size());
  for (int round = 0; round < 30; ++round) {
    Pending receive, send;
    std::thread([&] { receive = Receive(link_, in.data(), in.size()); }).join();
    std::thread([&] { send = Send(link_, out.data(), out.size()); }).join();
    std::thread([&] { EXPECT_TRUE(receive.Finish()); }).join();
    std::thread([&] { EXPECT_TRUE(send.Finish()); }).join();
    ASSERT_EQ(in, out);
    in.assign(in.size(), 0);
  }
}

// The sender's thread never asks again once it has started: what comes next is
// up to the engine's own thread.
TEST_F(MessageTest, NobodyAsks) {
  for (int round = 0; round < 50; ++round) {
    const std::vector<uint8_t> out = Pattern(300'000, round);
    std::vector<uint8_t> in(out.size());
    Pending receive = Receive(link_, in.data(), in.size());
    // A few questions, so that the engine believes in an assistant.
    for (int i = 0; i < round; ++i) receive.Test();
    Pending send = Send(link_, out.data(), out.size());
    // The memory itself is looked at, as a GPU does.
    const auto* last = reinterpret_cast<const uint8_t*>(&in.back());
    ASSERT_TRUE(
        Until([&] { return Peek(last) == out.back() || out.back() == 0; }));
    ASSERT_TRUE(send.Finish());
    ASSERT_TRUE(receive.Finish());
    ASSERT_EQ(in, out);
  }
}

}  // namespace
}  // namespace hawser
