#include "transport/message/receive_flow.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "transport/base/copy_lines.h"
#include "transport/base/random.h"
#include "transport/message/send_flow.h"

namespace hawser {
namespace {

using Outcome = Request::Outcome;
using Placed = ReceiveFlow::Placed;
using State = Request::State;
using wire::Cargo;
using Bytes = std::vector<std::byte>;

constexpr FlowId kOurs{3};
constexpr std::byte kCanary{0xee};

// A flow, and receives posted to it, each with a guard behind its buffer.
class ReceiveFlowTest : public testing::Test {
 protected:
  static constexpr size_t kGuardBytes = 64;

  struct Posted {
    Request request;
    Bytes memory;
  };

  Posted* Post(uint32_t capacity_bytes, bool watched = true) {
    Posted* posted = PostUnadmitted(capacity_bytes, watched);
    EXPECT_EQ(flow_.Admit(ReceiveFlow::kNoLimit), 0u);
    return posted;
  }
  Posted* PostUnadmitted(uint32_t capacity_bytes, bool watched = true) {
    Posted& posted = posted_.emplace_back();
    posted.memory.assign(capacity_bytes + kGuardBytes, kCanary);
    posted.request.state = State::kSubmitted;
    posted.request.watched = watched;
    posted.request.memory = {posted.memory.data(), capacity_bytes, 0};
    flow_.OnPosted(&posted.request);
    return &posted;
  }
  // Post, and let the grant go.
  Posted* PostGranted(uint32_t capacity_bytes, bool watched = true) {
    Posted* posted = Post(capacity_bytes, watched);
    EXPECT_TRUE(flow_.Next().has_value());
    return posted;
  }
  // `length` bytes of a message of `message_bytes` whose byte n is ByteAt(n).
  Placed Data(uint32_t message, uint32_t offset, uint32_t length,
              uint32_t message_bytes) {
    Bytes payload(length);
    for (uint32_t i = 0; i < length; ++i) payload[i] = ByteAt(offset + i);
    const bool last = offset + length == message_bytes;
    return flow_.OnData(CargoOf(message, offset, length), last, payload);
  }
  static Cargo CargoOf(uint32_t message, uint32_t offset, uint32_t length) {
    Cargo cargo;
    cargo.flow = kOurs;
    cargo.message = MessageId{message};
    cargo.offset = offset;
    cargo.length = length;
    return cargo;
  }
  static std::byte ByteAt(uint32_t offset) {
    return static_cast<std::byte>(offset * 7 % 251 % 200);  // Never kCanary.
  }
  // So much is admitted by the next grant, which is of that message.
  void ExpectAdmitted(uint32_t message, uint32_t bytes) {
    EXPECT_TRUE(flow_.ready());
    const auto grant = flow_.Next();
    ASSERT_TRUE(grant.has_value());
    EXPECT_EQ(grant->message.value, message);
    EXPECT_FALSE(grant->resend);
    EXPECT_EQ(flow_.Describe(*grant).admitted_bytes, bytes);
  }
  void ExpectGrant(uint32_t message, bool resend) {
    EXPECT_TRUE(flow_.ready());
    const auto grant = flow_.Next();
    ASSERT_TRUE(grant.has_value());
    EXPECT_EQ(grant->kind, wire::CargoKind::kGrant);
    EXPECT_EQ(grant->flow, kOurs);
    EXPECT_EQ(grant->message.value, message);
    EXPECT_EQ(grant->resend, resend);
    EXPECT_EQ(grant->length, 0u);
  }
  Cargo ExpectGrants(uint32_t first, uint32_t more, bool resend) {
    const auto grant = flow_.Next();
    EXPECT_TRUE(grant.has_value());
    EXPECT_EQ(grant->message.value, first);
    EXPECT_EQ(grant->length, more);
    EXPECT_EQ(grant->resend, resend);
    return *grant;
  }
  void ExpectNothing() {
    EXPECT_FALSE(flow_.ready());
    EXPECT_FALSE(flow_.Next().has_value());
  }
  static void ExpectDone(const Posted* posted, Outcome outcome,
                         uint32_t bytes) {
    EXPECT_EQ(posted->request.state.load(), State::kDone);
    EXPECT_EQ(posted->request.outcome, outcome);
    EXPECT_EQ(posted->request.bytes_moved, bytes);
  }
  static void ExpectOpen(const Posted* posted) {
    EXPECT_EQ(posted->request.state.load(), State::kSubmitted);
  }
  // Bytes [begin, end) are in place, all others were never touched.
  static void ExpectBytes(const Posted* posted, uint32_t begin, uint32_t end) {
    for (uint32_t i = 0; i < posted->memory.size(); ++i) {
      const bool placed = begin <= i && i < end;
      ASSERT_EQ(posted->memory[i], placed ? ByteAt(i) : kCanary) << i;
    }
  }

