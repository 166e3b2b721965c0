#include "transport/sim/fabric/event_queue.h"

#include <vector>

#include "gtest/gtest.h"
#include "transport/base/random.h"

namespace hawser::sim {
namespace {

TEST(EventQueue, Pop__in_order_of_time_then_of_foresight) {
  EventQueue queue;
  const auto five = queue.LineFor(5), ten = queue.LineFor(10);
  EXPECT_EQ(queue.LineFor(5), five);
  queue.Push(ten, 0, 1);
  queue.Push(five, 0, 2);
  queue.PushAt(5, 0, 3);
  queue.PushAt(10, 0, 4);
  std::vector<uint32_t> order;
  while (!queue.empty()) order.push_back(queue.Pop().what);
  EXPECT_EQ(order, (std::vector<uint32_t>{2, 3, 1, 4}));
  EXPECT_EQ(queue.now(), 10);
  EXPECT_EQ(queue.popped(), 4u);
}

TEST(EventQueue, Pop__the_same_order_whether_delays_have_lines_or_not) {
  // Fifty delays are more than there are lines.
  EventQueue with, without;
  Random random(3);
  Picos last = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (i < 1000 || random.Below(2) == 0) {
      const auto delay = static_cast<Picos>(100 * random.Below(50) + 1);
      const auto what = static_cast<uint32_t>(i);
      const auto line = with.LineFor(delay);
      if (line == EventQueue::kNoLine) {
        with.PushAt(with.now() + delay, 0, what);
      } else {
        with.Push(line, 0, what);
      }
      without.PushAt(without.now() + delay, 0, what);
    }
    if (i < 1000 || with.empty()) continue;
    const Event a = with.Pop(), b = without.Pop();
    ASSERT_EQ(a.what, b.what);
    ASSERT_EQ(a.at, b.at);
    ASSERT_GE(a.at, last);
    last = a.at;
  }
}

}  // namespace
}  // namespace hawser::sim
