#include "transport/datapath/dpdk/steering.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <array>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

namespace hawser {
namespace {

// Steering opens no frame, so an address will do for one.
using FramePointer = rte_mbuf*;
FramePointer Frame(uintptr_t number) {
  return reinterpret_cast<FramePointer>(number << 6);
}
uintptr_t NumberOf(rte_mbuf* frame) {
  return reinterpret_cast<uintptr_t>(frame) >> 6;
}

bool Readable(int fd, int limit_ms = 0) {
  pollfd one = {fd, POLLIN, 0};
  return poll(&one, 1, limit_ms) > 0;
}

TEST(QueueOf, IsWhoListens) {
  Steering steering(3);
  EXPECT_EQ(steering.QueueOf(0), std::nullopt);
  EXPECT_EQ(steering.QueueOf(50000), std::nullopt);
  steering.OnListening(0, 50000);
  steering.OnListening(2, 50002);
  EXPECT_EQ(steering.QueueOf(50000), 0);
  EXPECT_EQ(steering.QueueOf(50001), std::nullopt);
  EXPECT_EQ(steering.QueueOf(50002), 2);
  EXPECT_TRUE(steering.listens(0));
  EXPECT_FALSE(steering.listens(1));
  steering.OnListening(2, 0);
  EXPECT_EQ(steering.QueueOf(50002), std::nullopt);
  EXPECT_EQ(steering.QueueOf(0), std::nullopt);
}

TEST(Hand, KeepsTheOrderOfEach) {
  Steering steering(3);
  for (uintptr_t i = 1; i <= 4; ++i) {
    EXPECT_TRUE(steering.Hand(0, 1, Frame(i)));
    EXPECT_TRUE(steering.Hand(2, 1, Frame(100 + i)));
  }
  EXPECT_EQ(steering.Take(0), nullptr);
  EXPECT_EQ(steering.Take(2), nullptr);
  std::vector<uintptr_t> from0, from2;
  // Neither of the two waits for the other's last.
  for (int i = 0; i < 8; ++i) {
    const uintptr_t number = NumberOf(steering.Take(1));
    (number < 100 ? from0 : from2).push_back(number);
    EXPECT_LE(from0.size(), from2.size() + 1);
    EXPECT_LE(from2.size(), from0.size() + 1);
  }
  EXPECT_EQ(from0, (std::vector<uintptr_t>{1, 2, 3, 4}));
  EXPECT_EQ(from2, (std::vector<uintptr_t>{101, 102, 103, 104}));
  EXPECT_EQ(steering.Take(1), nullptr);
}

TEST(Hand, RefusesWhatFindsNoRoom) {
  Steering steering(2);
  for (uintptr_t i = 1; i <= Steering::kWaiting; ++i) {
    ASSERT_TRUE(steering.Hand(0, 1, Frame(i)));
  }
  EXPECT_FALSE(steering.Hand(0, 1, Frame(9999)));
  EXPECT_EQ(NumberOf(steering.Take(1)), 1u);
  EXPECT_TRUE(steering.Hand(0, 1, Frame(9999)));
}

TEST(OnAwaiting, IsCalledOnceForWhatComesAfter) {
  Steering steering(2);
  steering.Hand(0, 1, Frame(1));
  EXPECT_FALSE(Readable(steering.descriptor(1)));  // It did not ask.
  steering.OnAwaiting(1);
  EXPECT_FALSE(Readable(steering.descriptor(1)));
  EXPECT_NE(steering.Take(1), nullptr);  // It must look for itself.
  steering.Hand(0, 1, Frame(2));
  EXPECT_TRUE(Readable(steering.descriptor(1)));
  EXPECT_FALSE(Readable(steering.descriptor(0)));
  steering.OnAwake(1);
  EXPECT_FALSE(Readable(steering.descriptor(1)));
  steering.Hand(0, 1, Frame(3));
  EXPECT_FALSE(Readable(steering.descriptor(1)));
}

TEST(Steering, OneQueueHasNobodyToHandTo) {
  Steering steering(1);
  EXPECT_EQ(steering.descriptor(0), -1);
  EXPECT_EQ(steering.Take(0), nullptr);
  steering.OnAwaiting(0);
  steering.OnAwake(0);
}

TEST(Steering, SaysSoWhereNobodyCanBeCalled) {
  EXPECT_TRUE(Steering(2).can_call());
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool two = Steering(2).can_call();
  const bool one = Steering(1).can_call();  // Has nobody to call.
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(two);
  EXPECT_TRUE(one);
}

// Two engines hand frames to a third, which sleeps whenever it finds nothing:
// it must not sleep for ever, and misses none.
TEST(Steering, NobodySleepsThroughAFrame) {
  constexpr uintptr_t kFrames = 20000;
  Steering steering(3);
  const auto hand = [&](uint16_t from) {
    for (uintptr_t i = 1; i <= kFrames; ++i) {
      while (!steering.Hand(from, 2, Frame(2 * i + from))) {
        std::this_thread::yield();
      }
    }
  };
  std::thread zero(hand, 0), one(hand, 1);
  std::array<uintptr_t, 2> last = {};
  uintptr_t taken = 0;
  while (taken < 2 * kFrames) {
    rte_mbuf* frame = steering.Take(2);
    if (frame == nullptr) {
      steering.OnAwaiting(2);
      frame = steering.Take(2);
      if (frame == nullptr && !Readable(steering.descriptor(2), 10000)) break;
      steering.OnAwake(2);
      if (frame == nullptr) continue;
    }
    const uintptr_t number = NumberOf(frame);
    EXPECT_EQ(number / 2, last[number % 2] + 1);
    last[number % 2] = number / 2;
    ++taken;
  }
  EXPECT_EQ(taken, 2 * kFrames);
  zero.join();
  one.join();
}

}  // namespace
}  // namespace hawser
