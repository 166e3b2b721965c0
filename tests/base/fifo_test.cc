#include "transport/base/fifo.h"

#include <gtest/gtest.h>

#include <deque>
#include <utility>

#include "transport/base/random.h"

namespace hawser {
namespace {

TEST(Fifo, Push__comes_out_in_order) {
  Fifo<int> fifo;
  EXPECT_TRUE(fifo.empty());
  for (int i = 0; i < 9; ++i) fifo.Push(i);
  EXPECT_EQ(fifo.size(), 9u);
  EXPECT_EQ(fifo.front(), 0);
  EXPECT_EQ(fifo.back(), 8);
  EXPECT_EQ(fifo[4], 4);
  Fifo<int> moved = std::move(fifo);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(moved.Pop(), i);
  EXPECT_TRUE(moved.empty());
}

TEST(Fifo, Take__from_wherever_like_a_deque) {
  Fifo<uint64_t> fifo;
  std::deque<uint64_t> model;
  Random random(1);
  for (uint64_t i = 0; i < 10'000; ++i) {
    const uint64_t what = random.Below(8);
    if (model.empty() || what < 4) {
      fifo.Push(i);
      model.push_back(i);
    } else if (what < 6) {
      ASSERT_EQ(fifo.Pop(), model.front());
      model.pop_front();
    } else {
      const uint64_t place = random.Below(model.size());
      const auto at = model.begin() + static_cast<std::ptrdiff_t>(place);
      ASSERT_EQ(fifo.Take(place), *at);
      model.erase(at);
    }
    ASSERT_EQ(fifo.size(), model.size());
    for (uint64_t place = 0; place < model.size(); place += 5) {
      ASSERT_EQ(fifo[place], model[place]);
    }
  }
}

TEST(FifoDeathTest, Pop__not_of_nothing) {
  Fifo<int> fifo;
  EXPECT_DEATH(fifo.Pop(), "");
}

}  // namespace
}  // namespace hawser
