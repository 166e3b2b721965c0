#include "transport/engine/patience.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr Duration kMost = Duration::Micros(100);
constexpr Time kStart = Time::FromNanos(1'000'000'000);

TEST(Patience, span__nothing_until_data_follows) {
  Patience patience(kMost);
  EXPECT_EQ(patience.span(), Duration());
  patience.OnData(kStart);
  EXPECT_EQ(patience.span(), Duration()) << "nothing had left alone";
}

TEST(Patience, OnData__soon_after_what_left_alone_begins_it) {
  Patience patience(kMost);
  patience.OnAlone(kStart);
  patience.OnData(kStart + kMost);
  EXPECT_EQ(patience.span(), kMost);
  // And it goes on, however long the next takes, until a wait is in vain.
  patience.OnData(kStart + Duration::Seconds(1));
  EXPECT_EQ(patience.span(), kMost);
}

TEST(Patience, OnData__later_is_no_answer) {
  Patience patience(kMost);
  patience.OnAlone(kStart);
  patience.OnData(kStart + kMost + Duration::Nanos(1));
  EXPECT_EQ(patience.span(), Duration());
}

TEST(Patience, OnAlone__ends_it) {
  Patience patience(kMost);
  patience.OnAlone(kStart);
  patience.OnData(kStart);
  patience.OnAlone(kStart + kMost);
  EXPECT_EQ(patience.span(), Duration());
}

}  // namespace
}  // namespace hawser
