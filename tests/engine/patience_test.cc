#include "transport/engine/patience.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr Duration kMost = Duration::Micros(100);
constexpr Time kEpoch = Time::FromNanos(1'000'000'000);

TEST(Patience, span__nothing_until_data_follows) {
  Patience patience(kMost);
  EXPECT_EQ(patience.span(), Duration());
  patience.OnData(kEpoch);
  EXPECT_EQ(patience.span(), Duration()) << "nothing had left alone";
}

TEST(Patience, OnData__soon_after_what_left_alone_begins_it) {
  Patience patience(kMost);
  patience.OnAlone(kEpoch);
  patience.OnData(kEpoch + kMost);
  EXPECT_EQ(patience.span(), kMost);
  // And it goes on, however long the next takes, until a wait is in vain.
  patience.OnData(kEpoch + Duration::Seconds(1));
  EXPECT_EQ(patience.span(), kMost);
}

TEST(Patience, OnData__later_is_no_answer) {
  Patience patience(kMost);
  patience.OnAlone(kEpoch);
  patience.OnData(kEpoch + kMost + Duration::Nanos(1));
  EXPECT_EQ(patience.span(), Duration());
}

TEST(Patience, OnAlone__ends_it) {
  Patience patience(kMost);
  patience.OnAlone(kEpoch);
  patience.OnData(kEpoch);
  patience.OnAlone(kEpoch + kMost);
  EXPECT_EQ(patience.span(), Duration());
}

}  // namespace
}  // namespace hawser
