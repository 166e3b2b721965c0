// The runner's own promises, over a plane that does nothing but count.
#include "transport/engine/runner.h"

#include <dirent.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <fstream>

#include "tests/engine/loopback.h"

namespace hawser {
namespace {

// Nothing comes and nothing goes; its descriptor is readable when it is told.
class QuietPlane final : public Datapath {
 public:
  QuietPlane() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~QuietPlane() override { close(fd_); }
  PlaneAddress address() const override { return {}; }
  uint16_t entropies() const override { return 1; }
  uint32_t max_packet_bytes(PeerId) const override { return 1472; }
  uint32_t burst_packets(PeerId) const override { return 1; }
  size_t tx_room() const override { return room_.load(); }
  DatapathCounts counts() const override { return {}; }
  int poll_fd() const override { return fd_; }
  bool OpenPeer(PeerId, const PlaneAddress&) override { return true; }
  void ClosePeer(PeerId) override {}
  void Send(std::span<const TxPacket> batch) override {
    sent_.fetch_add(static_cast<int>(batch.size()));
    if (!narrow_) return;
    room_.store(0);
    Arrive();
  }
  size_t Receive(std::span<RxPacket>) override {
    uint64_t count;
    if (read(fd_, &count, sizeof count) > 0) {
      arrivals_.fetch_add(1);
      room_.store(kRoom);
    }
    return 0;
  }
  void Recycle() override {}

