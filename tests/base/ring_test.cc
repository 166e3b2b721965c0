#include "transport/base/ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "transport/base/random.h"

namespace hawser {
namespace {

TEST(Ring, Push__an_index_for_life) {
  Ring<int> ring(4);
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.capacity(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ring.Push(10 * i), uint64_t(i));
  EXPECT_TRUE(ring.full());
  EXPECT_EQ(ring.Pop(), 0);
  EXPECT_EQ(ring.Push(40), 4u);
  EXPECT_EQ(ring[1], 10);
  EXPECT_EQ(ring[4], 40);
  EXPECT_EQ(ring.front(), 10);
  EXPECT_EQ(ring.back(), 40);
  EXPECT_FALSE(ring.contains(0));
  EXPECT_TRUE(ring.contains(4));
  EXPECT_FALSE(ring.contains(5));
  ring[4] = 41;
  EXPECT_EQ(ring.back(), 41);
}

TEST(Ring, Push__of_one) {
  Ring<int> ring(1);
  for (int i = 0; i < 3; ++i) {
    ring.Push(i);
    EXPECT_TRUE(ring.full());
    EXPECT_EQ(ring.Pop(), i);
    EXPECT_TRUE(ring.empty());
  }
}

TEST(Ring, Push__what_can_only_be_moved) {
  Ring<std::unique_ptr<int>> ring(2);
  ring.Push(std::make_unique<int>(7));
  EXPECT_EQ(*ring.Pop(), 7);
}

TEST(Ring, Push__as_a_deque_would) {
  Random random(1);
  Ring<uint64_t> ring(16);
  std::deque<uint64_t> model;
  uint64_t popped = 0;
  for (int i = 0; i < 100'000; ++i) {
    // Tides, so that it is often full and often empty.
    if (random.Chance(i / 100 % 2 == 0 ? 0.6 : 0.4)) {
      if (!ring.full()) {
        const uint64_t value = random.Next();
        ASSERT_EQ(ring.Push(value), popped + model.size());
        model.push_back(value);
      }
    } else if (!ring.empty()) {
      ASSERT_EQ(ring.Pop(), model.front());
      model.pop_front();
      ++popped;
    }
    ASSERT_EQ(ring.size(), model.size());
    ASSERT_EQ(ring.begin(), popped);
    ASSERT_EQ(ring.end(), popped + model.size());
    ASSERT_EQ(ring.full(), model.size() == 16);
    const Ring<uint64_t>& view = ring;
    for (size_t n = 0; n < model.size(); ++n) {
      ASSERT_EQ(view[popped + n], model[n]);
    }
  }
}

TEST(RingDeathTest, Push__broken_promises) {
  EXPECT_DEATH(Ring<int>(0), "capacity");
  EXPECT_DEATH(Ring<int>(3), "capacity");
  Ring<int> ring(2);
  EXPECT_DEATH(ring.Pop(), "empty");
  EXPECT_DEATH(ring.front(), "contains");
  EXPECT_DEATH(ring[0], "contains");
  ring.Push(1);
  ring.Push(2);
  EXPECT_DEATH(ring.Push(3), "full");
  EXPECT_DEATH(ring[2], "contains");
  EXPECT_DEATH(ring[UINT64_MAX], "contains");
}

}  // namespace
}  // namespace hawser
