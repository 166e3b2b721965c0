#include "transport/congestion/swift.h"

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr uint32_t kPacket = 1408;
constexpr Duration kBase = Duration::Micros(100);

Time At(Duration since_start) { return Time() + since_start; }

// A sender that always fills its window and whose packets are acked one by
// one, with whatever delay the test says.
class Sender {
 public:
  explicit Sender(const Swift::Parameters& parameters)
      : swift_(parameters), window_(swift_.initial().window_bytes) {}

  // One whose ramp is over, with half of the initial window.
  static Sender Steady(const Swift::Parameters& parameters) {
    Sender sender(parameters);
    sender.Ack(kBase, 0);
    sender.Lose(false);
    sender.Pass(Duration::Millis(20));
    return sender;
  }

  uint32_t window() const { return window_; }
  Rate pacing() const { return pacing_; }
  Time now() const { return now_; }

  void Ack(Duration rtt, uint32_t bytes = kPacket) {
    Take(swift_.OnAck({now_, rtt, bytes, window_, 0}));
  }
  void AckOf(uint32_t in_flight, Duration rtt) {
    Take(swift_.OnAck({now_, rtt, kPacket, in_flight, 0}));
  }
  void Lose(bool by_timeout) {
    Take(swift_.OnLoss({now_, kPacket, by_timeout}));
  }
  // A window of acks, evenly over one round trip.
  void RoundTrip(Duration rtt) {
    const uint32_t packets = std::max(1u, window_ / kPacket);
    for (uint32_t i = 0; i < packets; ++i) {
      now_ = now_ + rtt / packets;
      Ack(rtt);
    }
  }
  void Pass(Duration time) { now_ = now_ + time; }

 private:
  void Take(const Allowance& allowance) {
    window_ = allowance.window_bytes;
    pacing_ = allowance.pacing;
  }

  Swift swift_;
  uint32_t window_;
  Rate pacing_;
  Time now_ = At(Duration::Seconds(1));
};

TEST(Swift, initial__is_the_initial_window) {
  Swift::Parameters parameters;
  parameters.initial_window_bytes = 10 * kPacket;
  EXPECT_EQ(Swift(parameters).initial().window_bytes, 10 * kPacket);
  EXPECT_TRUE(Swift(parameters).initial().pacing.unlimited());
  parameters.initial_window_bytes = 0;
  EXPECT_GT(Swift(parameters).initial().window_bytes, 0u);
}

TEST(Swift, OnAck__ramp_doubles_each_round_trip) {
  Sender sender({});
  const uint32_t before = sender.window();
  sender.RoundTrip(kBase);
  EXPECT_NEAR(sender.window(), 2.0 * before, 2 * kPacket);
  sender.RoundTrip(kBase);
  EXPECT_NEAR(sender.window(), 4.0 * before, 6 * kPacket);
}

TEST(Swift, OnAck__ramp_ends_with_a_loss) {
  Sender sender({});
  sender.RoundTrip(kBase);
  sender.Lose(false);
  const uint32_t before = sender.window();
  sender.RoundTrip(kBase);
  EXPECT_NEAR(sender.window(), before + kPacket, 0.1 * kPacket);
}

TEST(Swift, OnAck__ramp_ends_with_delay_and_a_drain) {
  Sender sender({});
  sender.RoundTrip(kBase);
  const uint32_t top = sender.window();
  const Duration delay = Duration::Millis(3);
  sender.Ack(delay);
  EXPECT_EQ(sender.window(), kPacket);
  sender.Pass(delay);
  sender.Ack(kBase);
  EXPECT_EQ(sender.window(), kPacket);
  sender.Pass(delay);
  // Then it ramps again, but only up to where the delay has put it.
  for (int i = 0; i < 6; ++i) {
    const uint32_t before = sender.window();
    sender.RoundTrip(kBase);
    EXPECT_NEAR(sender.window(), std::min(2 * before, top / 2), 2 * kPacket);
  }
  const uint32_t before = sender.window();
  sender.RoundTrip(kBase);
  EXPECT_NEAR(sender.window(), before + kPacket, 0.1 * kPacket);
}

