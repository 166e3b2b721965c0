#include "transport/path/window.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "transport/congestion/fixed_window.h"
#include "transport/path/path.h"

namespace hawser {
namespace {

constexpr Time kStart = Time::FromNanos(1'000'000'000);
constexpr Duration kRtt = Duration::Micros(100);
constexpr uint32_t kBytes = 1000;

// Says what it is told to say.
class Listener : public CongestionControl {
 public:
  struct Heard {
    std::vector<AckEvent> acks;
    std::vector<LossEvent> losses;
    Allowance allowance{10 * kBytes, Rate::Unlimited()};
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

// Three paths with one window between them.
struct Fixture {
  Fixture() {
    PathOptions options;
    options.rto_min = Duration::Millis(1);
    for (uint16_t p = 0; p < 3; ++p) {
      paths.emplace_back(PathId{p}, window, options);
    }
  }
  void Send(size_t path, int packets = 1,
            wire::CargoKind kind = wire::CargoKind::kData) {
    wire::Cargo cargo;
    cargo.kind = kind;
    for (int i = 0; i < packets; ++i) paths[path].Send(cargo, kBytes, now);
  }
  // `arrived`: bit i is number largest - i.
  AckSummary Ack(size_t path, uint64_t largest, uint64_t arrived) {
    wire::Ack ack;
    ack.path = paths[path].id();
    ack.largest = {largest};
    ack.arrived[0] = arrived;
    return paths[path].OnAck(ack, now, settled, now);
  }
  // Time passes until the path is suspect, while its host is heard.
  void FallSilent(size_t path) {
    for (int i = 0; paths[path].state() == Path::State::kOpen; ++i) {
      ASSERT_LT(i, 10);
      now = std::max(now, paths[path].deadline());
      paths[path].OnDeadline(now, settled, now);
    }
  }
  bool CanSend(size_t path) const { return paths[path].CanSend(kBytes, now); }

  Listener::Heard heard;
  std::shared_ptr<Window> window =
      std::make_shared<Window>(std::make_unique<Listener>(&heard));
  std::vector<Path> paths;
  SettledList settled;
  Time now = kStart;
};

TEST(Window, CanSend__all_that_is_in_flight_counts) {
  Fixture f;
  EXPECT_EQ(f.window->paths(), 3u);
  EXPECT_EQ(f.paths[1].window_bytes(), 10 * kBytes / 3);
  f.Send(0, 5);
  f.Send(1, 4);
  EXPECT_TRUE(f.CanSend(2));
  f.Send(2);
  for (size_t p : {0, 1, 2}) EXPECT_FALSE(f.CanSend(p)) << p;
  f.now = f.now + kRtt;
  f.Ack(1, 0, 1);
  for (size_t p : {0, 1, 2}) EXPECT_TRUE(f.CanSend(p)) << p;
  EXPECT_EQ(f.window->in_flight_bytes(), 9 * kBytes);
}

TEST(Window, CanSend__a_lone_packet_of_all_may_exceed_it) {
  Fixture f;
  f.heard.allowance = {10, Rate::Unlimited()};
  f.Send(0);
  f.now = f.now + kRtt;
  f.Ack(0, 0, 1);
  EXPECT_EQ(f.window->bytes(), 10u);
  EXPECT_TRUE(f.CanSend(1));
  f.Send(1);
  EXPECT_FALSE(f.CanSend(0));
}

TEST(Window, CanSend__one_pacer_for_all) {
  Fixture f;
  // A byte in a microsecond.
  f.heard.allowance = {100, Rate::BitsPerSecond(8'000'000)};
  f.Send(0);
  f.now = f.now + kRtt;
  f.Ack(0, 0, 1);
  f.Send(1);
  f.now = f.now + kRtt;
  f.Ack(1, 0, 1);
  EXPECT_FALSE(f.CanSend(2));
  const Time due = f.paths[2].deadline();
  EXPECT_GT(due, f.now);
  EXPECT_EQ(due, f.window->deadline(f.now));
  f.now = due;
  EXPECT_TRUE(f.CanSend(2));
}

TEST(Window, OnAck__is_told_what_all_have_in_flight) {
  Fixture f;
  f.Send(0, 2);
  f.Send(1, 3);
  f.now = f.now + kRtt;
  f.Ack(0, 1, 0b11);
  ASSERT_EQ(f.heard.acks.size(), 1u);
  EXPECT_EQ(f.heard.acks[0].in_flight_bytes, 5 * kBytes);
  EXPECT_EQ(f.heard.acks[0].acked_bytes, 2 * kBytes);
  EXPECT_EQ(f.window->in_flight_bytes(), 3 * kBytes);
}

TEST(Window, OnLoss__what_is_lost_is_in_flight_no_more) {
  Fixture f;
  f.Send(0, 5);
  f.Send(1);
  f.now = f.now + kRtt;
  EXPECT_EQ(f.Ack(0, 4, 0b1).lost_packets, 2u);
  ASSERT_EQ(f.heard.losses.size(), 1u);
  EXPECT_EQ(f.window->in_flight_bytes(), 3 * kBytes);
  // Come after all, they do not count twice.
  EXPECT_EQ(f.Ack(0, 4, 0b11111).spurious_packets, 2u);
  EXPECT_EQ(f.window->in_flight_bytes(), kBytes);
}

TEST(Window, OnSilence__of_one_path_leaves_it_open) {
  Fixture f;
  f.Send(0, 2);
  f.Send(1);
  f.now = f.now + kRtt;
  f.Ack(1, 0, 1);  // Another path of the plane is heard.
  f.FallSilent(0);
  EXPECT_FALSE(f.window->shut());
  EXPECT_EQ(f.window->in_flight_bytes(), 0u);
  EXPECT_TRUE(f.CanSend(1));
  ASSERT_EQ(f.heard.losses.size(), 1u);
  EXPECT_TRUE(f.heard.losses[0].by_timeout);
}

TEST(Window, OnSilence__of_all_shuts_it_until_any_answers) {
  Fixture f;
  f.Send(0, 2);
  f.FallSilent(0);
  EXPECT_TRUE(f.window->shut());
  EXPECT_FALSE(f.CanSend(1));
  f.Send(1, 1, wire::CargoKind::kProbe);  // A probe may leave.
  f.now = f.now + kRtt;
  f.Ack(1, 0, 1);
  EXPECT_FALSE(f.window->shut());
  EXPECT_TRUE(f.CanSend(1));
  EXPECT_FALSE(f.CanSend(0));  // It has not answered.
}

// Five in a row would make Swift begin anew.
TEST(Window, OnSilence__of_a_plane_is_told_once) {
  Fixture f;
  for (size_t p : {0, 1, 2}) f.Send(p, 2);
  for (size_t p : {0, 1, 2}) f.FallSilent(p);
  EXPECT_TRUE(f.window->shut());
  EXPECT_EQ(f.heard.losses.size(), 1u);
  EXPECT_EQ(f.window->in_flight_bytes(), 0u);
}

TEST(Window, OnSilence__a_path_that_was_silent_before_opens_nothing) {
  Fixture f;
  f.Send(0, 2);
  const Time first = f.now;
  f.now = f.now + kRtt;
  f.Send(1);
  f.now = f.now + kRtt;
  f.Ack(1, 0, 1);
  f.Send(1);
  f.FallSilent(1);
  ASSERT_TRUE(f.window->shut());
  f.window->OnSilence(first, {f.now, kBytes, true});
  EXPECT_TRUE(f.window->shut());
}

TEST(Window, OnSilence__what_binds_nobody_never_shuts) {
  Window window;
  for (int path = 0; path < 2; ++path) window.OnJoined();
  window.OnSent(1u << 30, kStart);
  window.OnSilence(kStart, {kStart, kBytes, true});
  EXPECT_TRUE(window.CanSend(kBytes, kStart));
  EXPECT_EQ(window.deadline(kStart), Time::Never());
}

TEST(Window, OnSilence__a_window_of_one_path_stays) {
  Window window(std::make_unique<FixedWindow>(kBytes));
  window.OnJoined();
  window.OnSilence(kStart, {kStart, kBytes, true});
  EXPECT_FALSE(window.shut());
}

// Who shares a window below a packet would never send again.
TEST(Window, probes_of_a_suspect_path_are_outside_of_it) {
  Fixture f;
  f.Send(0, 2);
  f.Send(1);
  f.now = f.now + kRtt;
  f.Ack(1, 0, 1);
  f.FallSilent(0);
  f.Send(0, 2, wire::CargoKind::kProbe);
  EXPECT_EQ(f.window->in_flight_bytes(), 0u);
  f.now = f.now + kRtt;
  // One is answered: the path is open, and the other counts from now on.
  f.Ack(0, 2, 0b1);
  EXPECT_EQ(f.paths[0].state(), Path::State::kOpen);
  EXPECT_EQ(f.window->in_flight_bytes(), kBytes);
  f.Ack(0, 3, 0b11);
  EXPECT_EQ(f.window->in_flight_bytes(), 0u);
}

TEST(Window, a_lost_peer_has_nothing_in_flight) {
  Fixture f;
  f.Send(0, 2);
  f.Send(1);
  for (Path& path : f.paths) path.OnPeerLost(f.settled);
  EXPECT_EQ(f.window->in_flight_bytes(), 0u);
}

}  // namespace
}  // namespace hawser
