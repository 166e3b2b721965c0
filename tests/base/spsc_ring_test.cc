#include "transport/base/spsc_ring.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace hawser {
namespace {

TEST(SpscRing, Push__until_full) {
  SpscRing<int, 4> ring{};
  int value = -1;
  EXPECT_FALSE(ring.Pop(&value));
  EXPECT_EQ(value, -1);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.Push(i));
  EXPECT_FALSE(ring.Push(4));
  ASSERT_TRUE(ring.Pop(&value));
  EXPECT_EQ(value, 0);
  EXPECT_TRUE(ring.Push(4));
  EXPECT_FALSE(ring.Push(5));
  for (int i = 1; i <= 4; ++i) {
    ASSERT_TRUE(ring.Pop(&value));
    EXPECT_EQ(value, i);
  }
  EXPECT_FALSE(ring.Pop(&value));
}

TEST(SpscRing, Push__of_one) {
  SpscRing<int, 1> ring{};
  int value = 0;
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(ring.Push(i));
    EXPECT_FALSE(ring.Push(i));
    EXPECT_TRUE(ring.Pop(&value));
    EXPECT_EQ(value, i);
    EXPECT_FALSE(ring.Pop(&value));
  }
}

// As large as one slot may be: a torn one would not agree with itself.
struct Line {
  uint64_t words[8];
};

template <uint32_t kCapacity>
void ExpectAllInOrder(uint64_t count) {
  const auto ring = std::make_unique<SpscRing<Line, kCapacity>>();
  std::thread producer([&] {
    for (uint64_t i = 0; i < count; ++i) {
      Line line;
      for (uint64_t& word : line.words) word = i;
      while (!ring->Push(line)) std::this_thread::yield();
    }
  });
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Line line;
    while (!ring->Pop(&line)) std::this_thread::yield();
    for (const uint64_t word : line.words) wrong += word != i;
  }
  producer.join();
  EXPECT_EQ(wrong, 0u);
  Line line;
  EXPECT_FALSE(ring->Pop(&line));
}

TEST(SpscRing, Push__two_threads) {
  ExpectAllInOrder<1>(10'000);
  ExpectAllInOrder<2>(20'000);
  ExpectAllInOrder<1024>(1'000'000);
}

}  // namespace
}  // namespace hawser