  void Arrive() const {
    const uint64_t one = 1;
    EXPECT_EQ(write(fd_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }
  int arrivals() const { return arrivals_.load(); }
  // From now on each Send fills it, until the next Receive.
  void Narrow() { narrow_ = true; }
  int sent() const { return sent_.load(); }

 private:
  static constexpr size_t kRoom = 1000;
  const int fd_;
  std::atomic<size_t> room_{kRoom};
  std::atomic<int> sent_{0};
  bool narrow_ = false;
  std::atomic<int> arrivals_{0};
};

struct Made {
  QuietPlane* plane;
  std::unique_ptr<Runner> runner;
  const EngineMetrics* metrics = nullptr;
  uint64_t turns() const {
    return runner->WithTurn(
        [](Engine& engine) { return engine.metrics().turns.value(); });
  }
};

Made Make(const Config& config) {
  auto plane = std::make_unique<QuietPlane>();
  Made made = {plane.get(), nullptr, nullptr};
  std::vector<std::unique_ptr<Datapath>> planes;
  planes.push_back(std::move(plane));
  auto runner = Runner::Start(config, {1, 2}, 0, std::move(planes), 3);
  EXPECT_TRUE(runner.ok()) << runner.status();
  made.runner = *std::move(runner);
  made.metrics =
      made.runner->WithTurn([](Engine& engine) { return &engine.metrics(); });
  return made;
}

Config WithPoll(const char* poll, int assist = 1) {
  Config config;
  config.poll = poll;
  config.assist = assist;
  return config;
}

// Something of the thread, as the system tells it.
std::string OfTheThread(const std::string& file, const std::string& key) {
  DIR* dir = opendir("/proc/self/task");
  std::string found;
  while (const dirent* entry = readdir(dir)) {
    const std::string folder = std::string("/proc/self/task/") + entry->d_name;
    std::string name, line;
    std::ifstream(folder + "/comm") >> name;
    if (name != "hawser") continue;
    std::ifstream in(folder + "/" + file);
    while (std::getline(in, line)) {
      if (line.starts_with(key)) found = line;
    }
  }
  closedir(dir);
  return found;
}

TEST(Runner, ThreadHasANameAndNoSignals) {
  const Made made = Make({});
  EXPECT_TRUE(Until([] { return OfTheThread("comm", "") == "hawser 0"; }));
  // SIGTERM, 15, and SIGINT, 2, are the application's.
  const std::string mask = OfTheThread("status", "SigBlk:");
  ASSERT_FALSE(mask.empty());
  const uint64_t blocked = std::stoull(mask.substr(7), nullptr, 16);
  EXPECT_TRUE(blocked & (uint64_t{1} << 14));
  EXPECT_TRUE(blocked & (uint64_t{1} << 1));
}

TEST(Runner, IdleOneTakesNoTurns) {
  for (const char* poll : {"adaptive", "event"}) {
    const Made made = Make(WithPoll(poll));
    StayAway(50);
    const uint64_t before = made.turns();
    StayAway(200);
    // The question itself may cause one.
    EXPECT_LE(made.turns(), before + 2) << poll;
  }
}

TEST(Runner, BusyOneTakesTurnsAllTheTime) {
  const Made made = Make(WithPoll("busy"));
  const uint64_t before = made.turns();
  EXPECT_TRUE(Until([&] { return made.turns() > before + 10'000; }));
}

TEST(Runner, PlaneWakesIt) {
  for (const char* poll : {"adaptive", "event", "busy"}) {
    const Made made = Make(WithPoll(poll));
    for (int i = 1; i <= 100; ++i) {
      if (i % 10 == 0) StayAway(2);
      made.plane->Arrive();
      ASSERT_TRUE(Until([&] { return made.plane->arrivals() >= i; })) << poll;
    }
  }
}

TEST(Runner, MailWakesIt) {
  for (const int assist : {0, 1}) {
    const Made made = Make(WithPoll("event", assist));
    FlowRecord* record = nullptr;
    made.runner->WithTurn([&](Engine& engine) {
      auto peer = engine.AddPeer({5, 6}, 0, Time());
      record = *engine.AddFlow(**peer, Direction::kSend);
    });
    for (int i = 0; i < 200; ++i) {
      if (i % 20 == 0) StayAway(2);
      // In its nap, asleep, or about to be either.
      if (i % 3 == 0) made.runner->Assist();
      made.runner->Ring(&record->queue);
      ASSERT_TRUE(Until([&] { return !record->queue.waiting.load(); }, 5'000));
    }
    made.runner->WithTurn(
        [&](Engine& engine) { engine.CloseFlow(*record, Time()); });
  }
}

// A turn that others had may have made something due. The thread, which has
// just looked and goes to sleep, must look again.
TEST(Runner, OwnTurnFollowsThatOfAnother) {
  for (const char* poll : {"adaptive", "event"}) {
    const Made made = Make(WithPoll(poll));
    for (int i = 0; i < 3000; ++i) {
      made.plane->Arrive();
      const uint64_t before = made.turns();
      made.runner->Wake();
      // Read without a turn, which would wake it.
      ASSERT_TRUE(
          Until([&] { return made.metrics->turns.value() > before; }, 5'000))
          << poll << " " << i;
    }
  }
}

// An assistant keeps the thread out of the way, and no longer.
TEST(Runner, ThreadReturnsWhenNobodyAssists) {
  const Made made = Make(WithPoll("event"));
  for (int i = 1; i <= 50; ++i) {
    for (int turn = 0; turn < 20; ++turn) made.runner->Assist();
    made.plane->Arrive();
    ASSERT_TRUE(Until([&] { return made.plane->arrivals() >= i; }));
  }
}

TEST(Runner, AssistantsAreRefusedWhereTheyAreNotWanted) {
  for (const Config& config : {WithPoll("event", 0), WithPoll("busy", 1)}) {
    const Made made = Make(config);
    made.runner->Leave();
    made.runner->Join();
    const uint64_t before = made.turns();
    for (int i = 0; i < 10; ++i) made.runner->Assist();
    EXPECT_EQ(made.turns(), before);
  }
}

TEST(Runner, LeavesOnce) {
  const Made made = Make({});
  const auto begin = Clock::now();
  made.runner->Leave();
  made.runner->Leave();
  made.runner->Join();
  made.runner->Join();
  EXPECT_EQ(OfTheThread("comm", ""), "");
  const uint64_t before = made.turns();
  made.runner->Assist();
  made.runner->Wake();
  EXPECT_EQ(made.turns(), before);
  // Nobody knows it, so nobody needs it.
  EXPECT_LT(MillisSince(begin), 1000);
}

TEST(Runner, GoodbyesWaitForRoom) {
  Made made = Make(WithPoll("event"));
  made.runner->WithTurn([&](Engine& engine) {
    Peer* peer = *engine.AddPeer({5, 6}, 0, Time());
    wire::Introduction words;
    words.planes.emplace_back();
    words.paths = 4;
    EXPECT_TRUE(engine.OpenPeer(*peer, words, Time()).ok());
    made.plane->Narrow();
  });
  made.runner->Leave();
  made.runner->Join();
  EXPECT_EQ(made.plane->sent(), 3);
}

TEST(Runner, ManyComeAndGo) {
  for (int i = 0; i < 100; ++i) Make(WithPoll(i % 2 == 0 ? "event" : "busy"));
}

}  // namespace
}  // namespace hawser
