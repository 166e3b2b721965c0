// What some ports can do and others cannot; run.sh says which
// (HAWSER_TEST_DPDK_CAN).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/dpdk/wire.h"
#include "transport/datapath/dpdk/steering.h"

namespace hawser {
namespace {

bool Can(const std::string& what) {
  return Setting("HAWSER_TEST_DPDK_CAN").find(what) != std::string::npos;
}

class PortTest : public testing::Test {
 protected:
  static constexpr PeerId kPeer{1};

  void SetUp() override {
    planes_ = OpenPlanes(/*entropies=*/1);
    if (planes_.empty()) GTEST_SKIP() << "no ports";
    left_ = planes_.front().get();
    right_ = planes_.back().get();
    ASSERT_TRUE(left_->OpenPeer(kPeer, right_->address()));
    ASSERT_TRUE(right_->OpenPeer(kPeer, left_->address()));
    // Links come up, and neighbours find each other.
    size_t count = 0;
    for (int i = 0; i < 2000 && count == 0; ++i) {
      Send();
      IsCalled(Duration::Millis(10));
      count = Receive();
    }
    ASSERT_GT(count, 0u) << "nothing arrives";
    // Until all that is on its way has come.
    for (int i = 0; i < 100 && IsCalled(Duration::Millis(50)); ++i) Receive();
  }
  void Send() {
    const std::array<std::byte, 64> bytes = {};
    TxPacket packet;
    packet.peer = kPeer;
    packet.header = bytes;
    left_->Send({&packet, 1});
  }
  // All but the right one have a turn: frames may come by their queues.
  void TurnOthers() {
    for (const auto& plane : planes_) {
      if (plane.get() != right_) plane->Receive({});
    }
  }
  bool IsCalled(Duration limit) {
    constexpr Duration kTurn = Duration::Millis(5);
    for (Duration waited; waited < limit; waited += kTurn) {
      TurnOthers();
      if (WaitReadable(right_->poll_fd(), kTurn)) return true;
    }
    return false;
  }
  size_t Receive() {
    TurnOthers();
    const size_t count = right_->Receive(received_);
    right_->Recycle();
    return count;
  }