TEST(Swift, OnAck__a_base_that_is_known_needs_neither_ramp_nor_drain) {
  Swift::Parameters parameters;
  parameters.base_rtt = kBase;
  Sender sender(parameters);
  const uint32_t first = sender.window();
  sender.RoundTrip(kBase);
  EXPECT_NEAR(sender.window(), first + kPacket, kPacket / 10.0);
  // Delay over the target takes its share of the window, and no more.
  sender.Ack(kBase + 2 * parameters.target_delay);
  EXPECT_GE(sender.window(), first / 2);
  sender.Pass(Duration::Millis(20));
  EXPECT_GT(sender.window(), first / 2);
}

TEST(Swift, OnAck__drains_where_the_base_is_out_of_sight) {
  for (const bool in_sight : {false, true}) {
    Swift::Parameters parameters;
    parameters.max_window_bytes = 100 * kPacket;
    Sender sender = Sender::Steady(parameters);
    const Duration usual = kBase + Duration::Micros(in_sight ? 200 : 900);
    const Time start = sender.now();
    int drained = 0;
    Duration time_drained;
    bool was_drained = false;
    while (sender.now() - start < Duration::Seconds(10)) {
      const Time before = sender.now();
      sender.RoundTrip(usual);
      const bool is_drained = sender.window() <= kPacket;
      if (is_drained && !was_drained) ++drained;
      if (is_drained) time_drained += sender.now() - before;
      was_drained = is_drained;
    }
    EXPECT_EQ(drained, in_sight ? 0 : 5);
    EXPECT_LE(time_drained, drained * 4 * usual);
    EXPECT_EQ(sender.window(), 100 * kPacket);  // None the worse for it.
  }
}

TEST(Swift, OnAck__window_stays_below_its_maximum) {
  Swift::Parameters parameters;
  parameters.max_window_bytes = 100 * kPacket;
  Sender sender(parameters);
  for (int i = 0; i < 10; ++i) sender.RoundTrip(kBase);
  EXPECT_EQ(sender.window(), 100 * kPacket);
}

