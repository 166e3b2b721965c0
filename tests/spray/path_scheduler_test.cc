#include "transport/spray/path_scheduler.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "transport/congestion/fixed_window.h"

namespace hawser {
namespace {

// Notes what it is told.
class Listener : public PathScheduler {
 public:
  PathId Pick(const PathView&, Time) override { return kNoPath; }
  void OnFeedback(PathId path, PathFeedback feedback, uint32_t packets,
                  Duration rtt) override {
    heard += "gmls"[static_cast<int>(feedback)] + std::to_string(packets) +
             "@" + std::to_string(path.value) + "/" +
             std::to_string(rtt.nanos() / 1000) + " ";
  }
  std::string heard;
};

struct Fixture {
  // Sends `packets`; an ack comes 20 us later.
  explicit Fixture(int packets) {
    wire::Cargo cargo;
    for (int i = 0; i < packets; ++i) path.Send(cargo, 1000, sent_at);
  }
  std::string Ack(uint64_t arrived, uint32_t largest, uint16_t marked) {
    wire::Ack ack;
    ack.path = path.id();
    ack.largest = {largest};
    ack.arrived[0] = arrived;
    ack.ecn_marked = marked;
    const Time now = sent_at + Duration::Micros(20);
    return Told(path.OnAck(ack, now, settled, now));
  }
  std::string Told(const AckSummary& summary) {
    Listener listener;
    Tell(listener, path, summary);
    return listener.heard;
  }
  Time sent_at = Time::FromNanos(1'000'000);
  SettledList settled;
  Path path{{5}, std::make_unique<FixedWindow>(1 << 20), PathOptions()};
};

TEST(Tell, acked_and_marked) {
  EXPECT_EQ(Fixture(8).Ack(0xff, 7, 0), "g8@5/20 ");
  EXPECT_EQ(Fixture(8).Ack(0xff, 7, 3), "g5@5/20 m3@5/20 ");
  EXPECT_EQ(Fixture(8).Ack(0xff, 7, 8), "m8@5/20 ");
}

// An ack that died spoke of some that were marked; the next one counts them.
TEST(Tell, more_marks_than_acks) {
  EXPECT_EQ(Fixture(8).Ack(0x3, 1, 5), "m5@5/20 ");
}

TEST(Tell, a_gap_is_loss) {
  EXPECT_EQ(Fixture(8).Ack(0x9f, 7, 0), "g6@5/20 l2@5/20 ");
}

TEST(Tell, no_news_is_nothing) {
  Fixture f(8);
  f.Ack(0xff, 7, 0);
  EXPECT_EQ(f.Ack(0xff, 7, 0), "");
}

TEST(Tell, silence_is_silence) {
  Fixture f(3);
  Time now = f.sent_at;
  std::string told;
  for (int i = 0; i < 10 && told.empty(); ++i) {
    now = f.path.deadline();
    told = f.Told(f.path.OnDeadline(now, f.settled, now));
  }
  EXPECT_EQ(told, "s3@5/0 ");
}

}  // namespace
}  // namespace hawser
