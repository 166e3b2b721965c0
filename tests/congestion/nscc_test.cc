#include "transport/congestion/nscc.h"

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr Duration kRtt = Duration::Micros(12);
constexpr uint32_t kBdp = 150'000;  // The reference network: a = 1.
constexpr uint32_t kPacket = 4'000;

Nscc Make() {
  Nscc::Parameters parameters;
  parameters.packet_bytes = kPacket;
  parameters.base_rtt = kRtt;
  parameters.bdp_bytes = kBdp;
  return Nscc(parameters);
}

// Acks of whole packets, one after another, `delay` above the base.
class Feed {
 public:
  explicit Feed(Nscc& nscc) : nscc_(nscc) {}
  uint32_t Ack(int packets, Duration delay, bool marked) {
    uint32_t window = 0;
    for (int i = 0; i < packets; ++i) {
      now_ = now_ + Duration::Nanos(320);  // A packet at 100 Gb/s.
      window = nscc_
                   .OnAck({now_, kRtt + delay, kPacket, kBdp,
                           static_cast<uint16_t>(marked)})
                   .window_bytes;
    }
    return window;
  }
  Time now() const { return now_; }

 private:
  Nscc& nscc_;
  Time now_ = Time::FromNanos(1'000'000);
};

TEST(Nscc, starts_at_its_most_one_and_a_half_bdp) {
  Nscc nscc = Make();
  EXPECT_EQ(nscc.initial().window_bytes, kBdp * 3 / 2);
  Feed feed(nscc);
  EXPECT_EQ(feed.Ack(100, Duration::Micros(2), false), kBdp * 3 / 2);
}

TEST(Nscc, OnAck__marked_below_the_target_changes_nothing) {
  Nscc nscc = Make();
  Feed feed(nscc);
  const uint32_t before = feed.Ack(1, Duration::Micros(5), true);
  // The floor increase alone is at work, a seventh of a packet a round trip,
  // and the window is at its most.
  EXPECT_EQ(feed.Ack(1000, Duration::Micros(5), true), before);
}

TEST(Nscc, OnAck__marked_and_late_shrinks_by_the_excess_of_the_mean) {
  Nscc nscc = Make();
  Feed feed(nscc);
  const uint32_t first = nscc.initial().window_bytes;
  // The mean needs some 60 samples of 30 us to exceed the target of 9.
  const uint32_t after = feed.Ack(40, Duration::Micros(10), true);
  EXPECT_EQ(after, first);
  const uint32_t later = feed.Ack(200, Duration::Micros(30), true);
  EXPECT_LT(later, first * 3 / 4);
  EXPECT_GE(later, kPacket);
}

TEST(Nscc, OnAck__late_and_not_marked_grows_by_five_packets_a_round) {
  Nscc nscc = Make();
  Feed feed(nscc);
  feed.Ack(400, Duration::Micros(30), true);
  const uint32_t low = feed.Ack(1, Duration::Micros(10), false);
  const int round = static_cast<int>(low / kPacket);
  const uint32_t high = feed.Ack(8 * round, Duration::Micros(10), false);
  EXPECT_GT(high, low + 8 * 3 * kPacket);
  EXPECT_LT(high, low + 8 * 8 * kPacket);
}

TEST(Nscc, OnAck__no_delay_at_all_for_a_window_grows_by_a_quarter) {
  Nscc nscc = Make();
  Feed feed(nscc);
  feed.Ack(600, Duration::Micros(30), true);
  const uint32_t low = feed.Ack(1, Duration::Micros(5), true);
  ASSERT_LT(low, kBdp / 2);
  const int round = static_cast<int>(low / kPacket) + 1;
  feed.Ack(round + 10, Duration(), false);  // And what was earned before.
  const uint32_t before = feed.Ack(1, Duration(), false);
  const uint32_t after = feed.Ack(8, Duration(), false);
  EXPECT_NEAR(after - before, 8 * kPacket / 4, kPacket / 2);
}