  std::vector<std::unique_ptr<Datapath>> planes_;
  Datapath *left_ = nullptr, *right_ = nullptr;
  std::array<RxPacket, 8> received_;
};

// But for frames that are not ours: the kernel has some to say on veth.
TEST_F(PortTest, WhoAwaitsIsCalledForAPacketAndForLittleElse) {
  if (!Can("call")) GTEST_SKIP() << "this port must be looked at";
  constexpr int kLittle = 5;
  for (int i = 0; i < 20; ++i) {
    int calls = 0;
    right_->Await();
    while (IsCalled(Duration::Millis(20))) {
      ASSERT_EQ(Receive(), 0u);
      ASSERT_LT(++calls, kLittle) << i;
      right_->Await();
    }
    Send();
    size_t count = 0;
    for (int tries = 0; tries < kLittle && count == 0; ++tries) {
      ASSERT_TRUE(IsCalled(Duration::Seconds(2))) << i;
      count = Receive();
      if (count == 0) right_->Await();
    }
    ASSERT_EQ(count, 1u) << i;
  }
}

TEST_F(PortTest, WhatCameBeforeItAwaitedIsNotForgotten) {
  for (int i = 0; i < 20; ++i) {
    Send();
    TurnOthers();
    right_->Await();
    size_t count = 0;
    for (int tries = 0; tries < 1000 && count == 0; ++tries) {
      ASSERT_TRUE(IsCalled(Duration::Seconds(2))) << i;
      count = Receive();
      if (count == 0) right_->Await();
    }
    ASSERT_EQ(count, 1u) << i;
  }
}

// Which its port could not carry from one to the other.
TEST_F(PortTest, EnginesOfOnePortReachEachOther) {
  if (PortQueues() < 2) GTEST_SKIP() << "one engine to a port";
  Datapath& other = *planes_[1];
  ASSERT_TRUE(left_->OpenPeer(kPeer, other.address()));
  for (int i = 0; i < 20; ++i) {
    other.Await();
    Send();
    ASSERT_TRUE(WaitReadable(other.poll_fd(), Duration::Seconds(2))) << i;
    size_t count = 0;
    for (int tries = 0; tries < 5 && count == 0; ++tries) {
      count = other.Receive(received_);
    }
    ASSERT_EQ(count, 1u) << i;
    EXPECT_EQ(received_[0].bytes.size(), 64u);
    other.Recycle();
  }
}

TEST_F(PortTest, OtherNumbersOfQueuesAreRefused) {
  planes_.clear();
  const auto ports = ParseDpdkPorts(Setting("HAWSER_TEST_DPDK_PORTS"));
  const auto library = DpdkLibrary::Load(Setting("HAWSER_TEST_DPDK_EAL"));
  ASSERT_TRUE(ports.ok() && library.ok());
  DpdkOptions options = OptionsOf(ports->front(), /*entropies=*/1);
  for (const int queues : {0, 17}) {
    options.queues = static_cast<uint16_t>(queues);
    EXPECT_THAT((*library)->Open(options).status().message(),
                testing::HasSubstr("1 to 16 queues"));
  }
  for (const int queues : {PortQueues() - 1, PortQueues() + 1}) {
    if (queues == 0) continue;
    options.queues = static_cast<uint16_t>(queues);
    EXPECT_THAT((*library)->Open(options).status().message(),
                testing::HasSubstr("which cannot be changed"));
  }
  options.queues = PortQueues();
  EXPECT_TRUE((*library)->Open(options).ok());
}

// What the first engine of the left port sends to the last of the right one
// comes by the queue of the right one's first, who hands it over.
class HandOver : public PortTest {
 protected:
  void SetUp() override {
    PortTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!Can("pair") || PortQueues() == 1)
      GTEST_SKIP() << "nothing is handed over";
    owner_ = planes_[PortQueues()].get();
  }
  Datapath* owner_ = nullptr;
};

TEST_F(HandOver, WhatFindsNoRoomIsMissedAndNotHandedOver) {
  constexpr uint64_t kFrames = Steering::kWaiting + 100;
  const DatapathCounts before = owner_->counts();
  for (uint64_t i = 0; i < kFrames; ++i) {
    Send();
    TurnOthers();
  }
  const DatapathCounts after = owner_->counts();
  const uint64_t handed = after.frames_handed_over - before.frames_handed_over;
  EXPECT_EQ(handed, Steering::kWaiting);
  EXPECT_EQ(after.port_missed - before.port_missed, kFrames - handed);
  size_t received = 0;
  while (const size_t count = Receive()) received += count;
  EXPECT_EQ(received, handed);
}

TEST_F(HandOver, KeepsNobodyFromItsOwnQueue) {
  // Of the queue that is paired with right_'s own.
  Datapath& twin = *planes_[PortQueues() - 1];
  ASSERT_TRUE(twin.OpenPeer(kPeer, right_->address()));
  const std::array<std::byte, 32> bytes = {};
  const TxPacket packet{.peer = kPeer, .header = bytes, .payload = {}};
  const auto receive = [&] {
    TurnOthers();
    size_t own = 0;
    for (size_t i = right_->Receive(received_); i-- > 0;) {
      own += received_[i].bytes.size() == bytes.size();
    }
    right_->Recycle();
    return own;
  };
  size_t own = 0;
  for (int i = 0; i < 2000 && own == 0; ++i) {
    twin.Send({&packet, 1});
    own = receive();
    IsCalled(Duration::Millis(1));
  }
  ASSERT_GT(own, 0u);
  while (Receive() > 0) {
  }
  for (size_t i = 0; i < 8 * received_.size(); ++i) {
    Send();
    TurnOthers();
  }
  twin.Send({&packet, 1});
  EXPECT_EQ(receive(), 1u);
}

}  // namespace
}  // namespace hawser