  std::deque<Posted> posted_;
  ReceiveFlow flow_{kOurs};
};

TEST_F(ReceiveFlowTest, id__as_given) { EXPECT_EQ(flow_.id(), kOurs); }

// In a GPU: the bytes are not touched here, and the request waits for whoever
// brings them.
TEST_F(ReceiveFlowTest, on_carried__then_the_request_is_done) {
  Posted* posted = Post(512);
  posted->request.memory.key = kGpuKey | 1;
  EXPECT_TRUE(flow_.Next().has_value());
  EXPECT_EQ(Data(0, 0, 256, 512), Placed::kCarry);
  EXPECT_EQ(Data(0, 256, 256, 512), Placed::kCarry);
  EXPECT_EQ(Data(0, 256, 256, 512), Placed::kCarry);  // Once more.
  const MemorySlice place = flow_.Place(CargoOf(0, 256, 256));
  EXPECT_EQ(place.data, posted->memory.data() + 256);
  EXPECT_EQ(place.length, 256u);
  EXPECT_EQ(place.key, kGpuKey | 1);
  EXPECT_EQ(flow_.OnCarried(CargoOf(0, 0, 256), false), Placed::kNew);
  EXPECT_EQ(flow_.OnCarried(CargoOf(0, 256, 256), true), Placed::kNew);
  // All is there, but the second copy is being written yet.
  ExpectOpen(posted);
  EXPECT_EQ(Data(0, 256, 256, 512), Placed::kDuplicate);
  EXPECT_EQ(flow_.OnCarried(CargoOf(0, 256, 256), true), Placed::kDuplicate);
  ExpectDone(posted, Outcome::kOk, 512);
  ExpectBytes(posted, 0, 0);
}

TEST_F(ReceiveFlowTest, on_carried__beyond_the_end_holds_up_nothing) {
  Posted* posted = Post(512);
  posted->request.memory.key = kGpuKey | 1;
  EXPECT_TRUE(flow_.Next().has_value());
  EXPECT_EQ(Data(0, 256, 128, 512), Placed::kCarry);
  EXPECT_EQ(Data(0, 0, 256, 256), Placed::kCarry);  // So that was the end.
  EXPECT_EQ(flow_.OnCarried(CargoOf(0, 0, 256), true), Placed::kNew);
  ExpectOpen(posted);
  EXPECT_EQ(flow_.OnCarried(CargoOf(0, 256, 128), false), Placed::kUnexpected);
  ExpectDone(posted, Outcome::kOk, 256);
}

TEST_F(ReceiveFlowTest, on_carried__after_a_failure_it_is_no_news) {
  Posted* posted = Post(512);
  posted->request.memory.key = kGpuKey | 1;
  EXPECT_TRUE(flow_.Next().has_value());
  EXPECT_EQ(Data(0, 0, 256, 512), Placed::kCarry);
  flow_.OnFailed(Outcome::kPeerLost);
  ExpectDone(posted, Outcome::kPeerLost, 0);
  EXPECT_EQ(flow_.OnCarried(CargoOf(0, 0, 256), false), Placed::kUnexpected);
}

TEST_F(ReceiveFlowTest, full__until_the_front_is_done) {
  for (uint32_t i = 0; i < ReceiveFlow::kMaxOpenMessages; ++i) {
    EXPECT_FALSE(flow_.full());
    PostGranted(8);
  }
  EXPECT_TRUE(flow_.full());
  Data(1, 0, 8, 8);
  EXPECT_TRUE(flow_.full());  // Done, but behind an open one.
  Data(0, 0, 8, 8);
  EXPECT_FALSE(flow_.full());
  Post(8);
  EXPECT_FALSE(flow_.full());
  Post(8);
  EXPECT_TRUE(flow_.full());
}

TEST_F(ReceiveFlowTest, idle__when_no_request_is_open) {
  EXPECT_TRUE(flow_.idle());
  PostGranted(8);
  EXPECT_FALSE(flow_.idle());
  Data(0, 0, 8, 8);
  EXPECT_TRUE(flow_.idle());
}

// Whoever puts bytes there himself promises no order.
TEST_F(ReceiveFlowTest, PlaceOf__nowhere_while_somebody_watches) {
  Posted* watched = PostGranted(1024);
  EXPECT_TRUE(watched->request.watched);  // Unless it is said otherwise.
  EXPECT_TRUE(flow_.watched());
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 0, 512), false).empty());
  Posted* unwatched = PostGranted(1024, /*watched=*/false);
  EXPECT_FALSE(flow_.watched());
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 0, 512), false).empty());
  const auto place = flow_.PlaceOf(CargoOf(1, 256, 512), false);
  EXPECT_EQ(place.data(), unwatched->memory.data() + 256);
  EXPECT_EQ(place.size(), 512u);
}

TEST_F(ReceiveFlowTest, PlaceOf__only_what_is_wanted_and_never_twice) {
  Posted* posted = Post(1024, /*watched=*/false);
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 0, 512), false).empty());  // No grant.
  ASSERT_TRUE(flow_.Next().has_value());
  EXPECT_EQ(flow_.PlaceOf(CargoOf(0, 0, 512), false).data(),
            posted->memory.data());
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(1, 0, 512), false).empty());  // Not posted.
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 512, 528), false).empty());  // Beyond.
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 0, 0), true).empty());       // No bytes.
  EXPECT_EQ(Data(0, 256, 256, 1024), Placed::kNew);
  for (const uint32_t offset : {16, 128, 256, 496}) {
    EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, offset, 256), false).empty());
  }
  EXPECT_EQ(flow_.PlaceOf(CargoOf(0, 0, 256), false).size(), 256u);
  EXPECT_EQ(flow_.PlaceOf(CargoOf(0, 512, 256), false).size(), 256u);
  // It would end before what is here.
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 0, 256), true).empty());
  EXPECT_EQ(Data(0, 512, 256, 768), Placed::kNew);  // The end.
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 768, 256), false).empty());
  EXPECT_EQ(Data(0, 0, 256, 768), Placed::kNew);
  EXPECT_EQ(posted->request.state, State::kDone);
  EXPECT_TRUE(flow_.PlaceOf(CargoOf(0, 0, 256), false).empty());
}