TEST(Swift, OnAck__an_increase_is_never_lost_to_rounding) {
  Swift::Parameters parameters;
  parameters.initial_window_bytes = 8'000 * kPacket;
  parameters.max_window_bytes = 16'000 * kPacket;
  Sender sender(parameters);
  sender.Ack(kBase);
  sender.Lose(false);  // 4,000 packets, and the ramp is over.
  const uint32_t before = sender.window();
  EXPECT_GE(before, 4'000 * kPacket);
  // One round trip in acks of one byte each: ai packets, as in any other.
  for (uint32_t i = 0; i < before; ++i) sender.Ack(kBase, 1);
  EXPECT_NEAR(sender.window(), before + kPacket, 2);
}

TEST(Swift, OnAck__an_unused_window_does_not_grow) {
  Sender sender({});
  const uint32_t before = sender.window();
  for (int i = 0; i < 100; ++i) sender.AckOf(before / 2 - 1, kBase);
  EXPECT_EQ(sender.window(), before);
  sender.AckOf(before / 2 + 1, kBase);
  EXPECT_GT(sender.window(), before);
}

TEST(Swift, OnAck__an_unused_window_keeps_a_packet) {
  Swift::Parameters parameters;
  parameters.initial_window_bytes = 4 * kPacket;
  Sender sender = Sender::Steady(parameters);
  const Duration rtt = Duration::Millis(10);
  for (int i = 0; i < 20; ++i) {
    sender.AckOf(100, rtt);  // In the queue of others.
    sender.Pass(rtt);
  }
  EXPECT_EQ(sender.window(), kPacket);
  // What fills its window has a share in the queue, and gives way.
  sender.AckOf(kPacket, rtt);
  EXPECT_EQ(sender.window(), kPacket / 2);
  // Where it went below a packet, it does not come back for nothing.
  sender.Pass(rtt);
  sender.AckOf(100, rtt);
  EXPECT_EQ(sender.window(), kPacket / 2);
}

TEST(Swift, OnAck__decreases_in_proportion_to_the_excess) {
  Swift::Parameters parameters;
  parameters.initial_window_bytes = 50 * kPacket;
  Sender sender = Sender::Steady(parameters);
  const double before = sender.window();
  // 25 packets: the scaling adds (1/sqrt(25) - 0.1) / (1/sqrt(0.1) - 0.1) of
  // 1 ms to the 1 ms over the base.
  const double target_ms = 0.1 + 1 + (0.2 - 0.1) / (3.16228 - 0.1);
  sender.Ack(Duration::Micros(1'500));
  EXPECT_NEAR(sender.window(), before * (1 - 0.8 * (1.5 - target_ms) / 1.5),
              10);
}

TEST(Swift, OnAck__no_decrease_takes_more_than_the_maximum) {
  Sender sender = Sender::Steady({});
  const uint32_t before = sender.window();
  sender.Ack(Duration::Millis(15));
  EXPECT_EQ(sender.window(), before / 2);
}

TEST(Swift, OnAck__decreases_once_a_round_trip) {
  Sender sender = Sender::Steady({});
  const Duration rtt = Duration::Millis(10);
  const uint32_t before = sender.window();
  for (int i = 0; i < 100; ++i) {
    sender.Ack(rtt);
    sender.Lose(false);
    sender.Pass(rtt / 101);
  }
  EXPECT_EQ(sender.window(), before / 2);
  sender.Pass(rtt / 50);
  sender.Ack(rtt);
  EXPECT_EQ(sender.window(), before / 4);
}

TEST(Swift, OnAck__a_small_window_bears_more_delay) {
  Swift::Parameters parameters;
  const Duration between = Duration::Micros(1'200);
  parameters.initial_window_bytes = 4 * kPacket;
  Sender small = Sender::Steady(parameters);
  small.Ack(between);
  EXPECT_GT(small.window(), 2 * kPacket);
  parameters.initial_window_bytes = 400 * kPacket;
  Sender large = Sender::Steady(parameters);
  large.Ack(between);
  EXPECT_LT(large.window(), 200 * kPacket);
}

TEST(Swift, OnAck__a_window_below_a_packet_is_paced) {
  Sender sender = Sender::Steady({});
  const Duration rtt = Duration::Millis(10);
  while (sender.window() >= kPacket) {
    EXPECT_TRUE(sender.pacing().unlimited());
    sender.Ack(rtt);
    sender.Pass(rtt);
  }
  EXPECT_EQ(sender.pacing(), Rate::Of(sender.window(), rtt));
  for (int i = 0; i < 100; ++i) {
    sender.Ack(rtt);
    sender.Pass(rtt);
  }
  EXPECT_EQ(sender.window(), kPacket / 100);  // min_window_packets
  // And it comes back: half a window in use is not asked of a lone packet.
  for (int i = 0; i < 200; ++i) {
    sender.Pass(kBase);
    sender.Ack(kBase);
  }
  EXPECT_GT(sender.window(), kPacket);
  EXPECT_TRUE(sender.pacing().unlimited());
}

TEST(Swift, OnAck__a_longer_route_becomes_the_new_base) {
  Sender sender({});
  sender.RoundTrip(kBase);
  const Duration longer = Duration::Millis(20);
  const Time change = sender.now();
  while (sender.now() - change < Duration::Seconds(9)) {
    sender.Pass(longer);
    sender.Ack(longer);
  }
  EXPECT_LT(sender.window(), kPacket);
  for (int i = 0; i < 100; ++i) {
    sender.Pass(longer);
    sender.Ack(longer);
  }
  for (int i = 0; i < 8; ++i) sender.RoundTrip(longer);
  EXPECT_GT(sender.window(), 100 * kPacket);
}

TEST(Swift, OnAck__a_standing_queue_does_not_become_the_base) {
  Sender sender({});
  sender.RoundTrip(kBase);
  // A minute at the target, give or take, and never near the base.
  const Duration target = kBase + Duration::Millis(1);
  const Time start = sender.now();
  while (sender.now() - start < Duration::Seconds(60)) {
    sender.RoundTrip(sender.window() > 100 * kPacket
                         ? target + Duration::Micros(50)
                         : target - Duration::Micros(50));
  }
  const uint32_t before = sender.window();
  EXPECT_GT(before, 50 * kPacket);
  sender.RoundTrip(target + Duration::Millis(2));  // Still too much.
  EXPECT_LT(sender.window(), before);
}

TEST(Swift, OnLoss__a_gap_takes_half_once_a_round_trip) {
  Sender sender({});
  sender.Ack(kBase, 0);
  const uint32_t before = sender.window();
  sender.Lose(false);
  sender.Lose(false);
  EXPECT_EQ(sender.window(), before / 2);
  sender.Pass(kBase);
  sender.Lose(false);
  EXPECT_EQ(sender.window(), before / 4);
}

TEST(Swift, OnLoss__timeouts_in_a_row_end_at_the_smallest_window) {
  Sender sender({});
  sender.Ack(kBase, 0);
  for (int i = 0; i < 4; ++i) sender.Lose(true);  // All in one round trip.
  EXPECT_GT(sender.window(), 20 * kPacket);
  sender.Lose(true);
  EXPECT_EQ(sender.window(), kPacket / 100);
}

TEST(Swift, OnLoss__progress_clears_the_row) {
  Sender sender({});
  for (int i = 0; i < 20; ++i) {
    if (i % 4 == 0) sender.Ack(kBase, 0);
    sender.Lose(true);
  }
  EXPECT_GT(sender.window(), 20 * kPacket);
}

// A drain that meets other people's queue gives nothing of its share away.
TEST(Swift, OnAck__a_drain_in_vain_costs_no_window) {
  Swift::Parameters parameters;
  parameters.max_window_bytes = 100 * kPacket;
  Sender sender = Sender::Steady(parameters);
  while (sender.window() < 100 * kPacket) sender.RoundTrip(kBase);
  const Duration above = kBase + Duration::Micros(1'010);
  for (const Time start = sender.now();
       sender.now() - start < Duration::Seconds(9);) {
    sender.RoundTrip(sender.window() > 90 * kPacket ? above : above * 9 / 10);
  }
  EXPECT_GT(sender.window(), 80 * kPacket);
}

// What a reader wants to see of a window, after each round trip: the ramp, the
// drain at its end and the ramp back, the target, loss, silence.
TEST(Swift, Window__trace) {
  Sender sender({});
  std::string trace;
  const auto trips = [&](int count, const char* name, Duration rtt) {
    trace += std::string(name) + ":";
    for (int i = 0; i < count; ++i) {
      sender.RoundTrip(rtt);
      trace += " " + std::to_string(sender.window());
    }
    trace += "\n";
  };
  const auto loss = [&](const char* name, bool by_timeout) {
    sender.Pass(Duration::Millis(10));
    sender.Lose(by_timeout);
    trace += std::string(name) + ": " + std::to_string(sender.window()) + "\n";
  };
  trips(3, "at the base", kBase);
  trips(1, "at 3 ms", Duration::Millis(3));
  trips(30, "at the base", Duration::Micros(300));  // Near enough.
  trips(2, "at 1.3 ms", Duration::Micros(1'300));
  trips(2, "at 3 ms", Duration::Millis(3));
  loss("gap", false);
  trips(3, "at the base", kBase);
  for (int i = 0; i < 5; ++i) loss("silence", true);
  trips(3, "at the base", kBase);
  EXPECT_EQ(trace,
            "at the base: 130304 259840 518912\n"
            "at 3 ms: 1408\n"
            "at the base: 1408 1408 1408 1408 1408 1408 1408 1408 1408 1408 "
            "2816 5632 11264 22528 45056 90112 180224 259997 261397 262796 "
            "264195 265595 266995 268394 269794 271194 272594 273994 275394 "
            "276794\n"
            "at 1.3 ms: 242727 212853\n"
            "at 3 ms: 106426 53213\n"
            "gap: 26606\n"
            "at the base: 27917 29237 30564\n"
            "silence: 15282\n"
            "silence: 7641\n"
            "silence: 3820\n"
            "silence: 1910\n"
            "silence: 14\n"
            "at the base: 1422 2816 4083\n");
}

// Flows over one FIFO bottleneck, packet by packet.
struct Flow {
  Flow(const Swift::Parameters& parameters)
      : swift(parameters), allowance(swift.initial()) {}
  Swift swift;
  Allowance allowance;
  uint32_t in_flight = 0;
  uint64_t delivered = 0;  // In the second half of the run.
};

std::vector<double> Share(std::vector<Flow>& flows, Rate rate,
                          Duration length) {
  struct Packet {
    size_t flow;
    Time sent_at, acked_at;
  };
  std::deque<Packet> on_the_way;  // One FIFO, so acks come in order too.
  Time now, free_at;
  const Time end = At(length);
  while (now < end) {
    for (size_t f = 0; f < flows.size(); ++f) {
      Flow& flow = flows[f];
      while (flow.in_flight == 0 ||
             flow.in_flight + kPacket <= flow.allowance.window_bytes) {
        free_at = std::max(free_at, now) + rate.TimeToSend(kPacket);
        on_the_way.push_back({f, now, free_at + kBase});
        flow.in_flight += kPacket;
      }
    }
    const Packet packet = on_the_way.front();
    on_the_way.pop_front();
    now = packet.acked_at;
    Flow& flow = flows[packet.flow];
    flow.allowance = flow.swift.OnAck(
        {now, now - packet.sent_at, kPacket, flow.in_flight, 0});
    flow.in_flight -= kPacket;
    if (now - Time() > length / 2) flow.delivered += kPacket;
  }
  std::vector<double> shares;
  const double capacity = static_cast<double>(rate.bits_per_second()) / 8 *
                          ((length / 2) / Duration::Seconds(1));
  for (const Flow& flow : flows) {
    shares.push_back(static_cast<double>(flow.delivered) / capacity);
  }
  return shares;
}

TEST(Swift, Flows__two_share_a_bottleneck_fairly_and_fill_it) {
  Swift::Parameters large;
  large.initial_window_bytes = 1024 * 1024;
  std::vector<Flow> flows{Flow({}), Flow(large)};
  const auto shares =
      Share(flows, Rate::GigabitsPerSecond(1), Duration::Seconds(2));
  EXPECT_GT(shares[0] + shares[1], 0.98);
  EXPECT_NEAR(shares[0] / shares[1], 1.0, 0.2);
}

// All begin at once, so the last of them meet milliseconds of the others' queue
// and take it for their base, until they drain.
TEST(Swift, Flows__many_share_a_bottleneck_fairly_and_fill_it) {
  std::vector<Flow> flows;
  for (uint32_t i = 0; i < 32; ++i) {
    Swift::Parameters parameters;
    parameters.initial_window_bytes = (i + 1) * 16 * 1024;
    flows.emplace_back(parameters);
  }
  const auto shares =
      Share(flows, Rate::GigabitsPerSecond(10), Duration::Seconds(1));
  double sum = 0;
  for (const double share : shares) {
    sum += share;
    EXPECT_NEAR(share, 1.0 / 32, 0.2 / 32);
  }
  EXPECT_GT(sum, 0.98);
}

}  // namespace
}  // namespace hawser
