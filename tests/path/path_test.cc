#include "transport/path/path.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "transport/base/random.h"
#include "transport/congestion/fixed_window.h"
#include "transport/congestion/swift.h"

namespace hawser {
namespace {

constexpr uint32_t kBytes = 1'000;
constexpr Time kStart = Time::FromNanos(1'000'000'000);
constexpr Duration kRtt = Duration::Millis(10);

PathOptions Usual() {
  PathOptions options;
  options.ack_delay = Duration::Micros(50);
  options.rto_min = Duration::Millis(2);
  return options;
}

wire::Cargo CargoOf(uint32_t message) {
  wire::Cargo cargo;
  cargo.message = {message};
  return cargo;
}

wire::Cargo Probe() {
  wire::Cargo cargo;
  cargo.kind = wire::CargoKind::kProbe;
  return cargo;
}

// Says what was asked of it, and does as the test tells it.
class Listener final : public CongestionControl {
 public:
  struct Heard {
    std::vector<AckEvent> acks;
    std::vector<LossEvent> losses;
    Allowance allowance{100 * kBytes, Rate::Unlimited()};
  };
  explicit Listener(Heard* heard) : heard_(heard) {}
  Allowance initial() const override { return heard_->allowance; }
  Allowance OnAck(const AckEvent& ack) override {
    heard_->acks.push_back(ack);
    return heard_->allowance;
  }
  Allowance OnLoss(const LossEvent& loss) override {
    heard_->losses.push_back(loss);
    return heard_->allowance;
  }

 private:
  Heard* heard_;
};

struct Fixture {
  explicit Fixture(const Listener::Heard& begin = {},
                   const PathOptions& options = Usual())
      : heard(begin), path({2}, std::make_unique<Listener>(&heard), options) {}

  PacketNumber Send(int packets = 1) {
    PacketNumber last;
    for (int i = 0; i < packets; ++i) {
      last = path.Send(CargoOf(next++), kBytes, now).number;
    }
    return last;
  }
  // An ack for numbers first..last that has been held for `held`.
  AckSummary Ack(uint64_t first, uint64_t last, Duration held = Duration(),
                 uint16_t ecn_marked = 0) {
    out.clear();
    wire::Ack ack;
    ack.path = path.id();
    ack.largest = {last};
    ack.held = held;
    ack.ecn_marked = ecn_marked;
    ack.words = wire::kAckWords;
    for (uint64_t n = first; n <= last; ++n) {
      ack.arrived[(last - n) / 64] |= uint64_t{1} << ((last - n) % 64);
    }
    return path.OnAck(ack, now, out, now);
  }
  // One exchange that takes kRtt: the path has its samples.
  void Learn() {
    const PacketNumber n = Send();
    now = now + kRtt;
    Ack(n.value, n.value);
  }
  // The host is heard all the time, on other paths.
  AckSummary Deadline() { return Deadline(now); }
  AckSummary Deadline(Time host_heard) {
    out.clear();
    return path.OnDeadline(host_heard, out, now);
  }
  // Lets time pass until the path is suspect; its probes are lost.
  void FallSilent() {
    Send();
    for (int i = 0; path.state() == Path::State::kOpen; ++i) {
      ASSERT_LT(i, 10);
      now = path.deadline();
      Deadline();
      if (path.probe_wanted()) path.Send(Probe(), kBytes, now);
    }
  }

  Listener::Heard heard;
  Path path;
  SettledList out;
  Time now = kStart;
  uint32_t next = 0;
};

TEST(Path, CanSend__up_to_the_window) {
  Fixture f;
  EXPECT_EQ(f.path.window_bytes(), 100 * kBytes);
  f.Send(99);
  EXPECT_TRUE(f.path.CanSend(kBytes, f.now));
  EXPECT_FALSE(f.path.CanSend(kBytes + 1, f.now));
  f.Send(1);
  EXPECT_FALSE(f.path.CanSend(1, f.now));
  EXPECT_EQ(f.path.in_flight_bytes(), 100 * kBytes);
}

TEST(Path, CanSend__a_lone_packet_may_exceed_the_window) {
  Fixture f({.acks = {}, .losses = {}, .allowance = {14, Rate::Unlimited()}});
  EXPECT_TRUE(f.path.CanSend(kBytes, f.now));
  f.Send();
  EXPECT_FALSE(f.path.CanSend(1, f.now));
}

TEST(Path, CanSend__not_before_the_pacer_lets_go) {
  // A byte in a microsecond, and a window below a packet.
  Fixture f({.acks = {},
             .losses = {},
             .allowance = {100, Rate::BitsPerSecond(8'000'000)}});
  EXPECT_TRUE(f.path.CanSend(kBytes, f.now));
  f.Send();
  f.Ack(0, 0);
  EXPECT_FALSE(f.path.CanSend(kBytes, f.now));
  // The packet takes a millisecond; 100 us of it were saved up before.
  EXPECT_EQ(f.path.deadline(), f.now + Duration::Micros(900));
  f.now = f.path.deadline();
  f.Deadline();
  EXPECT_TRUE(f.path.CanSend(kBytes, f.now));
  EXPECT_EQ(f.path.deadline(), Time::Never());
}

TEST(Path, CanSend__never_fills_the_log) {
  Fixture f({.acks = {},
             .losses = {},
             .allowance = {1'000'000'000, Rate::Unlimited()}});
  while (f.path.CanSend(kBytes, f.now)) f.Send();
  EXPECT_GT(f.next, wire::kAckWindow - 32);
  f.path.Send(Probe(), kBytes, f.now);  // There is room for one.
  // A loss at the front may not hold the log for ever.
  f.now = f.now + kRtt;
  f.Ack(1, f.next - 1);
  EXPECT_TRUE(f.path.CanSend(kBytes, f.now));
  for (int i = 0; i < 300; ++i) f.Send();
}

TEST(Path, Send__span_reaches_back_to_the_oldest_of_interest) {
  Fixture f;
  EXPECT_EQ(f.path.Send(CargoOf(0), kBytes, f.now).open_span, 0);
  EXPECT_EQ(f.path.Send(CargoOf(1), kBytes, f.now).open_span, 1);
  EXPECT_EQ(f.path.Send(CargoOf(2), kBytes, f.now).open_span, 2);
  f.Ack(0, 1);
  const Path::Numbered numbered = f.path.Send(CargoOf(3), kBytes, f.now);
  EXPECT_EQ(numbered.number, PacketNumber{3});
  EXPECT_EQ(numbered.open_span, 1);
}

TEST(Path, ExpandAck__around_the_next_number) {
  Fixture f;
  EXPECT_EQ(f.path.ExpandAck(0), PacketNumber{0});
  f.Send(5);
  EXPECT_EQ(f.path.ExpandAck(4), PacketNumber{4});
}

TEST(Path, OnAck__samples_are_of_the_newest_packet) {
  Fixture f;
  f.Send();
  f.now = f.now + Duration::Millis(1);
  f.Send();
  f.now = f.now + Duration::Millis(5);
  f.Ack(0, 1, Duration::Millis(2));
  EXPECT_EQ(f.path.response_rtt().latest(), Duration::Millis(5));
  EXPECT_EQ(f.path.network_rtt().latest(), Duration::Millis(3));
  ASSERT_EQ(f.heard.acks.size(), 1u);
  EXPECT_EQ(f.heard.acks[0].rtt, Duration::Millis(3));
  EXPECT_EQ(f.heard.acks[0].acked_bytes, 2 * kBytes);
  EXPECT_EQ(f.heard.acks[0].in_flight_bytes, 2 * kBytes);
}

TEST(Path, OnAck__our_own_wait_is_no_network_delay) {
  Fixture f;
  f.Send();
  wire::Ack ack;
  ack.path = f.path.id();
  ack.arrived[0] = 1;
  const Time arrived_at = f.now + Duration::Millis(3);
  f.now = f.now + Duration::Millis(8);
  f.path.OnAck(ack, arrived_at, f.out, f.now);
  EXPECT_EQ(f.path.response_rtt().latest(), Duration::Millis(8));
  EXPECT_EQ(f.path.network_rtt().latest(), Duration::Millis(3));
}

TEST(Path, OnAck__no_network_sample_where_held_speaks_of_another) {
  Fixture f;
  f.Send(3);
  f.now = f.now + kRtt;
  f.Ack(2, 2);
  f.now = f.now + kRtt;
  f.Ack(1, 2);
  EXPECT_EQ(f.path.response_rtt().latest(), 2 * kRtt);
  EXPECT_EQ(f.path.network_rtt().latest(), kRtt);
}

TEST(Path, OnAck__an_impossible_sample_is_none) {
  Fixture f;
  f.Send();
  f.now = f.now + Duration::Micros(50);
  f.Ack(0, 0, Duration::Micros(60));
  EXPECT_FALSE(f.path.network_rtt().has_sample());
  EXPECT_EQ(f.heard.acks.back().rtt, Duration::Micros(50));
  f.Send();
  f.now = f.now + kRtt;
  f.Ack(1, 1);
  f.Send();
  f.now = f.now + Duration::Micros(50);
  f.Ack(2, 2, Duration::Micros(50));
  EXPECT_EQ(f.path.network_rtt().latest(), kRtt);
  EXPECT_EQ(f.heard.acks.back().rtt, kRtt);
}

TEST(Path, OnAck__invalid_changes_nothing) {
  Fixture f;
  f.Send(3);
  f.now = f.now + kRtt;
  const Time before = f.path.deadline();
  EXPECT_FALSE(f.Ack(0, 3, Duration(), 7).valid);
  EXPECT_TRUE(f.out.empty());
  EXPECT_TRUE(f.heard.acks.empty());
  EXPECT_EQ(f.path.deadline(), before);
  EXPECT_EQ(f.path.counts().ecn_marked, 0u);
}

TEST(Path, OnAck__a_gap_is_told_to_congestion_control_once) {
  Fixture f;
  f.Send(10);
  f.now = f.now + kRtt;
  f.Ack(4, 9);
  ASSERT_EQ(f.heard.losses.size(), 1u);
  EXPECT_EQ(f.heard.losses[0].lost_bytes, 4 * kBytes);
  EXPECT_FALSE(f.heard.losses[0].by_timeout);
  EXPECT_EQ(f.out.size(), 10u);
}

TEST(Path, OnAck__marks_are_counted_forward_only) {
  Fixture f;
  f.Send(10);
  f.Ack(0, 3, Duration(), 65'535);  // The peer's count began long ago.
  EXPECT_EQ(f.path.counts().ecn_marked, 65'535u);
  // Wrapped: three more.
  EXPECT_EQ(f.Ack(4, 6, Duration(), 2).marked_packets, 3u);
  EXPECT_EQ(f.heard.acks.back().ecn_marked_packets, 3);
  f.Ack(1, 3, Duration(), 65'535);  // An old one, late.
  f.Ack(4, 6, Duration(), 1);       // And one of the same largest.
  EXPECT_EQ(f.path.counts().ecn_marked, 65'538u);
  f.Ack(7, 9, Duration(), 3);
  EXPECT_EQ(f.path.counts().ecn_marked, 65'539u);
}

TEST(Path, silence__age_of_the_oldest_in_flight) {
  Fixture f;
  EXPECT_EQ(f.path.silence(f.now), Duration());
  f.Send();
  f.now = f.now + Duration::Millis(1);
  f.Send();
  EXPECT_EQ(f.path.silence(f.now), Duration::Millis(1));
  f.Ack(0, 0);
  EXPECT_EQ(f.path.silence(f.now), Duration());
  f.now = f.now + Duration::Millis(2);
  EXPECT_EQ(f.path.silence(f.now), Duration::Millis(2));
}

TEST(Path, rto__follows_the_response) {
  PathOptions options = Usual();
  Fixture f({}, options);
  EXPECT_EQ(f.path.rto(), options.rto_initial + options.ack_delay);
  f.Learn();
  EXPECT_EQ(f.path.rto(), 3 * kRtt + options.ack_delay);
  for (int i = 0; i < 100; ++i) {
    const PacketNumber n = f.Send();
    f.now = f.now + Duration::Micros(20);
    f.Ack(n.value, n.value);
  }
  EXPECT_EQ(f.path.rto(), options.rto_min + options.ack_delay);
}

TEST(Path, rto__never_below_the_least) {
  PathOptions options = Usual();
  options.rto_min = Duration::Seconds(1);
  Fixture f({}, options);
  EXPECT_EQ(f.path.rto(), options.rto_min + options.ack_delay);
  f.Learn();
  EXPECT_EQ(f.path.rto(), options.rto_min + options.ack_delay);
}

TEST(Path, deadline__never_while_nothing_is_in_flight) {
  Fixture f;
  EXPECT_EQ(f.path.deadline(), Time::Never());
  f.Learn();
  EXPECT_EQ(f.path.deadline(), Time::Never());
}

TEST(Path, deadline__not_put_off_by_later_sends) {
  Fixture f;
  f.Learn();
  f.Send();
  const Time due = f.path.deadline();
  EXPECT_EQ(due, f.now + f.path.rto() * 2 / 3);
  f.now = f.now + kRtt;
  f.Send();
  EXPECT_EQ(f.path.deadline(), due);
  f.Ack(1, 1);
  EXPECT_GT(f.path.deadline(), due);
}

TEST(Path, OnDeadline__too_early_is_nothing) {
  Fixture f;
  f.Send();
  f.now = f.path.deadline() - Duration::Nanos(1);
  f.Deadline();
  EXPECT_FALSE(f.path.probe_wanted());
}

TEST(Path, OnDeadline__asks_once_and_then_suspects) {
  Fixture f;
  f.Learn();
  f.Send(2);
  const Time sent_at = f.now;
  f.now = f.path.deadline();
  f.Deadline();
  EXPECT_TRUE(f.path.probe_wanted());
  EXPECT_EQ(f.path.deadline(), sent_at + f.path.rto());
  f.path.Send(Probe(), kBytes, f.now);
  EXPECT_FALSE(f.path.probe_wanted());
  EXPECT_EQ(f.path.deadline(), sent_at + f.path.rto());
  EXPECT_TRUE(f.path.CanSend(kBytes, f.now));
  f.now = f.path.deadline();
  EXPECT_LE(f.now - sent_at, 3 * kRtt + Duration::Millis(1));
  f.Deadline();
  EXPECT_EQ(f.path.state(), Path::State::kOpen);  // Its host was just heard.
  f.now = f.path.deadline();
  EXPECT_LE(f.now - sent_at, 4 * kRtt + Duration::Millis(1));
  const AckSummary summary = f.Deadline();
  EXPECT_EQ(f.path.state(), Path::State::kSuspect);
  EXPECT_EQ(summary.lost_packets, 3u);
  EXPECT_EQ(f.out.size(), 3u);
  EXPECT_EQ(f.path.in_flight_bytes(), 0u);
  EXPECT_FALSE(f.path.CanSend(kBytes, f.now));
  EXPECT_TRUE(f.path.probe_wanted());
  ASSERT_EQ(f.heard.losses.size(), 1u);
  EXPECT_TRUE(f.heard.losses[0].by_timeout);
}

TEST(Path, OnDeadline__a_silent_host_is_no_silent_path) {
  Fixture f;
  f.Learn();
  f.Send(2);
  const Time sent_at = f.now;
  const Time heard = f.now;
  while (f.path.state() == Path::State::kOpen) {
    f.now = f.path.deadline();
    ASSERT_LE(f.now - sent_at, 9 * f.path.rto());
    f.Deadline(heard);
    if (f.path.probe_wanted()) f.path.Send(Probe(), kBytes, f.now);
  }
  EXPECT_GE(f.now - sent_at, 8 * f.path.rto());
}

TEST(Path, OnDeadline__a_host_that_wakes_has_time_to_answer) {
  Fixture f;
  f.Learn();
  f.Send(2);
  Time heard = f.now;
  for (int i = 0; i < 6; ++i) {
    f.now = f.path.deadline();
    f.Deadline(heard);
    if (f.path.probe_wanted()) f.path.Send(Probe(), kBytes, f.now);
  }
  heard = f.now;  // It speaks, of other paths at first.
  f.now = f.path.deadline();
  f.Deadline(heard);
  EXPECT_EQ(f.path.state(), Path::State::kOpen);
  f.Ack(1, 3);
  EXPECT_EQ(f.path.counts().packets_lost, 0u);
}

TEST(Path, OnDeadline__an_answer_to_the_probe_shows_what_was_lost) {
  Fixture f;
  f.Learn();
  f.Send(2);
  f.now = f.path.deadline();
  f.Deadline();
  const PacketNumber n = f.path.Send(Probe(), kBytes, f.now).number;
  f.now = f.now + kRtt;
  const AckSummary summary = f.Ack(n.value, n.value);
  EXPECT_EQ(summary.lost_packets, 2u);
  EXPECT_EQ(f.path.state(), Path::State::kOpen);
  EXPECT_EQ(f.path.deadline(), Time::Never());
}

// A host that was away for longer than the timeout learns nothing about the
// path from it.
TEST(Path, OnDeadline__late_ourselves_the_probe_still_gets_its_time) {
  Fixture f;
  f.Learn();
  f.Send();
  f.now = f.now + Duration::Seconds(5);
  f.Deadline();
  EXPECT_EQ(f.path.state(), Path::State::kOpen);
  EXPECT_TRUE(f.path.probe_wanted());
  const Time due = f.path.deadline();
  EXPECT_GT(due, f.now + kRtt);
  EXPECT_LE(due, f.now + f.path.rto());
  f.now = due;
  f.Deadline();
  f.now = f.path.deadline();
  f.Deadline();
  EXPECT_EQ(f.path.state(), Path::State::kSuspect);
}

TEST(Path, OnDeadline__suspect_probes_with_growing_pauses) {
  PathOptions options = Usual();
  options.probe_pause_max = Duration::Millis(100);
  Fixture f({}, options);
  f.Learn();
  f.FallSilent();
  std::string pauses;
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(f.path.deadline(), i == 0 ? f.path.deadline() : Time::Never());
    EXPECT_TRUE(f.path.probe_wanted() || i == 0);
    if (f.path.probe_wanted()) f.path.Send(Probe(), kBytes, f.now);
    EXPECT_EQ(f.path.counts().packets_sent - f.path.counts().packets_lost -
                  f.path.counts().packets_delivered,
              1u);
    pauses += std::to_string((f.path.deadline() - f.now).millis()) + " ";
    f.now = f.path.deadline();
    f.Deadline();
    EXPECT_EQ(f.out.size(), 1u);  // The probe before.
    EXPECT_EQ(f.path.state(), Path::State::kSuspect);
  }
  EXPECT_EQ(pauses, "30 60 100 100 100 100 ");
  EXPECT_EQ(f.path.counts().times_suspect, 1u);
  EXPECT_EQ(f.heard.losses.size(), 1u);  // Lost probes say nothing new.
}

TEST(Path, OnDeadline__an_outage_of_any_length_fits_the_log) {
  Fixture f;
  f.FallSilent();
  for (int i = 0; i < 5'000; ++i) {
    f.now = std::max(
        f.now, f.path.deadline() == Time::Never() ? f.now : f.path.deadline());
    f.Deadline();
    if (f.path.probe_wanted()) f.path.Send(Probe(), kBytes, f.now);
  }
  EXPECT_GT(f.path.counts().probes_sent, 4'000u);
}

TEST(Path, OnAck__an_answer_to_as_much_as_it_lost_reopens_a_suspect_path) {
  for (const bool late : {false, true}) {
    Fixture f;
    f.Learn();
    f.FallSilent();
    f.now = f.now + kRtt;
    const uint64_t n = late ? 1 : f.path.counts().packets_sent - 1;
    const AckSummary summary = f.Ack(n, n);
    EXPECT_TRUE(summary.progress);
    EXPECT_EQ(summary.spurious_packets, late ? 1u : 0u);
    EXPECT_EQ(f.path.state(), Path::State::kOpen);
    EXPECT_FALSE(f.path.probe_wanted());
    EXPECT_TRUE(f.path.CanSend(kBytes, f.now));
    EXPECT_GT(f.path.deadline(), f.now);
    // The same ack again would not reopen it.
    f.FallSilent();
    EXPECT_FALSE(f.Ack(n, n).progress);
    EXPECT_EQ(f.path.state(), Path::State::kSuspect);
  }
}

// It lets small packets through, and no large ones.
TEST(Path, OnAck__an_answer_to_less_asks_for_more) {
  constexpr uint32_t kLarge = 4000, kBare = 16;
  Fixture f;
  f.Learn();
  f.path.Send(CargoOf(f.next++), kLarge, f.now);
  while (f.path.state() == Path::State::kOpen) {
    f.now = f.path.deadline();
    f.Deadline();
    if (f.path.state() == Path::State::kOpen && f.path.probe_wanted()) {
      EXPECT_EQ(f.path.probe_bytes(), 0u);
      f.path.Send(Probe(), kBare, f.now);
    }
  }
  // In turn it is asked for what it lost, and for anything at all.
  EXPECT_EQ(f.path.probe_bytes(), PacketSize::kUnlimited);
  f.path.Send(Probe(), kLarge, f.now);
  f.now = f.path.deadline();
  f.Deadline();
  ASSERT_TRUE(f.path.probe_wanted());
  EXPECT_EQ(f.path.probe_bytes(), 0u);
  PacketNumber bare = f.path.Send(Probe(), kBare, f.now).number;
  for (const uint32_t limit : {2000u, 1200u, 576u}) {
    f.now = f.now + kRtt;
    EXPECT_TRUE(f.Ack(bare.value, bare.value).progress);
    EXPECT_EQ(f.path.state(), Path::State::kSuspect);
    EXPECT_FALSE(f.path.CanSend(kBytes, f.now));
    const Time answered_at = f.now;
    for (int i = 0; i < PacketSize::kStrikes; ++i) {
      ASSERT_TRUE(f.path.probe_wanted());
      ASSERT_GT(f.path.probe_bytes(), 0u);
      f.path.Send(Probe(), std::min(kLarge, f.path.probe_bytes()), f.now);
      f.now = f.path.deadline();
      f.Deadline();
    }
    // At the pace of a path that speaks, not of one that is dead.
    EXPECT_LE(f.now - answered_at, PacketSize::kStrikes * f.path.rto());
    EXPECT_EQ(f.path.max_packet_bytes(), limit);
    ASSERT_TRUE(f.path.probe_wanted());
    EXPECT_EQ(f.path.probe_bytes(), 0u);
    bare = f.path.Send(Probe(), kBare, f.now).number;
  }
  // Nothing smaller is left, so it is asked now and then, as a dead one.
  f.now = f.now + kRtt;
  f.Ack(bare.value, bare.value);
  EXPECT_FALSE(f.path.probe_wanted());
  f.now = f.path.deadline();
  f.Deadline();
  EXPECT_EQ(f.path.probe_bytes(), 576u);
  const PacketNumber small = f.path.Send(Probe(), 576, f.now).number;
  f.now = f.now + kRtt;
  f.Ack(small.value, small.value);
  EXPECT_EQ(f.path.state(), Path::State::kOpen);
  EXPECT_EQ(f.path.max_packet_bytes(), 576u);
}

TEST(Path, max_packet_bytes__large_ones_die_between_small_ones) {
  Fixture f;
  f.Learn();
  for (int i = 0; i < PacketSize::kStrikes; ++i) {
    EXPECT_EQ(f.path.max_packet_bytes(), PacketSize::kUnlimited);
    const uint64_t lost =
        f.path.Send(CargoOf(f.next++), 3000, f.now).number.value;
    for (int small = 0; small < 3; ++small) {
      f.path.Send(CargoOf(f.next++), 100, f.now);
    }
    f.now = f.now + kRtt;
    f.Ack(lost + 1, lost + 3);
  }
  EXPECT_EQ(f.path.state(), Path::State::kOpen);
  EXPECT_EQ(f.path.max_packet_bytes(), 1500u);

  // Larger ones are tried again, at no cost: a probe that dies is no
  // congestion.
  EXPECT_EQ(f.path.larger_probe_bytes(8000, f.now), 0u);
  f.now = f.now + PacketSize::kFirstPause;
  EXPECT_EQ(f.path.larger_probe_bytes(1500, f.now), 0u);  // Of no use.
  ASSERT_EQ(f.path.larger_probe_bytes(8000, f.now), 8000u);
  const size_t losses = f.heard.losses.size();
  const uint64_t probe = f.path.Send(Probe(), 8000, f.now).number.value;
  EXPECT_EQ(f.path.larger_probe_bytes(8000, f.now), 0u);
  f.Send(3);
  f.now = f.now + kRtt;
  EXPECT_EQ(f.Ack(probe + 1, probe + 3).lost_packets, 1u);
  EXPECT_EQ(f.heard.losses.size(), losses);
  EXPECT_EQ(f.path.max_packet_bytes(), 1500u);

  f.now = f.now + 2 * PacketSize::kFirstPause;
  ASSERT_EQ(f.path.larger_probe_bytes(8000, f.now), 8000u);
  const uint64_t again = f.path.Send(Probe(), 8000, f.now).number.value;
  f.now = f.now + kRtt;
  f.Ack(again, again);
  EXPECT_EQ(f.path.max_packet_bytes(), PacketSize::kUnlimited);
}

TEST(Path, OnSizeWanted__a_probe_shows_what_is_safe) {
  Fixture f;
  f.Learn();
  EXPECT_EQ(f.path.larger_probe_bytes(8000, f.now), 0u);
  f.path.OnSizeWanted();
  ASSERT_EQ(f.path.larger_probe_bytes(8000, f.now), 8000u);
  const uint64_t probe = f.path.Send(Probe(), 8000, f.now).number.value;
  f.path.OnSizeWanted();
  EXPECT_EQ(f.path.larger_probe_bytes(8000, f.now), 0u);  // One at a time.
  f.now = f.now + kRtt;
  f.Ack(probe, probe);
  EXPECT_EQ(f.path.safe_bytes(), 8000u);
  f.now = f.now + PacketSize::kLastPause;
  EXPECT_EQ(f.path.larger_probe_bytes(8000, f.now), 0u);  // It is known.
}

TEST(Path, OnPeerLost__all_is_lost_without_a_word_to_congestion_control) {
  Fixture f;
  f.Send(3);
  f.path.OnPeerLost(f.out);
  EXPECT_EQ(f.out.size(), 3u);
  for (const Settled& s : f.out) EXPECT_EQ(s.fate, Fate::kLost);
  EXPECT_TRUE(f.heard.losses.empty());
  EXPECT_EQ(f.path.deadline(), Time::Never());
  Fixture g;
  g.FallSilent();
  g.path.OnPeerLost(g.out);
  EXPECT_EQ(g.path.deadline(), Time::Never());
  EXPECT_FALSE(g.path.probe_wanted());
}

TEST(Path, OnPacket__is_answered_by_TakeAck) {
  Fixture f;
  wire::PacketHeader header;
  header.number = f.path.expected();
  EXPECT_EQ(f.path.OnPacket(header, true, f.now), Arrival::kNew);
  EXPECT_EQ(f.path.OnPacket(header, false, f.now), Arrival::kDuplicate);
  EXPECT_LE(f.path.ack_deadline(), f.now);
  const auto ack = f.path.TakeAck(f.now);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->path, f.path.id());
  EXPECT_EQ(ack->ecn_marked, 1);
  EXPECT_EQ(f.path.counts().packets_received, 1u);
  EXPECT_EQ(f.path.counts().packets_duplicate, 1u);
}

TEST(Path, counts__add_up) {
  Fixture f;
  wire::Cargo resend = CargoOf(77);
  resend.resend = true;
  f.path.Send(resend, kBytes, f.now);
  f.Send(9);
  f.now = f.now + kRtt;
  f.Ack(4, 9);
  f.Ack(2, 9);
  const PathCounts& c = f.path.counts();
  EXPECT_EQ(c.packets_sent, 10u);
  EXPECT_EQ(c.bytes_sent, 10 * kBytes);
  EXPECT_EQ(c.packets_delivered, 6u);
  EXPECT_EQ(c.bytes_delivered, 6 * kBytes);
  EXPECT_EQ(c.packets_lost, 4u);
  EXPECT_EQ(c.packets_spurious, 2u);
  EXPECT_EQ(c.packets_resent, 1u);
}

// The life of a path, as transport/path/path.h draws it.
TEST(Path, State__diagram) {
  const auto name = [](const Path& path) {
    return std::string(path.state() == Path::State::kOpen ? "kOpen"
                                                          : "kSuspect");
  };
  std::string diagram;
  for (const bool suspect : {false, true}) {
    const auto draw = [&](const char* event, const auto& happen) {
      Fixture f;
      f.Learn();
      if (suspect) f.FallSilent();
      const std::string from = name(f.path);
      happen(f);
      diagram += from + " --" + event + "--> " + name(f.path) + "\n";
    };
    draw("a probe is sent",
         [](Fixture& f) { f.path.Send(Probe(), kBytes, f.now); });
    draw("an ack with news", [](Fixture& f) {
      const auto n = f.path.Send(Probe(), kBytes, f.now).number.value;
      f.Ack(n, n);
    });
    draw("an ack without", [](Fixture& f) { f.Ack(0, 0); });
    draw("an ack never due", [](Fixture& f) { f.Ack(99, 99); });
    draw("silence", [](Fixture& f) {
      f.path.Send(Probe(), kBytes, f.now);
      for (int i = 0; i < 3; ++i) {
        if (f.path.deadline() != Time::Never()) f.now = f.path.deadline();
        f.Deadline();
      }
    });
    draw("the peer is lost", [](Fixture& f) { f.path.OnPeerLost(f.out); });
  }
  EXPECT_EQ(diagram,
            "kOpen --a probe is sent--> kOpen\n"
            "kOpen --an ack with news--> kOpen\n"
            "kOpen --an ack without--> kOpen\n"
            "kOpen --an ack never due--> kOpen\n"
            "kOpen --silence--> kSuspect\n"
            "kOpen --the peer is lost--> kOpen\n"
            "kSuspect --a probe is sent--> kSuspect\n"
            "kSuspect --an ack with news--> kOpen\n"
            "kSuspect --an ack without--> kSuspect\n"
            "kSuspect --an ack never due--> kSuspect\n"
            "kSuspect --silence--> kSuspect\n"
            "kSuspect --the peer is lost--> kSuspect\n");
}

// ---------------------------------------------------------------------------
// Two paths against each other over a network that loses, delays, reorders,
// doubles and falls silent, in virtual time.

struct Weather {
  double loss, duplicate, reorder;
  Duration delay, jitter, outage;
  bool swift;
};

class World {
 public:
  World(uint64_t seed, uint32_t cargos)
      : random_(seed), weather_(MakeWeather()), ends_{End(*this), End(*this)} {
    for (End& end : ends_) end.left = cargos;
    outage_at_ =
        now_ + Duration::Micros(static_cast<int64_t>(random_.Below(20'000)));
  }

  // Until all has arrived and is known to, or a minute has passed.
  void Run() {
    const Time give_up = now_ + Duration::Seconds(60);
    int turns_without_time = 0;
    while (now_ < give_up && !Done()) {
      for (int e = 0; e < 2; ++e) Turn(e);
      if (::testing::Test::HasFatalFailure()) return;
      Time next = Time::Never();
      for (const End& end : ends_) {
        next = std::min({next, end.path.deadline(), end.path.ack_deadline()});
      }
      if (!flying_.empty()) next = std::min(next, flying_.begin()->first);
      if (next > now_) turns_without_time = 0;
      ASSERT_LT(++turns_without_time, 1'000) << "time stands still";
      now_ = std::max(now_, std::min(next, give_up));
    }
    ASSERT_TRUE(Done()) << "not finished";
    for (const End& end : ends_) {
      const PathCounts& c = end.path.counts();
      EXPECT_EQ(c.packets_sent, c.packets_delivered + c.packets_lost);
      EXPECT_EQ(end.path.in_flight_bytes(), 0u);
      EXPECT_EQ(end.settled.size(), c.packets_sent - end.probes);
    }
  }

  uint64_t times_suspect() const {
    return ends_[0].path.counts().times_suspect +
           ends_[1].path.counts().times_suspect;
  }
  uint64_t spurious() const {
    return ends_[0].path.counts().packets_spurious +
           ends_[1].path.counts().packets_spurious;
  }

 private:
  struct End {
    explicit End(World& world)
        : path({1}, world.MakeCongestion(), world.MakeOptions()) {}
    Path path;
    uint32_t left = 0;  // Cargos that have not left, or were lost.
    uint32_t next_attempt = 0;
    uint64_t probes = 0;
    std::set<uint32_t> arrived;  // Attempts, by message id.
    std::map<uint32_t, Fate> settled;
  };
  struct Flight {
    int to;
    bool is_ack;
    wire::PacketHeader header;
    wire::Ack ack;
  };

  Weather MakeWeather() {
    Weather w;
    const double worst[] = {0, 0.01, 0.1, 0.3};
    w.loss = worst[random_.Below(4)];
    w.duplicate = worst[random_.Below(3)];
    w.reorder = worst[random_.Below(4)];
    w.delay = Duration::Micros(static_cast<int64_t>(5 + random_.Below(2'000)));
    w.jitter = Duration::Micros(static_cast<int64_t>(random_.Below(3'000)));
    w.outage = Duration::Millis(static_cast<int64_t>(random_.Below(3) * 300));
    w.swift = random_.Chance(0.5);
    return w;
  }
  std::unique_ptr<CongestionControl> MakeCongestion() {
    if (weather_.swift) return std::make_unique<Swift>(Swift::Parameters{});
    return std::make_unique<FixedWindow>(
        static_cast<uint32_t>(1 + random_.Below(3'000'000)));
  }
  PathOptions MakeOptions() {
    PathOptions options = Usual();
    options.ack_every = static_cast<uint32_t>(1 + random_.Below(32));
    return options;
  }

  bool Done() const {
    return std::all_of(std::begin(ends_), std::end(ends_), [](const End& end) {
      return end.left == 0 && end.path.in_flight_bytes() == 0;
    });
  }

  void Turn(int e) {
    End& end = ends_[e];
    while (!flying_.empty() && flying_.begin()->first <= now_ &&
           flying_.begin()->second.to == e) {
      const Flight flight = flying_.begin()->second;
      flying_.erase(flying_.begin());
      Land(flight);
    }
    if (end.path.deadline() <= now_) {
      SettledList out;
      end.path.OnDeadline(now_, out, now_);
      Settle(end, out);
    }
    ASSERT_GT(end.path.deadline(), now_);
    if (end.path.probe_wanted()) {
      wire::Cargo probe = Probe();
      ++end.probes;
      Launch(e, probe, end.path.Send(probe, 64, now_));
    }
    ASSERT_FALSE(end.path.state() == Path::State::kSuspect &&
                 end.path.CanSend(1, now_));
    while (end.left > 0 && end.path.CanSend(kBytes, now_)) {
      --end.left;
      const wire::Cargo cargo = CargoOf(end.next_attempt++);
      Launch(e, cargo, end.path.Send(cargo, kBytes, now_));
    }
    if (end.path.ack_deadline() <= now_) {
      const auto ack = end.path.TakeAck(now_);
      ASSERT_TRUE(ack.has_value());
      ASSERT_GE(ack->words, 1);
      ASSERT_LE(ack->words, wire::kAckWords);
      Fly({1 - e, true, {}, *ack});
    }
    ASSERT_GT(end.path.ack_deadline(), now_);
    ASSERT_GT(end.path.deadline(), now_);
  }

  void Launch(int from, const wire::Cargo& cargo, Path::Numbered numbered) {
    ASSERT_LT(numbered.open_span, wire::kAckWindow);
    wire::PacketHeader header;
    header.number = numbered.number;
    header.open_span = numbered.open_span;
    header.cargo = cargo;
    Fly({1 - from, false, header, {}});
  }

  void Fly(const Flight& flight) {
    const bool silent =
        now_ >= outage_at_ && now_ < outage_at_ + weather_.outage;
    for (int copies = random_.Chance(weather_.duplicate) ? 2 : 1; copies > 0;
         --copies) {
      if (silent || random_.Chance(weather_.loss)) continue;
      Duration delay = weather_.delay;
      if (random_.Chance(weather_.reorder)) {
        delay += Duration::Nanos(static_cast<int64_t>(
            random_.Below(static_cast<uint64_t>(weather_.jitter.nanos()) + 1)));
      }
      flying_.emplace(now_ + delay, flight);
    }
  }

  void Land(const Flight& flight) {
    End& end = ends_[flight.to];
    if (flight.is_ack) {
      SettledList out;
      wire::Ack ack = flight.ack;  // Its low 32 bits have travelled.
      ack.largest =
          end.path.ExpandAck(static_cast<uint32_t>(ack.largest.value));
      ASSERT_TRUE(end.path.OnAck(ack, now_, out, now_).valid);
      Settle(end, out);
      return;
    }
    wire::PacketHeader header = flight.header;
    header.number =  // The low 16 bits have travelled.
        wire::ExpandNumber(static_cast<uint16_t>(header.number.value), 16,
                           end.path.expected());
    ASSERT_EQ(header.number, flight.header.number);
    const Arrival arrival = end.path.OnPacket(header, false, now_);
    if (header.cargo.kind == wire::CargoKind::kProbe) return;
    const bool first = end.arrived.insert(header.cargo.message.value).second;
    if (arrival == Arrival::kNew) {
      ASSERT_TRUE(first);
    }
    if (arrival == Arrival::kDuplicate) {
      ASSERT_FALSE(first);
    }
  }

  void Settle(End& end, const SettledList& out) {
    const End& far = ends_[&end == &ends_[0] ? 1 : 0];
    for (const Settled& s : out) {
      if (s.cargo.kind == wire::CargoKind::kProbe) continue;
      const uint32_t attempt = s.cargo.message.value;
      ASSERT_TRUE(end.settled.emplace(attempt, s.fate).second)
          << "settled twice";
      if (s.fate == Fate::kDelivered) {
        ASSERT_TRUE(far.arrived.contains(attempt)) << "never arrived";
      } else {
        ++end.left;
      }
    }
  }

  Random random_;
  Weather weather_;
  Time now_ = kStart;
  Time outage_at_;
  End ends_[2];
  std::multimap<Time, Flight> flying_;
};

TEST(Path, World__each_cargo_is_settled_once_and_truly) {
  uint64_t times_suspect = 0, spurious = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed, 1'500);
    world.Run();
    if (HasFatalFailure()) return;
    times_suspect += world.times_suspect();
    spurious += world.spurious();
  }
  // The weather was bad enough to mean something.
  EXPECT_GT(times_suspect, 100u);
  EXPECT_GT(spurious, 1'000u);
}

}  // namespace
}  // namespace hawser