TEST_F(ReceiveFlowTest, OnData__bytes_may_lie_at_their_place) {
  Posted* posted = PostGranted(512, /*watched=*/false);
  const Cargo cargo = CargoOf(0, 0, 512);
  const auto place = flow_.PlaceOf(cargo, true);
  ASSERT_EQ(place.size(), 512u);
  for (uint32_t i = 0; i < 512; ++i) place[i] = ByteAt(i);
  EXPECT_EQ(flow_.OnData(cargo, true, place), Placed::kNew);
  ExpectDone(posted, Outcome::kOk, 512);
}

TEST_F(ReceiveFlowTest, OnPosted__slots_are_used_again) {
  for (uint32_t i = 0; i < 3 * ReceiveFlow::kMaxOpenMessages; ++i) {
    Posted* posted = PostGranted(512);
    EXPECT_EQ(Data(i, 256, 256, 512), Placed::kNew);
    ExpectOpen(posted);  // What arrived for the slot's last user is forgotten.
    EXPECT_EQ(Data(i, 0, 256, 512), Placed::kNew);
    ExpectDone(posted, Outcome::kOk, 512);
    ExpectBytes(posted, 0, 512);
  }
}

TEST_F(ReceiveFlowTest, OnData__in_any_order) {
  Posted* posted = PostGranted(1000);
  EXPECT_EQ(Data(0, 512, 128, 700), Placed::kNew);
  EXPECT_EQ(Data(0, 640, 60, 700), Placed::kNew);
  ExpectBytes(posted, 512, 700);
  EXPECT_EQ(Data(0, 0, 256, 700), Placed::kNew);
  ExpectOpen(posted);
  EXPECT_EQ(Data(0, 256, 256, 700), Placed::kNew);
  ExpectDone(posted, Outcome::kOk, 700);
  ExpectBytes(posted, 0, 700);
}

TEST_F(ReceiveFlowTest, OnData__messages_finish_in_any_order) {
  Posted* posted[4];
  for (auto& one : posted) one = PostGranted(100);
  for (const uint32_t i : {2, 3, 0, 1}) {
    ExpectOpen(posted[i]);
    EXPECT_EQ(Data(i, 0, 90 + i, 90 + i), Placed::kNew);
    ExpectDone(posted[i], Outcome::kOk, 90 + i);
  }
  EXPECT_TRUE(flow_.idle());
}

TEST_F(ReceiveFlowTest, OnData__what_is_here_is_not_touched_again) {
  Posted* posted = PostGranted(512);
  EXPECT_EQ(Data(0, 0, 256, 512), Placed::kNew);
  std::fill(posted->memory.begin(), posted->memory.end(), kCanary);
  EXPECT_EQ(Data(0, 0, 256, 512), Placed::kDuplicate);
  EXPECT_EQ(Data(0, 128, 128, 512), Placed::kDuplicate);
  ExpectBytes(posted, 0, 0);
}

TEST_F(ReceiveFlowTest, OnData__partly_here_is_completed) {
  Posted* posted = PostGranted(512);
  EXPECT_EQ(Data(0, 128, 128, 512), Placed::kNew);
  EXPECT_EQ(Data(0, 0, 384, 512), Placed::kNew);
  ExpectBytes(posted, 0, 384);
  EXPECT_EQ(Data(0, 256, 256, 512), Placed::kNew);
  ExpectDone(posted, Outcome::kOk, 512);
  ExpectBytes(posted, 0, 512);
}

TEST_F(ReceiveFlowTest, OnData__late_copies_leave_the_buffer_alone) {
  Posted* first = PostGranted(256);
  Posted* second = PostGranted(256);
  Data(1, 0, 256, 256);
  std::fill(second->memory.begin(), second->memory.end(), kCanary);
  EXPECT_EQ(Data(1, 0, 256, 256), Placed::kDuplicate);  // Done, not popped.
  Data(0, 0, 256, 256);
  std::fill(first->memory.begin(), first->memory.end(), kCanary);
  EXPECT_EQ(Data(0, 0, 128, 256), Placed::kDuplicate);  // Done and popped.
  EXPECT_EQ(Data(1, 128, 128, 256), Placed::kDuplicate);
  EXPECT_EQ(Data(1, 0, 1, 999), Placed::kDuplicate);
  ExpectBytes(first, 0, 0);
  ExpectBytes(second, 0, 0);
}

TEST_F(ReceiveFlowTest, OnData__not_granted_is_unexpected) {
  EXPECT_EQ(Data(0, 0, 8, 8), Placed::kUnexpected);  // Not posted.
  Posted* posted = Post(8);
  EXPECT_EQ(Data(0, 0, 8, 8), Placed::kUnexpected);  // Not granted.
  EXPECT_EQ(Data(1, 0, 8, 8), Placed::kUnexpected);
  EXPECT_EQ(Data(0x7fffffffu, 0, 8, 8), Placed::kUnexpected);
  EXPECT_EQ(Data(0xffffffffu, 0, 8, 8), Placed::kUnexpected);
  ExpectOpen(posted);
  ExpectBytes(posted, 0, 0);
}

