#include "transport/congestion/dctcp.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr uint32_t kPacket = 4'000;
constexpr uint32_t kMost = 40 * kPacket;
constexpr Duration kRtt = Duration::Micros(12);

Dctcp Make(double first_alpha = 1) {
  Dctcp::Parameters parameters;
  parameters.first_alpha = first_alpha;
  parameters.packet_bytes = kPacket;
  parameters.max_window_bytes = kMost;
  return Dctcp(parameters);
}

// Rounds of acks, a packet each, of which the first `marked` are.
class Feed {
 public:
  uint32_t Round(int packets, int marked) {
    uint32_t window = 0;
    now_ = now_ + kRtt;
    for (int i = 0; i < packets; ++i) {
      window = dctcp
                   .OnAck({now_, kRtt, kPacket, kMost,
                           static_cast<uint16_t>(i < marked)})
                   .window_bytes;
    }
    return window;
  }
  uint32_t Lose(bool by_timeout) {
    return dctcp.OnLoss({now_, kPacket, by_timeout}).window_bytes;
  }
  Dctcp dctcp = Make();

 private:
  Time now_ = Time::FromNanos(1'000'000);
};

TEST(Dctcp, starts_at_its_most_and_stays_there_without_marks) {
  Feed feed;
  EXPECT_EQ(feed.dctcp.initial().window_bytes, kMost);
  EXPECT_EQ(feed.Round(40, 0), kMost);
}

TEST(Dctcp, OnAck__the_first_mark_takes_what_the_first_alpha_says) {
  Feed wary;
  EXPECT_NEAR(wary.Round(1, 1), kMost / 2, 1);
  Feed trusting;
  trusting.dctcp = Make(0);
  EXPECT_NEAR(trusting.Round(1, 1), kMost * (1 - 1.0 / 16 / 2), 1);
}

TEST(Dctcp, OnAck__shrinks_by_half_of_the_share_that_is_marked) {
  // With every packet marked, alpha stays at 1: each round takes a half.
  Feed all;
  all.Round(1, 1);
  const uint32_t before = all.Round(1, 1);
  EXPECT_NEAR(all.Round(20, 20), before / 2, 1);
  // After many rounds with a tenth marked alpha is a tenth: a twentieth goes,
  // and what the unmarked ones brought comes back.
  Feed few;
  uint32_t lows = 0;
  for (int round = 0; round < 200; ++round) lows = few.Round(40, 4);
  EXPECT_GT(lows, 15 * kPacket);
  EXPECT_LT(lows, kMost);
}

TEST(Dctcp, OnAck__grows_by_a_packet_a_window) {
  Feed feed;
  feed.Lose(true);
  EXPECT_EQ(feed.Round(1, 0), 2 * kPacket);
  EXPECT_NEAR(feed.Round(2, 0), 3 * kPacket, kPacket / 4);
}

TEST(Dctcp, OnLoss__halves_once_a_round_trip) {
  Feed feed;
  feed.Round(1, 0);
  EXPECT_EQ(feed.Lose(false), kMost / 2);
  EXPECT_EQ(feed.Lose(false), kMost / 2);
  EXPECT_EQ(feed.Lose(true), kPacket);
}

}  // namespace
}  // namespace hawser