Nscc MakeUnmarked(bool scales_by_target = false) {
  Nscc::Parameters parameters;
  parameters.packet_bytes = kPacket;
  parameters.base_rtt = kRtt;
  parameters.bdp_bytes = kBdp;
  parameters.target_share = 10;  // 120 us.
  parameters.network_marks = false;
  parameters.scales_by_target = scales_by_target;
  return Nscc(parameters);
}

TEST(Nscc, OnAck__where_nothing_marks_late_is_enough) {
  Nscc nscc = MakeUnmarked();
  Feed feed(nscc);
  const uint32_t first = nscc.initial().window_bytes;
  // 240 us are twice the target: 0.8 of one half goes, at once...
  EXPECT_NEAR(feed.Ack(1, Duration::Micros(240), false), first * 0.6, kPacket);
  // ...and nothing more for what was under way, for 252 us. (The floor increase
  // adds a seventh of a packet every 12 us.)
  const uint32_t low = feed.Ack(700, Duration::Micros(240), false);
  EXPECT_NEAR(low, first * 0.6, 4 * kPacket);
  EXPECT_NEAR(feed.Ack(100, Duration::Micros(240), false), low * 0.6,
              2 * kPacket);
}

TEST(Nscc, OnAck__the_first_mark_shows_that_the_network_marks) {
  Nscc nscc = MakeUnmarked();
  Feed feed(nscc);
  feed.Ack(1, Duration::Micros(240), false);
  const uint32_t low = feed.Ack(1, Duration::Micros(10), true);
  // From now on, late and not marked means that the queue is draining.
  EXPECT_GT(feed.Ack(1000, Duration::Micros(240), false), low + 10 * kPacket);
}

TEST(Nscc, OnAck__growth_by_the_target_or_not) {
  const auto grown = [](bool scales_by_target) {
    Nscc nscc = MakeUnmarked(scales_by_target);
    Feed feed(nscc);
    feed.Ack(1, Duration::Micros(600), false);  // Makes room to grow.
    const uint32_t low = feed.Ack(8, Duration::Micros(60), false);
    return feed.Ack(8, Duration::Micros(60), false) - low;
  };
  // Half of four packets a window, or ten times as much.
  EXPECT_NEAR(grown(true), 10.0 * grown(false), kPacket);
  EXPECT_GT(grown(false), 0u);
}

TEST(Nscc, OnLoss__takes_what_was_lost_and_never_the_last_packet) {
  Nscc nscc = Make();
  const uint32_t first = nscc.initial().window_bytes;
  const Time now = Time::FromNanos(1'000'000);
  EXPECT_EQ(nscc.OnLoss({now, kPacket, false}).window_bytes, first - kPacket);
  EXPECT_EQ(nscc.OnLoss({now, 10 * kBdp, false}).window_bytes, kPacket);
}

TEST(Nscc, OnLoss__without_delay_may_be_a_failure) {
  Nscc::Parameters parameters;
  parameters.packet_bytes = kPacket;
  parameters.base_rtt = kRtt;
  parameters.bdp_bytes = kBdp;
  parameters.losses_are_congestion = false;
  Nscc nscc(parameters);
  Feed feed(nscc);
  const uint32_t before = feed.Ack(100, Duration::Micros(1), false);
  EXPECT_EQ(nscc.OnLoss({feed.now(), kPacket, false}).window_bytes, before);
  feed.Ack(200, Duration::Micros(30), true);
  EXPECT_LT(nscc.OnLoss({feed.now(), kPacket, false}).window_bytes, before);
}

TEST(Nscc, OnLoss__quick_adapt_falls_to_what_got_through) {
  Nscc nscc = Make();
  Feed feed(nscc);
  feed.Ack(2, Duration::Micros(5), false);
  // In a round trip and a target only two packets came back.
  const Time later = feed.now() + kRtt + kRtt;
  EXPECT_EQ(nscc.OnLoss({later, kPacket, false}).window_bytes, 2 * kPacket);
}

}  // namespace
}  // namespace hawser