TEST_F(ReceiveFlowTest, OnData__contradictions_are_unexpected) {
  Posted* posted = PostGranted(512);
  EXPECT_EQ(Data(0, 400, 113, 513), Placed::kUnexpected);  // Beyond its grant.
  EXPECT_EQ(Data(0, 0xffffff80u, 256, 300), Placed::kUnexpected);
  EXPECT_EQ(Data(0, 128, 0, 128), Placed::kUnexpected);  // Empty, but is not.
  EXPECT_EQ(flow_.OnData(CargoOf(0, 0, 128), false, Bytes(64)),
            Placed::kUnexpected);  // Another length than it says.
  ExpectBytes(posted, 0, 0);
  EXPECT_EQ(Data(0, 128, 128, 300), Placed::kNew);
  EXPECT_EQ(Data(0, 0, 128, 128), Placed::kUnexpected);  // Ends before that.
  EXPECT_EQ(Data(0, 0, 0, 513), Placed::kUnexpected);  // Truncated, but is not.
  ExpectBytes(posted, 128, 256);
  EXPECT_EQ(Data(0, 256, 44, 300), Placed::kNew);
  EXPECT_EQ(Data(0, 0, 301, 301), Placed::kUnexpected);  // Another size.
  EXPECT_EQ(Data(0, 288, 32, 400), Placed::kUnexpected);
  EXPECT_EQ(Data(0, 0, 256, 256), Placed::kUnexpected);
  ExpectOpen(posted);
  ExpectBytes(posted, 128, 300);
  EXPECT_EQ(Data(0, 0, 128, 300), Placed::kNew);
  ExpectDone(posted, Outcome::kOk, 300);
}

TEST_F(ReceiveFlowTest, OnData__empty_message) {
  Posted* posted = PostGranted(512);
  Posted* none = PostGranted(0);
  EXPECT_EQ(Data(0, 0, 0, 0), Placed::kNew);
  ExpectDone(posted, Outcome::kOk, 0);
  EXPECT_EQ(Data(0, 0, 0, 0), Placed::kDuplicate);
  EXPECT_EQ(Data(1, 0, 0, 0), Placed::kNew);
  ExpectDone(none, Outcome::kOk, 0);
  ExpectBytes(posted, 0, 0);
}

TEST_F(ReceiveFlowTest, OnData__truncated) {
  Posted* first = PostGranted(512);
  Posted* posted = PostGranted(512);
  EXPECT_EQ(Data(1, 0, 0, 513), Placed::kNew);
  ExpectDone(posted, Outcome::kTruncated, 0);
  EXPECT_EQ(Data(1, 0, 0, 513), Placed::kDuplicate);
  EXPECT_EQ(Data(1, 128, 128, 512), Placed::kDuplicate);
  ExpectBytes(posted, 0, 0);
  ExpectOpen(first);
}

TEST_F(ReceiveFlowTest, Admit__nothing_leaves_before) {
  EXPECT_FALSE(flow_.wants_admission());
  PostUnadmitted(100);
  EXPECT_TRUE(flow_.wants_admission());
  ExpectNothing();
  EXPECT_EQ(Data(0, 0, 100, 100), Placed::kUnexpected);
  EXPECT_EQ(flow_.Admit(ReceiveFlow::kNoLimit), 0u);
  EXPECT_FALSE(flow_.wants_admission());
  ExpectAdmitted(0, 100);
  ExpectNothing();
}

TEST_F(ReceiveFlowTest, Admit__old_before_young_up_to_the_limit) {
  for (const uint32_t capacity : {1000, 0, 1000, 4000}) {
    PostUnadmitted(capacity);
  }
  EXPECT_EQ(flow_.Admit(3000), 0u);
  ExpectAdmitted(0, 1000);
  ExpectAdmitted(1, 0);
  ExpectAdmitted(2, 1000);
  ExpectNothing();  // A third of the limit is too little to begin with.
  EXPECT_TRUE(flow_.wants_admission());
  EXPECT_EQ(Data(0, 0, 512, 1000), Placed::kNew);
  EXPECT_EQ(flow_.Admit(3000), 0u);
  ExpectAdmitted(3, 1512);
  ExpectNothing();
  EXPECT_FALSE(flow_.owes_grants());
}

