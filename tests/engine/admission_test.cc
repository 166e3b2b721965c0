#include "transport/engine/admission.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace hawser {
namespace {

constexpr Duration kLong = Duration::Millis(10);
// 80 us at 10 Gb/s.
constexpr uint64_t kTrip = 100'000;

// Peers whose round trip is 60 us, and 20 more are the hosts' own.
class AdmissionTest : public testing::Test {
 protected:
  Peer& AddPeer(bool expected = true) {
    Peer& peer = *peers_.emplace_back(std::make_unique<Peer>(Duration()));
    admission_.OnRtt(peer, Duration::Micros(60));
    if (expected) admission_.OnExpected();
    return peer;
  }
  FlowRecord& AddFlow(Peer& peer) {
    FlowRecord& record = *records_.emplace_back(std::make_unique<FlowRecord>());
    record.peer = &peer;
    record.receive = std::make_unique<ReceiveFlow>(FlowId{0});
    record.receive->OnPosted(&record.queue.slots[0]);
    return record;
  }
  // Of a message, or the rest of it.
  void OnPart(FlowRecord& record, bool last = false) {
    Request& request = record.queue.slots[0];
    request.memory = {memory_, sizeof(memory_), 0};
    if (!last) {
      record.receive->Admit(ReceiveFlow::kNoLimit);
      record.receive->Next();
    }
    wire::Cargo cargo;
    cargo.offset = last ? 16 : 0;
    cargo.length = 16;
    record.receive->OnData(cargo, last, {memory_, 16});
    admission_.OnData(record, now_);
  }
  uint64_t AheadOf(const FlowRecord& record) {
    return admission_.AheadOf(record, now_);
  }

  std::byte memory_[32] = {};
  Time now_ = Time() + Duration::Seconds(1);
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<std::unique_ptr<FlowRecord>> records_;
  Admission admission_{Rate::GigabitsPerSecond(10)};
};

TEST_F(AdmissionTest, AheadOf__who_alone_is_expected_has_no_limit) {
  FlowRecord& only = AddFlow(AddPeer());
  EXPECT_EQ(AheadOf(only), ReceiveFlow::kNoLimit);
  OnPart(only);
  EXPECT_EQ(AheadOf(only), ReceiveFlow::kNoLimit);
}

TEST_F(AdmissionTest, AheadOf__where_no_rate_is_known_there_is_no_limit) {
  Admission admission(Rate::Unlimited());
  FlowRecord& a = AddFlow(AddPeer());
  FlowRecord& b = AddFlow(AddPeer());
  for (FlowRecord* record : {&a, &b}) {
    admission.OnExpected();
    admission.OnData(*record, now_);
  }
  EXPECT_EQ(admission.AheadOf(a, now_), ReceiveFlow::kNoLimit);
}

TEST_F(AdmissionTest, AheadOf__one_of_several_may_begin_with_a_round_trip) {
  FlowRecord& one = AddFlow(AddPeer());
  for (int peers = 2; peers <= 8; ++peers) {
    AddPeer();
    EXPECT_EQ(AheadOf(one), kTrip);
  }
  for (int peers = 9; peers <= 16; ++peers) AddPeer();
  EXPECT_EQ(AheadOf(one), kTrip / 2);
  for (int peers = 17; peers <= 1000; ++peers) AddPeer();
  EXPECT_EQ(AheadOf(one), 2048u);
}

TEST_F(AdmissionTest, AheadOf__a_new_peer_is_taken_to_be_near) {
  Admission admission(Rate::GigabitsPerSecond(10));
  Peer fresh{Duration()}, known{Duration()};
  for (int peers = 0; peers < 2; ++peers) admission.OnExpected();
  const FlowRecord& flow = AddFlow(fresh);
  EXPECT_EQ(admission.AheadOf(flow, now_), kTrip / 2);
  admission.OnRtt(known, Duration::Micros(60));
  EXPECT_EQ(admission.AheadOf(flow, now_), kTrip);
}

TEST_F(AdmissionTest, AheadOf__who_alone_sends_has_no_limit) {
  Peer& peer = AddPeer();
  FlowRecord& sends = AddFlow(peer);
  FlowRecord& other_of_its = AddFlow(peer);
  FlowRecord& waits = AddFlow(AddPeer());
  OnPart(sends);
  EXPECT_EQ(AheadOf(sends), ReceiveFlow::kNoLimit);
  EXPECT_EQ(AheadOf(other_of_its), ReceiveFlow::kNoLimit);
  EXPECT_EQ(AheadOf(waits), kTrip);
}

TEST_F(AdmissionTest, AheadOf__those_who_send_share_two_round_trips) {
  FlowRecord& a = AddFlow(AddPeer());
  FlowRecord& b = AddFlow(AddPeer());
  FlowRecord& c = AddFlow(*b.peer);
  FlowRecord& waits = AddFlow(AddPeer());
  OnPart(a);
  OnPart(b);
  EXPECT_EQ(AheadOf(a), kTrip);
  EXPECT_EQ(AheadOf(b), kTrip);
  EXPECT_EQ(AheadOf(waits), 2 * kTrip / 3);
  OnPart(c);
  EXPECT_EQ(AheadOf(a), 2 * kTrip / 3);
  // Between two messages it takes nothing from others, and makes none of them
  // the only one.
  OnPart(b, /*last=*/true);
  OnPart(c, /*last=*/true);
  EXPECT_EQ(AheadOf(a), 2 * kTrip);
}

TEST_F(AdmissionTest, AheadOf__each_by_its_own_round_trip) {
  FlowRecord& near = AddFlow(AddPeer());
  FlowRecord& far = AddFlow(AddPeer());
  // What a queue may be is none.
  far.peer->least_rtt = Duration::Micros(240);
  EXPECT_EQ(AheadOf(far), kTrip);
  far.peer->least_rtt = Duration::Micros(780);
  OnPart(near);
  OnPart(far);
  EXPECT_EQ(AheadOf(near), kTrip);
  EXPECT_EQ(AheadOf(far), 10 * kTrip);
}

TEST_F(AdmissionTest, AheadOf__who_fell_silent_does_not_send) {
  FlowRecord& stays = AddFlow(AddPeer());
  FlowRecord& goes = AddFlow(AddPeer());
  OnPart(stays);
  OnPart(goes);
  EXPECT_EQ(AheadOf(stays), kTrip);
  now_ = now_ + kLong;
  OnPart(stays);
  EXPECT_EQ(AheadOf(stays), ReceiveFlow::kNoLimit);
  EXPECT_EQ(AheadOf(goes), kTrip);
  OnPart(goes);
  EXPECT_EQ(AheadOf(stays), kTrip);
}

TEST_F(AdmissionTest, OnUnexpected__who_is_left_has_no_limit) {
  FlowRecord& one = AddFlow(AddPeer());
  AddPeer();
  EXPECT_EQ(AheadOf(one), kTrip);
  admission_.OnUnexpected();
  EXPECT_EQ(AheadOf(one), ReceiveFlow::kNoLimit);
}

TEST_F(AdmissionTest, OnClosed__is_forgotten_at_once) {
  FlowRecord& stays = AddFlow(AddPeer());
  FlowRecord& goes = AddFlow(AddPeer());
  OnPart(stays);
  OnPart(goes);
  admission_.OnClosed(goes);
  admission_.OnClosed(goes);
  EXPECT_EQ(AheadOf(stays), ReceiveFlow::kNoLimit);
}

}  // namespace
}  // namespace hawser