TEST_F(ReceiveFlowTest, Admit__what_comes_makes_room_for_more) {
  Posted* posted = PostUnadmitted(10'240);
  flow_.Admit(2048);
  ExpectAdmitted(0, 2048);
  Data(0, 0, 512, 10'240);
  EXPECT_EQ(flow_.Admit(2048), 0u);  // Less than half of the limit.
  EXPECT_FALSE(flow_.owes_grants());
  Data(0, 512, 512, 10'240);
  EXPECT_EQ(flow_.Admit(2048), 1u);
  EXPECT_TRUE(flow_.owes_grants());
  EXPECT_EQ(flow_.Admit(2048), 0u);
  ExpectAdmitted(0, 3072);
  EXPECT_FALSE(flow_.owes_grants());
  ExpectNothing();
  // Its sender completed a packet: that was more than was admitted.
  Data(0, 1024, 4096, 10'240);
  EXPECT_EQ(flow_.Admit(2048), 1u);
  ExpectAdmitted(0, 7168);
  EXPECT_EQ(flow_.Admit(ReceiveFlow::kNoLimit), 1u);
  EXPECT_FALSE(flow_.wants_admission());
  ExpectAdmitted(0, 10'240);
  Data(0, 5120, 5120, 10'240);
  ExpectDone(posted, Outcome::kOk, 10'240);
}

// What was admitted stays so, though the limit be lower now.
TEST_F(ReceiveFlowTest, Admit__takes_nothing_back) {
  PostUnadmitted(10'000);
  flow_.Admit(8000);
  ExpectAdmitted(0, 8000);
  EXPECT_EQ(flow_.Admit(100), 0u);
  Data(0, 0, 7040, 10'000);
  EXPECT_EQ(flow_.Admit(100), 0u);
  Data(0, 7040, 960, 10'000);
  EXPECT_EQ(flow_.Admit(100), 1u);
  ExpectAdmitted(0, 8100);
}

// Buffers may be larger than what comes: then many messages fit into a limit.
TEST_F(ReceiveFlowTest, Admit__messages_are_likely_to_be_like_those_before) {
  for (int i = 0; i < 10; ++i) PostUnadmitted(100'000);
  flow_.Admit(5000);
  ExpectAdmitted(0, 5000);
  ExpectNothing();
  Data(0, 0, 1000, 1000);
  flow_.Admit(5000);
  EXPECT_EQ(flow_.Describe(ExpectGrants(1, 4, false)).admitted_bytes, 1000u);
  ExpectNothing();
  // One that is longer has all of the limit, whatever younger ones hold.
  EXPECT_EQ(Data(1, 0, 1008, 50'000), Placed::kNew);
  EXPECT_EQ(flow_.Admit(5000), 1u);
  ExpectAdmitted(1, 6008);
  ExpectNothing();
  // Small ones are believed in only after some.
  Data(1, 1008, 48'992, 50'000);
  Data(2, 0, 16, 16);
  flow_.Admit(5000);
  ExpectAdmitted(3, 5000);
}

TEST_F(ReceiveFlowTest,
       Admit__a_grant_that_was_lost_says_what_is_admitted_now) {
  PostUnadmitted(10'000);
  flow_.Admit(2000);
  const auto lost = flow_.Next();
  ASSERT_TRUE(lost.has_value());
  Data(0, 0, 1504, 10'000);
  EXPECT_EQ(flow_.Admit(2000), 1u);
  flow_.OnSettled(*lost, false);
  const auto again = flow_.Next();  // One grant for both reasons.
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->resend);
  EXPECT_EQ(flow_.Describe(*again).admitted_bytes, 3504u);
  ExpectNothing();
}

TEST_F(ReceiveFlowTest, OnSettled__lost_grants_leave_again_oldest_first) {
  for (uint32_t i = 0; i < 4; ++i) Post(8 + i);
  Cargo grants[3];
  for (Cargo& grant : grants) grant = *flow_.Next();
  flow_.OnSettled(grants[2], false);
  flow_.OnSettled(grants[0], false);
  flow_.OnSettled(grants[1], true);
  ExpectGrant(0, true);
  ExpectGrant(2, true);
  ExpectGrant(3, false);
  ExpectNothing();
}

TEST_F(ReceiveFlowTest, OnSettled__done_needs_no_grant) {
  for (uint32_t i = 0; i < 3; ++i) Post(8 + i);
  Cargo grants[3];
  for (Cargo& grant : grants) grant = *flow_.Next();
  Data(1, 0, 8, 8);
  flow_.OnSettled(grants[1], false);  // Done, not popped.
  ExpectNothing();
  flow_.OnSettled(grants[0], false);
  EXPECT_TRUE(flow_.ready());
  Data(0, 0, 8, 8);  // Lost, it seemed.
  ExpectNothing();
  flow_.OnSettled(grants[0], false);  // Popped.
  ExpectNothing();
  flow_.OnSettled(grants[2], true);
  ExpectNothing();
}

TEST_F(ReceiveFlowTest, OnFailed__ends_all_that_is_open) {
  Posted* partly = PostGranted(256);
  Posted* done = PostGranted(256);
  Posted* granted = PostGranted(256);
  Data(0, 0, 128, 256);
  Data(1, 0, 256, 256);
  done->request.state = State::kFree;
  Posted* ungranted = Post(256);
  const Cargo grant = CargoOf(2, 0, 0);
  flow_.OnSettled(grant, false);
  flow_.OnFailed(Outcome::kPeerLost);
  for (const Posted* posted : {partly, granted, ungranted}) {
    ExpectDone(posted, Outcome::kPeerLost, 0);
  }
  EXPECT_EQ(done->request.state.load(), State::kFree);  // Not a second time.
  EXPECT_TRUE(flow_.idle());
  ExpectNothing();
  flow_.OnSettled(grant, false);
  ExpectNothing();
  EXPECT_NE(Data(0, 128, 128, 256), Placed::kNew);
  EXPECT_NE(Data(2, 0, 256, 256), Placed::kNew);
  EXPECT_NE(Data(3, 0, 256, 256), Placed::kNew);
  ExpectBytes(partly, 0, 128);
  ExpectBytes(granted, 0, 0);
}

TEST_F(ReceiveFlowTest, OnFailed__later_requests_end_at_once) {
  flow_.OnFailed(Outcome::kClosed);
  flow_.OnFailed(Outcome::kPeerLost);
  for (uint32_t i = 0; i < 2 * ReceiveFlow::kMaxOpenMessages; ++i) {
    EXPECT_FALSE(flow_.full());
    ExpectDone(Post(8), Outcome::kClosed, 0);
    ExpectNothing();
    EXPECT_EQ(Data(i, 0, 8, 8), Placed::kUnexpected);
  }
  EXPECT_TRUE(flow_.idle());
}

TEST_F(ReceiveFlowTest, Next__in_order_once) {
  ExpectNothing();
  Post(8);
  Post(9);
  ExpectGrant(0, false);
  ExpectGrant(1, false);
  ExpectNothing();
  Post(9);
  ExpectGrant(2, false);
  ExpectNothing();
}

TEST_F(ReceiveFlowTest, Next__one_grant_of_what_is_alike) {
  Post(8);
  Post(8);
  Post(8);
  Post(9);
  const Cargo three = ExpectGrants(0, 2, false),
              one = ExpectGrants(3, 0, false);
  ExpectNothing();
  EXPECT_EQ(Data(1, 0, 8, 8), Placed::kNew);
  // What was lost is granted again, but not the message that has come.
  flow_.OnSettled(one, true);
  EXPECT_FALSE(flow_.owes_grants());
  flow_.OnSettled(three, false);
  EXPECT_TRUE(flow_.owes_grants());
  ExpectGrant(0, true);
  ExpectGrant(2, true);
  EXPECT_FALSE(flow_.owes_grants());
  ExpectNothing();
}

TEST_F(ReceiveFlowTest,
       Next__several_that_were_lost_go_together_across_a_wrap) {
  constexpr MessageId kFirst{0xfffffffeu};
  flow_ = ReceiveFlow(kOurs, kFirst);
  for (uint32_t bytes : {8u, 8u, 8u, 8u, 9u}) Post(bytes);
  const Cargo four = ExpectGrants(kFirst.value, 3, false);
  const Cargo one = ExpectGrants(2, 0, false);
  flow_.OnSettled(one, false);
  flow_.OnSettled(four, false);
  ExpectGrants(kFirst.value, 3, true);
  ExpectGrants(2, 0, true);
  ExpectNothing();
}

TEST_F(ReceiveFlowTest, Next__what_has_a_target_is_granted_alone) {
  for (const uint32_t bytes : {1023u, 1023u, 1024u, 1024u}) {
    Post(bytes)->request.memory.key = 1;
  }
  const Cargo small = ExpectGrants(0, 1, false);
  EXPECT_EQ(flow_.Describe(small).target.key, 0u);
  EXPECT_FALSE(flow_.exposed());
  const Cargo large = ExpectGrants(2, 0, false);
  EXPECT_EQ(flow_.Describe(large).target.key, 1u);
  EXPECT_TRUE(flow_.exposed());
  ExpectGrants(3, 0, false);
  Post(8)->request.memory.key = kGpuKey | 1;
  Post(8)->request.memory.key = kGpuKey | 1;
  EXPECT_EQ(flow_.Describe(ExpectGrants(4, 0, false)).target.key, kGpuKey | 1);
  ExpectGrants(5, 0, false);
}

TEST_F(ReceiveFlowTest, Next__ids_wrap) {
  constexpr MessageId kFirst{0xffffffffu - 100};
  flow_ = ReceiveFlow(kOurs, kFirst);
  EXPECT_EQ(Data(kFirst.value - 1, 0, 8, 8), Placed::kUnexpected);
  for (uint32_t i = 0; i < 300; ++i) {
    const uint32_t id = kFirst.value + 2 * i;
    Posted* a = Post(8);
    Posted* b = Post(9);
    const Cargo grant_a = *flow_.Next();
    EXPECT_EQ(Data(id + 1, 0, 8, 8), Placed::kUnexpected);
    const Cargo grant_b = *flow_.Next();
    flow_.OnSettled(grant_b, false);
    flow_.OnSettled(grant_a, false);
    ExpectGrant(id, true);
    ExpectGrant(id + 1, true);
    EXPECT_EQ(Data(id + 2, 0, 8, 8), Placed::kUnexpected);
    EXPECT_EQ(Data(id + 1, 0, 8, 8), Placed::kNew);
    EXPECT_EQ(Data(id + 1, 0, 8, 8), Placed::kDuplicate);
    EXPECT_EQ(Data(id, 0, 8, 8), Placed::kNew);
    EXPECT_EQ(Data(id, 0, 8, 8), Placed::kDuplicate);
    ExpectDone(a, Outcome::kOk, 8);
    ExpectDone(b, Outcome::kOk, 8);
  }
  EXPECT_TRUE(flow_.idle());
}

TEST_F(ReceiveFlowTest, Describe__tells_the_capacity) {
  Post(0);
  Post(12345);
  EXPECT_EQ(flow_.Describe(*flow_.Next()).capacity_bytes, 0u);
  const Cargo grant = *flow_.Next();
  EXPECT_EQ(flow_.Describe(grant).capacity_bytes, 12345u);
  EXPECT_EQ(flow_.Describe(grant).target.key, 0u);
}

TEST_F(ReceiveFlowTest, Describe__of_no_open_message_is_our_bug) {
  EXPECT_DEATH(flow_.Describe(CargoOf(0, 0, 0)), "broken promise");
}

// Both halves, with an unkind channel between them. It holds every packet that
// is under way, delivers them in any order, some twice and some never, and
// decides fates late and sometimes wrongly: what it calls lost may still come,
// even long after the message is done. Only "delivered" is always true.
class Play {
 public:
  struct Plan {
    uint32_t messages = 0;
    uint32_t max_message_bytes = 0;
    double drop = 0, duplicate = 0, false_loss = 0, truncate = 0;
    MessageId first{0};
    uint64_t most_ahead =
        ReceiveFlow::kNoLimit;  // Admitted, of what is to come.
  };

  Play(uint64_t seed, const Plan& plan)
      : random_(seed),
        plan_(plan),
        send_(FlowId{1}, plan.first),
        receive_(FlowId{2}, plan.first),
        messages_(plan.messages) {
    for (Message& message : messages_) Draw(message);
  }

  void Run() {
    // Far above what any seed has needed.
    const uint64_t limit = 1'000'000 + 2'000 * uint64_t{plan_.messages};
    for (uint64_t turn = 0; !AllDone(); ++turn) {
      ASSERT_LT(turn, limit) << "no progress";
      Step();
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_TRUE(send_.idle());
    EXPECT_TRUE(receive_.idle());
    EXPECT_FALSE(send_.ready());
    EXPECT_FALSE(receive_.ready());
    // What is still under way finds every door closed.
    while (!network_.empty()) {
      Deliver(/*last_copy=*/true);
      if (testing::Test::HasFatalFailure()) return;
    }
    while (!unsettled_.empty()) Settle();
    EXPECT_FALSE(send_.ready());
    EXPECT_FALSE(receive_.ready());
    for (const Message& message : messages_) CheckUntouched(message);
  }

 private:
  static constexpr std::byte kReused{0x5a};
  static constexpr uint32_t kGuardBytes = 128;

  struct Message {
    Bytes sent, expected, received;
    uint32_t first_copy_bytes = 0;
    bool first_copy = false;
    Request send, recv;
    bool send_done = false, recv_done = false;
    bool truncated() const { return expected.size() > recv.memory.length; }
  };
  // One packet: a cargo, and what it looked like when it left.
  struct Packet {
    Cargo cargo;
    bool last = false;
    Bytes payload;
    wire::Grant grant;
    bool arrived = false;
  };
  using PacketPointer = std::shared_ptr<Packet>;

  void Draw(Message& message) {
    const uint64_t largest = plan_.max_message_bytes;
    uint32_t bytes = 0;
    switch (random_.Below(6)) {
      case 0:
        break;
      case 1:
        bytes = 1;
        break;
      case 2:
        bytes = kLineBytes * static_cast<uint32_t>(random_.Below(40));
        break;
      case 3:
        bytes = static_cast<uint32_t>(random_.Below(2000)) | 1;
        break;
      default:  // All magnitudes alike.
        bytes = static_cast<uint32_t>(
            random_.Below((largest >> random_.Below(12)) + 1));
    }
    uint32_t capacity = bytes;
    if (random_.Chance(0.7)) {
      capacity += static_cast<uint32_t>(random_.Below(5000));
    }
    if (bytes > 0 && random_.Chance(plan_.truncate)) {
      capacity = static_cast<uint32_t>(random_.Below(bytes));
    }
    // Alike, and so granted together.
    if (bytes <= last_capacity_ && random_.Chance(0.5)) {
      capacity = last_capacity_;
    }
    last_capacity_ = capacity;
    message.sent.resize(bytes);
    for (std::byte& byte : message.sent) {
      byte = static_cast<std::byte>(random_.Next());
    }
    message.expected = message.sent;
    message.received.assign(capacity + kGuardBytes, kCanary);
    message.send.memory = {message.sent.data(), bytes, 0};
    message.recv.memory = {message.received.data(), capacity, 0};
  }

  void Step() {
    switch (random_.Below(8)) {
      case 0:
        return Submit();
      case 1:
        return Post();
      case 2:
        return SendGrant();
      case 3:
      case 4:
        return SendData();
      case 5:
      case 6:
        return Deliver(/*last_copy=*/false);
      default:
        return Settle();
    }
  }

  void Submit() {
    if (submits_ == messages_.size() || send_.full()) return;
    Request& request = messages_[submits_++].send;
    request.state = State::kSubmitted;
    send_.OnSubmitted(&request);
  }

  void Post() {
    if (posts_ == messages_.size() || receive_.full()) return;
    Request& request = messages_[posts_++].recv;
    request.state = State::kSubmitted;
    receive_.OnPosted(&request);
    Admit();
  }

  // Whenever something was posted, or has come; the limit is as it may be.
  void Admit() {
    receive_.Admit(plan_.most_ahead == ReceiveFlow::kNoLimit
                       ? ReceiveFlow::kNoLimit
                       : 1 + random_.Below(plan_.most_ahead));
  }

  void SendGrant() {
    const bool ready = receive_.ready();
    const auto cargo = receive_.Next();
    ASSERT_EQ(cargo.has_value(), ready);
    if (!cargo.has_value()) return;
    auto packet = std::make_shared<Packet>();
    packet->cargo = *cargo;
    packet->grant = receive_.Describe(*cargo);
    for (uint32_t i = 0; i <= cargo->length; ++i) {
      ASSERT_EQ(packet->grant.capacity_bytes,
                At(MessageId{cargo->message.value + i}).recv.memory.length);
    }
    Leave(packet);
  }

  void SendData() {
    const uint32_t max_bytes =
        wire::kCutBytes *
        static_cast<uint32_t>(1 +
                              random_.Below(random_.Chance(0.5) ? 64 : 2048));
    const bool ready = send_.ready();
    const auto cargo = send_.Next(max_bytes);
    ASSERT_EQ(cargo.has_value(), ready);
    if (!cargo.has_value()) return;
    auto packet = std::make_shared<Packet>();
    packet->cargo = *cargo;
    packet->last = send_.IsLast(*cargo);
    const MemorySlice payload = send_.Payload(*cargo);
    packet->payload.assign(payload.data, payload.data + payload.length);
    CheckCut(*packet, max_bytes);
    Leave(packet);
  }

  void CheckCut(const Packet& packet, uint32_t max_bytes) {
    const Cargo& cargo = packet.cargo;
    Message& message = At(cargo.message);
    ASSERT_FALSE(message.send_done);
    ASSERT_EQ(packet.payload.size(), cargo.length);
    ASSERT_LE(cargo.length, max_bytes);
    ASSERT_EQ(cargo.offset % wire::kCutBytes, 0u);
    if (message.truncated() || message.expected.empty()) {
      ASSERT_EQ(cargo.offset, 0u);
      ASSERT_EQ(cargo.length, 0u);
      ASSERT_EQ(cargo.resend, message.first_copy);
      ASSERT_EQ(packet.last, !message.truncated());
    } else {
      const uint32_t end = cargo.offset + cargo.length;
      ASSERT_LE(end, message.expected.size());
      ASSERT_EQ(packet.last, end == message.expected.size());
      if (!packet.last) {
        ASSERT_EQ(end % wire::kCutBytes, 0u);
      }
      ASSERT_GT(cargo.length, 0u);
      // First copies leave once and in order; all others are behind them.
      if (cargo.resend) {
        ASSERT_LE(end, message.first_copy_bytes);
      } else {
        ASSERT_EQ(cargo.offset, message.first_copy_bytes);
        message.first_copy_bytes = end;
      }
    }
    message.first_copy = true;
  }

  void Leave(const PacketPointer& packet) {
    unsettled_.push_back(packet);
    if (!random_.Chance(plan_.drop)) network_.push_back(packet);
  }

  void Deliver(bool last_copy) {
    if (network_.empty()) return;
    std::swap(network_[random_.Below(network_.size())], network_.back());
    const PacketPointer packet = network_.back();
    if (last_copy || !random_.Chance(plan_.duplicate)) network_.pop_back();
    const Cargo& cargo = packet->cargo;
    packet->arrived = true;
    if (cargo.kind == wire::CargoKind::kGrant) {
      ASSERT_TRUE(send_.OnGrant(cargo, packet->grant));
      return;
    }
    Message& message = At(cargo.message);
    const Placed placed = receive_.OnData(cargo, packet->last, packet->payload);
    ASSERT_NE(placed, Placed::kUnexpected);
    if (placed == Placed::kNew) Admit();
    if (message.recv_done) {
      ASSERT_EQ(placed, Placed::kDuplicate);
    }
    if (message.recv.state != State::kDone) return;
    message.recv.state = State::kFree;
    ASSERT_FALSE(message.recv_done) << "finished twice";
    message.recv_done = true;
    ++done_;
    CheckReceived(message);
    // The application uses its buffer again.
    std::fill(message.received.begin(), message.received.end(), kReused);
  }

  void CheckReceived(const Message& message) {
    const uint32_t placed_bytes =
        message.truncated() ? 0
                            : static_cast<uint32_t>(message.expected.size());
    ASSERT_EQ(message.recv.outcome,
              message.truncated() ? Outcome::kTruncated : Outcome::kOk);
    ASSERT_EQ(message.recv.bytes_moved, placed_bytes);
    ASSERT_TRUE(std::equal(message.expected.begin(),
                           message.expected.begin() + placed_bytes,
                           message.received.begin()));
    ASSERT_TRUE(std::all_of(message.received.begin() + placed_bytes,
                            message.received.end(),
                            [](std::byte byte) { return byte == kCanary; }));
  }

  void Settle() {
    if (unsettled_.empty()) return;
    std::swap(unsettled_[random_.Below(unsettled_.size())], unsettled_.back());
    const PacketPointer packet = unsettled_.back();
    unsettled_.pop_back();
    const bool delivered = packet->arrived && !random_.Chance(plan_.false_loss);
    if (packet->cargo.kind == wire::CargoKind::kGrant) {
      receive_.OnSettled(packet->cargo, delivered);
      return;
    }
    send_.OnSettled(packet->cargo, delivered);
    Message& message = At(packet->cargo.message);
    if (message.send.state != State::kDone) return;
    message.send.state = State::kFree;
    ASSERT_FALSE(message.send_done) << "finished twice";
    ASSERT_TRUE(message.recv_done) << "done here before it was done there";
    message.send_done = true;
    ++done_;
    ASSERT_EQ(message.send.outcome,
              message.truncated() ? Outcome::kTruncated : Outcome::kOk);
    ASSERT_EQ(message.send.bytes_moved,
              message.truncated() ? 0 : message.expected.size());
    std::fill(message.sent.begin(), message.sent.end(), kReused);
  }

  void CheckUntouched(const Message& message) {
    EXPECT_EQ(message.send.state.load(), State::kFree);
    EXPECT_EQ(message.recv.state.load(), State::kFree);
    EXPECT_TRUE(std::all_of(message.received.begin(), message.received.end(),
                            [](std::byte byte) { return byte == kReused; }));
  }

  Message& At(MessageId id) { return messages_[id.value - plan_.first.value]; }
  bool AllDone() const { return done_ == 2 * messages_.size(); }

  Random random_;
  const Plan plan_;
  SendFlow send_;
  ReceiveFlow receive_;
  std::vector<Message> messages_;
  uint32_t last_capacity_ = 0;  // Of those that were drawn.
  size_t submits_ = 0, posts_ = 0, done_ = 0;
  std::vector<PacketPointer> network_;    // May yet arrive.
  std::vector<PacketPointer> unsettled_;  // Fate not yet told.
};

TEST(ReceiveFlowPlay, OnData__every_byte_through_an_unkind_channel) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Play::Plan plan;
    plan.messages = 1 + static_cast<uint32_t>(random.Below(300));
    plan.max_message_bytes = 64 << 10;
    plan.drop = random.Chance(0.2) ? 0 : 0.4 * random.Fraction();
    plan.duplicate = random.Chance(0.2) ? 0 : 0.5 * random.Fraction();
    plan.false_loss = random.Chance(0.2) ? 0 : 0.5 * random.Fraction();
    plan.truncate = random.Chance(0.5) ? 0 : 0.2;
    if (random.Chance(0.5)) plan.most_ahead = 1 << random.Below(18);
    // Half of them wrap on the way.
    if (random.Chance(0.5)) {
      plan.first.value -= static_cast<uint32_t>(random.Below(200));
    }
    Play(seed, plan).Run();
    if (HasFailure()) return;
  }
}

TEST(ReceiveFlowPlay, OnData__large_messages) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Play::Plan plan;
    plan.messages = 40;
    plan.max_message_bytes = 1 << 20;
    plan.drop = 0.1;
    plan.duplicate = 0.1;
    plan.false_loss = 0.1;
    Play(seed, plan).Run();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace hawser
