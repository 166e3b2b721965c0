#include "transport/message/send_flow.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "transport/base/copy_lines.h"
#include "transport/base/random.h"

namespace hawser {
namespace {

using Outcome = Request::Outcome;
using State = Request::State;
using wire::Cargo;

constexpr FlowId kFlow{3};

// A flow and the requests that were given to it. The memory is never read, so
// all share the same.
class SendFlowTest : public testing::Test {
 protected:
  Request* Submit(uint32_t bytes) {
    Request* request = NewRequest(bytes);
    flow_.OnSubmitted(request);
    return request;
  }
  Request* NewRequest(uint32_t bytes) {
    Request& request = requests_.emplace_back();
    request.state = State::kSubmitted;
    request.memory = {memory_, bytes, 77};
    return &request;
  }
  static Cargo GrantOf(uint32_t message, uint32_t more = 0) {
    Cargo grant;
    grant.kind = wire::CargoKind::kGrant;
    grant.message = MessageId{message};
    grant.length = more;
    return grant;
  }
  bool Grant(uint32_t message, uint32_t capacity_bytes) {
    return Grant(message, capacity_bytes, capacity_bytes);
  }
  bool Grant(uint32_t message, uint32_t capacity_bytes,
             uint32_t admitted_bytes) {
    return flow_.OnGrant(GrantOf(message), {.capacity_bytes = capacity_bytes,
                                            .admitted_bytes = admitted_bytes,
                                            .target = {}});
  }
  // The next cargo, which must exist, and look as one of ours.
  Cargo Next(uint32_t max_bytes = 1024) {
    EXPECT_TRUE(flow_.ready());
    const auto cargo = flow_.Next(max_bytes);
    EXPECT_TRUE(cargo.has_value());
    if (!cargo.has_value()) return {};
    EXPECT_EQ(cargo->kind, wire::CargoKind::kData);
    EXPECT_EQ(cargo->flow, kFlow);
    EXPECT_LE(cargo->length, max_bytes);
    return *cargo;
  }
  void ExpectNothing() {
    EXPECT_FALSE(flow_.ready());
    EXPECT_FALSE(flow_.Next(1024).has_value());
  }
  static void ExpectCargo(const Cargo& cargo, uint32_t message, uint32_t offset,
                          uint32_t length, bool resend) {
    EXPECT_EQ(cargo.message.value, message);
    EXPECT_EQ(cargo.offset, offset);
    EXPECT_EQ(cargo.length, length);
    EXPECT_EQ(cargo.resend, resend);
  }
  static void ExpectDone(const Request* request, Outcome outcome,
                         uint32_t bytes) {
    EXPECT_EQ(request->state.load(), State::kDone);
    EXPECT_EQ(request->outcome, outcome);
    EXPECT_EQ(request->bytes_moved, bytes);
  }
  static void ExpectOpen(const Request* request) {
    EXPECT_EQ(request->state.load(), State::kSubmitted);
  }

  std::byte memory_[1];
  std::deque<Request> requests_;
  SendFlow flow_{kFlow};
};

TEST_F(SendFlowTest, id__as_given) { EXPECT_EQ(flow_.id(), kFlow); }

TEST_F(SendFlowTest, full__until_the_front_is_done) {
  for (uint32_t i = 0; i < SendFlow::kMaxOpenMessages; ++i) {
    EXPECT_FALSE(flow_.full());
    Submit(128);
    ASSERT_TRUE(Grant(i, 128));
  }
  EXPECT_TRUE(flow_.full());
  const Cargo first = Next();
  flow_.OnSettled(Next(), true);
  EXPECT_TRUE(flow_.full());  // Done, but behind an open one.
  flow_.OnSettled(first, true);
  EXPECT_FALSE(flow_.full());
  Submit(1);
  EXPECT_FALSE(flow_.full());
  Submit(1);
  EXPECT_TRUE(flow_.full());
}

TEST_F(SendFlowTest, ready__needs_message_and_grant) {
  ExpectNothing();
  Submit(10);
  ExpectNothing();
  EXPECT_TRUE(Grant(0, 10));
  EXPECT_TRUE(flow_.ready());
  EXPECT_TRUE(Grant(1, 10));
  Next();
  ExpectNothing();
  Submit(10);
  EXPECT_TRUE(flow_.ready());
}

TEST_F(SendFlowTest, idle__when_no_request_is_open) {
  EXPECT_TRUE(flow_.idle());
  Submit(10);
  Submit(10);
  Grant(0, 10);
  Grant(1, 10);
  const Cargo first = Next(), second = Next();
  flow_.OnSettled(second, true);
  EXPECT_FALSE(flow_.idle());
  flow_.OnSettled(first, true);
  EXPECT_TRUE(flow_.idle());
}

TEST_F(SendFlowTest, Next__the_short_one_first) {
  Submit(2500);  // 1024 + 1024 + 452, which takes four lines.
  Submit(2048);
  Submit(2048 + 1000);
  Submit(700);
  for (uint32_t m = 0; m < 4; ++m) ASSERT_TRUE(Grant(m, 4000));
  const auto next = [&] { return *flow_.Next(1024, /*short_first=*/true); };
  ExpectCargo(next(), 0, 0, 512, false);
  const Cargo lost = next();
  ExpectCargo(lost, 0, 512, 1024, false);
  ExpectCargo(next(), 0, 1536, 964, false);
  ExpectCargo(next(), 1, 0, 1024, false);  // None is short.
  ExpectCargo(next(), 1, 1024, 1024, false);
  ExpectCargo(next(), 2, 0, 1024, false);  // Nor one that takes all lines.
  ExpectCargo(next(), 2, 1024, 1024, false);
  ExpectCargo(next(), 2, 2048, 1000, false);
  flow_.OnSettled(lost, false);  // Once cut, it is not cut anew.
  ExpectCargo(next(), 0, 512, 1024, true);
  ExpectCargo(next(), 3, 0, 700, false);
  ExpectNothing();
}

TEST_F(SendFlowTest, Next__the_short_one_first_where_little_is_admitted) {
  Submit(2500);
  ASSERT_TRUE(Grant(0, 4000, /*admitted_bytes=*/16));
  const Cargo lost = *flow_.Next(1024, /*short_first=*/true);
  ExpectCargo(lost, 0, 0, 512, false);  // What admission reaches into is whole.
  ExpectNothing();
  flow_.OnSettled(lost, false);
  ExpectCargo(*flow_.Next(1024, true), 0, 0, 512, true);
  ExpectNothing();
  ASSERT_TRUE(Grant(0, 4000, 4000));
  ExpectCargo(*flow_.Next(1024, true), 0, 512, 1024, false);
  ExpectCargo(*flow_.Next(1024, true), 0, 1536, 964, false);
  ExpectNothing();
}

TEST_F(SendFlowTest, IsLast__where_a_message_ends_but_for_one_truncated) {
  Submit(1000);
  Submit(5000);
  Submit(0);
  Grant(0, 1000);
  Grant(1, 4999);
  Grant(2, 0);
  EXPECT_FALSE(flow_.IsLast(Next(512)));
  EXPECT_TRUE(flow_.IsLast(Next(512)));
  EXPECT_FALSE(flow_.IsLast(Next()));
  EXPECT_TRUE(flow_.IsLast(Next()));
}

TEST_F(SendFlowTest, IsLast__of_an_unknown_message_is_our_bug) {
  EXPECT_DEATH(flow_.IsLast(Cargo()), "broken promise");
}

TEST_F(SendFlowTest, OnSubmitted__grants_may_come_first) {
  EXPECT_TRUE(Grant(0, 300));
  EXPECT_TRUE(Grant(1, 300));
  ExpectNothing();
  Submit(300);
  ExpectCargo(Next(), 0, 0, 300, false);
  Submit(200);
  ExpectCargo(Next(), 1, 0, 200, false);
  ExpectNothing();
}

TEST_F(SendFlowTest, OnGrant__duplicates_are_harmless) {
  Request* request = Submit(300);
  EXPECT_TRUE(Grant(0, 300));
  EXPECT_TRUE(Grant(0, 300));
  const Cargo cargo = Next();
  EXPECT_TRUE(Grant(0, 300));
  ExpectNothing();
  flow_.OnSettled(cargo, true);
  ExpectDone(request, Outcome::kOk, 300);
  EXPECT_TRUE(Grant(0, 300));  // Popped already.
  Submit(10);
  ExpectNothing();  // Grant 0 does not count for message 1.
}

TEST_F(SendFlowTest, OnGrant__leaves_as_far_as_it_is_admitted) {
  Submit(5000);
  Submit(5000);
  EXPECT_TRUE(Grant(0, 5000, 1500));
  EXPECT_TRUE(Grant(1, 6000, 0));
  ExpectCargo(Next(), 0, 0, 1024, false);
  // A packet that it reaches into leaves whole.
  ExpectCargo(Next(), 0, 1024, 1024, false);
  ExpectNothing();
  // What was used up already is no news, nor is an old grant that comes late.
  EXPECT_TRUE(Grant(0, 5000, 2048));
  EXPECT_TRUE(Grant(0, 5000, 100));
  ExpectNothing();
  // The younger one may go on before the older one.
  EXPECT_TRUE(Grant(1, 6000, 1));
  ExpectCargo(Next(), 1, 0, 1024, false);
  EXPECT_TRUE(Grant(0, 5000, 5000));
  EXPECT_TRUE(Grant(0, 5000, 3000));
  ExpectCargo(Next(4096), 0, 2048, 2952, false);
  EXPECT_TRUE(Grant(1, 6000, 6000));
  ExpectCargo(Next(4096), 1, 1024, 3976, false);
  ExpectNothing();
}

TEST_F(SendFlowTest, OnGrant__may_admit_more_before_there_is_a_message) {
  EXPECT_TRUE(Grant(0, 5000, 16));
  EXPECT_TRUE(Grant(0, 5000, 5000));
  EXPECT_TRUE(Grant(0, 5000, 16));
  Submit(3000);
  ExpectCargo(Next(4096), 0, 0, 3000, false);
}

TEST_F(SendFlowTest, OnGrant__what_has_no_bytes_needs_none_admitted) {
  Request* empty = Submit(0);
  Request* large = Submit(5000);
  EXPECT_TRUE(Grant(0, 1000, 0));
  EXPECT_TRUE(Grant(1, 1000, 0));
  const Cargo first = Next();
  ExpectCargo(first, 0, 0, 0, false);
  const Cargo second = Next();
  ExpectCargo(second, 1, 0, 0, false);
  // And is not sent twice, whatever is admitted.
  EXPECT_TRUE(Grant(0, 1000, 1000));
  EXPECT_TRUE(Grant(1, 1000, 1000));
  ExpectNothing();
  flow_.OnSettled(first, true);
  flow_.OnSettled(second, true);
  ExpectDone(empty, Outcome::kOk, 0);
  ExpectDone(large, Outcome::kTruncated, 0);
}

// What is lost was admitted, and has left: it may leave again.
TEST_F(SendFlowTest, OnGrant__what_was_lost_is_admitted) {
  Submit(5000);
  EXPECT_TRUE(Grant(0, 5000, 1024));
  const Cargo first = Next();
  ExpectNothing();
  flow_.OnSettled(first, false);
  ExpectCargo(Next(), 0, 0, 1024, true);
  ExpectNothing();
}

TEST_F(SendFlowTest, OnGrant__of_several_messages) {
  Submit(100);
  Submit(200);
  const wire::Grant grant = {
      .capacity_bytes = 150, .admitted_bytes = 150, .target = {}};
  EXPECT_TRUE(flow_.OnGrant(GrantOf(0, 2), grant));
  Submit(150);
  Submit(150);
  ExpectCargo(Next(1008), 0, 0, 100, false);
  ExpectCargo(Next(1008), 1, 0, 0, false);  // It is larger than its grant.
  ExpectCargo(Next(1008), 2, 0, 150, false);
  ExpectNothing();
  EXPECT_TRUE(flow_.OnGrant(GrantOf(2, 1), grant));
  ExpectCargo(Next(1008), 3, 0, 150, false);
  // Its last message is outside of the window.
  EXPECT_FALSE(flow_.OnGrant(GrantOf(SendFlow::kMaxGrants - 1, 1), grant));
}

TEST_F(SendFlowTest, OnGrant__of_several_across_a_wrap) {
  flow_ = SendFlow(kFlow, MessageId{0xffffffffu});
  for (int i = 0; i < 3; ++i) Submit(10);
  EXPECT_TRUE(flow_.OnGrant(
      GrantOf(0xffffffffu, 1),
      {.capacity_bytes = 10, .admitted_bytes = 10, .target = {}}));
  ExpectCargo(Next(), 0xffffffffu, 0, 10, false);
  ExpectCargo(Next(), 0, 0, 10, false);
  ExpectNothing();
}

TEST_F(SendFlowTest, OnGrant__window) {
  EXPECT_TRUE(Grant(SendFlow::kMaxGrants - 1, 10));
  EXPECT_FALSE(Grant(SendFlow::kMaxGrants, 10));
  EXPECT_FALSE(Grant(0x7fffffffu, 10));
  EXPECT_FALSE(Grant(0xffffffffu, 10));  // Before the first message.
  Grant(0, 10);
  Submit(10);
  flow_.OnSettled(Next(), true);
  EXPECT_TRUE(Grant(SendFlow::kMaxGrants, 10));
  EXPECT_FALSE(Grant(SendFlow::kMaxGrants + 1, 10));
  EXPECT_FALSE(Grant(0xffffffffu, 10));
}

TEST_F(SendFlowTest, OnGrant__slots_are_used_again) {
  for (uint32_t i = 0; i < 3 * SendFlow::kMaxGrants; ++i) {
    Request* request = Submit(i);
    ExpectNothing();  // The grant of kMaxGrants ago is forgotten.
    ASSERT_TRUE(Grant(i, 10'000));
    flow_.OnSettled(Next(), true);
    ExpectDone(request, Outcome::kOk, i);
  }
}

TEST_F(SendFlowTest, OnGrant__a_late_one_holds_up_no_other) {
  Submit(100);
  Submit(200);
  Grant(1, 200);
  ExpectCargo(Next(), 1, 0, 200, false);
  ExpectNothing();
  Grant(0, 100);
  ExpectCargo(Next(), 0, 0, 100, false);
}

TEST_F(SendFlowTest, OnSettled__done_when_every_byte_is) {
  Request* request = Submit(300);
  Grant(0, 1000);
  const Cargo a = Next(128), b = Next(128), c = Next(128);
  flow_.OnSettled(c, true);
  flow_.OnSettled(a, true);
  ExpectOpen(request);
  flow_.OnSettled(b, true);
  ExpectDone(request, Outcome::kOk, 300);
}

TEST_F(SendFlowTest, OnSettled__all_that_left_is_not_all) {
  Request* request = Submit(256);
  Grant(0, 256);
  flow_.OnSettled(Next(128), true);
  ExpectOpen(request);
  EXPECT_TRUE(flow_.ready());
}

TEST_F(SendFlowTest, OnSettled__messages_finish_in_any_order) {
  Request* requests[4];
  Cargo cargos[4];
  for (uint32_t i = 0; i < 4; ++i) {
    requests[i] = Submit(100 + i);
    Grant(i, 200);
    cargos[i] = Next();
  }
  for (const uint32_t i : {2, 3, 0, 1}) {
    ExpectOpen(requests[i]);
    flow_.OnSettled(cargos[i], true);
    ExpectDone(requests[i], Outcome::kOk, 100 + i);
  }
  EXPECT_TRUE(flow_.idle());
}

TEST_F(SendFlowTest, OnSettled__lost_is_sent_again_until_it_arrives) {
  Request* request = Submit(100);
  Grant(0, 100);
  Cargo cargo = Next();
  for (int i = 0; i < 3; ++i) {
    ExpectNothing();
    flow_.OnSettled(cargo, false);
    cargo = Next();
    ExpectCargo(cargo, 0, 0, 100, true);
  }
  flow_.OnSettled(cargo, true);
  ExpectDone(request, Outcome::kOk, 100);
  ExpectNothing();
}

TEST_F(SendFlowTest, OnSettled__more_than_was_sent_is_our_bug) {
  Submit(256);
  Grant(0, 256);
  const Cargo cargo = Next(128);
  flow_.OnSettled(cargo, true);
  EXPECT_DEATH(flow_.OnSettled(cargo, true), "broken promise");
}

TEST_F(SendFlowTest, OnFailed__ends_all_that_is_open) {
  Request* settled = Submit(100);
  Request* in_flight = Submit(100);
  Request* lost = Submit(100);
  Request* unsent = Submit(100);
  Request* ungranted = Submit(100);
  for (uint32_t i = 0; i < 4; ++i) Grant(i, 100);
  const Cargo a = Next(), b = Next(), c = Next();
  flow_.OnSettled(a, true);
  flow_.OnSettled(c, false);
  flow_.OnFailed(Outcome::kPeerLost);
  ExpectDone(settled, Outcome::kOk, 100);
  for (Request* request : {in_flight, lost, unsent, ungranted}) {
    ExpectDone(request, Outcome::kPeerLost, 0);
  }
  ExpectNothing();
  EXPECT_TRUE(flow_.idle());
  // What was in flight may still be settled.
  flow_.OnSettled(b, false);
  ExpectNothing();
  flow_.OnSettled(b, true);
}

TEST_F(SendFlowTest, OnFailed__finishes_nothing_twice) {
  Submit(100);
  Request* done = Submit(100);
  Grant(0, 100);
  Grant(1, 100);
  Next();
  flow_.OnSettled(Next(), true);  // Done, behind an open one.
  ExpectDone(done, Outcome::kOk, 100);
  done->state = State::kFree;
  flow_.OnFailed(Outcome::kClosed);
  EXPECT_EQ(done->state.load(), State::kFree);
}

TEST_F(SendFlowTest, OnFailed__later_requests_end_at_once) {
  flow_.OnFailed(Outcome::kClosed);
  flow_.OnFailed(Outcome::kPeerLost);
  for (uint32_t i = 0; i < 2 * SendFlow::kMaxOpenMessages; ++i) {
    EXPECT_FALSE(flow_.full());
    EXPECT_TRUE(Grant(i, 100));
    ExpectDone(Submit(100), Outcome::kClosed, 0);
    ExpectNothing();
  }
  EXPECT_TRUE(flow_.idle());
}

TEST_F(SendFlowTest, Next__cuts_on_the_grid) {
  Submit(1000);
  Grant(0, 1000);
  ExpectCargo(Next(512), 0, 0, 512, false);
  ExpectCargo(Next(128), 0, 512, 128, false);
  ExpectCargo(Next(256), 0, 640, 256, false);
  ExpectCargo(Next(128), 0, 896, 104, false);
  ExpectNothing();
}

TEST_F(SendFlowTest, Next__max_bytes_off_the_grid_is_our_bug) {
  EXPECT_DEATH(flow_.Next(0), "broken promise");
  EXPECT_DEATH(flow_.Next(1400), "broken promise");  // No multiple of 16.
}

TEST_F(SendFlowTest, Next__older_messages_first) {
  Submit(200);
  Submit(100);
  Grant(1, 100);
  Grant(0, 200);
  ExpectCargo(Next(128), 0, 0, 128, false);
  ExpectCargo(Next(128), 0, 128, 72, false);
  ExpectCargo(Next(128), 1, 0, 100, false);
}

TEST_F(SendFlowTest, Next__lost_before_new_and_oldest_first) {
  for (uint32_t i = 0; i < 3; ++i) {
    Submit(256);
    Grant(i, 256);
  }
  const Cargo a = Next(128), b = Next(128), c = Next(128), d = Next(128);
  for (const Cargo& cargo : {c, a, d, b}) flow_.OnSettled(cargo, false);
  ExpectCargo(Next(128), 0, 0, 128, true);
  ExpectCargo(Next(128), 0, 128, 128, true);
  ExpectCargo(Next(128), 1, 0, 128, true);
  ExpectCargo(Next(128), 1, 128, 128, true);
  ExpectCargo(Next(128), 2, 0, 128, false);
}

TEST_F(SendFlowTest, Next__lost_cargo_is_cut_smaller) {
  Request* request = Submit(1000);
  Grant(0, 1000);
  const Cargo whole = Next(1024);
  flow_.OnSettled(whole, false);
  const Cargo a = Next(384), b = Next(512), c = Next(128);
  ExpectCargo(a, 0, 0, 384, true);
  ExpectCargo(b, 0, 384, 512, true);
  ExpectCargo(c, 0, 896, 104, true);
  ExpectNothing();
  flow_.OnSettled(c, true);
  flow_.OnSettled(b, false);
  flow_.OnSettled(a, true);
  const Cargo again = Next();
  ExpectCargo(again, 0, 384, 512, true);
  ExpectOpen(request);
  flow_.OnSettled(again, true);
  ExpectDone(request, Outcome::kOk, 1000);
}

TEST_F(SendFlowTest, Next__many_lost_in_disorder) {
  constexpr uint32_t kCargos = 2000;
  Submit(kCargos * 128);
  Grant(0, kCargos * 128);
  std::vector<Cargo> cargos;
  for (uint32_t i = 0; i < kCargos; ++i) cargos.push_back(Next(128));
  Random random(1);
  for (uint32_t i = kCargos; i > 0; --i) {
    std::swap(cargos[i - 1], cargos[random.Below(i)]);
    flow_.OnSettled(cargos[i - 1], false);
  }
  for (uint32_t i = 0; i < kCargos; ++i) {
    ExpectCargo(Next(128), 0, i * 128, 128, true);
  }
  ExpectNothing();
}

TEST_F(SendFlowTest, Next__empty_message_is_one_empty_cargo) {
  Request* request = Submit(0);
  Grant(0, 1000);
  const Cargo cargo = Next();
  ExpectCargo(cargo, 0, 0, 0, false);
  ExpectNothing();
  ExpectOpen(request);
  flow_.OnSettled(cargo, false);
  const Cargo again = Next();
  ExpectCargo(again, 0, 0, 0, true);
  flow_.OnSettled(again, true);
  ExpectDone(request, Outcome::kOk, 0);
}

TEST_F(SendFlowTest, Next__empty_message_into_empty_receive) {
  Request* request = Submit(0);
  Grant(0, 0);
  flow_.OnSettled(Next(), true);
  ExpectDone(request, Outcome::kOk, 0);
}

TEST_F(SendFlowTest, Next__truncated_message_is_one_empty_cargo) {
  Request* request = Submit(1001);
  Request* after = Submit(100);
  Grant(0, 1000);
  Grant(1, 1000);
  const Cargo cargo = Next();
  ExpectCargo(cargo, 0, 0, 0, false);
  EXPECT_FALSE(flow_.IsLast(cargo));
  EXPECT_EQ(flow_.Payload(cargo).length, 0u);
  flow_.OnSettled(cargo, false);
  const Cargo again = Next();
  ExpectCargo(again, 0, 0, 0, true);
  EXPECT_FALSE(flow_.IsLast(again));
  ExpectOpen(request);
  flow_.OnSettled(again, true);
  ExpectDone(request, Outcome::kTruncated, 0);
  flow_.OnSettled(Next(), true);
  ExpectDone(after, Outcome::kOk, 100);
}

TEST_F(SendFlowTest, Next__largest_message) {
  Submit(0xffffffffu);
  Grant(0, 0xffffffffu);
  constexpr uint32_t kHuge = 0xfffffff0u;  // The last place for a cut.
  const Cargo a = Next(kHuge), b = Next(kHuge);
  ExpectCargo(a, 0, 0, kHuge, false);
  ExpectCargo(b, 0, kHuge, 15, false);
  flow_.OnSettled(a, true);
  flow_.OnSettled(b, true);
  ExpectDone(&requests_.front(), Outcome::kOk, 0xffffffffu);
}

// Where a NIC may place some of the bytes, none of its lines is split.
TEST_F(SendFlowTest, Next__lines_where_the_far_nic_may_place) {
  Submit(1000);
  EXPECT_TRUE(
      flow_.OnGrant(GrantOf(0), {.capacity_bytes = 1000,
                                 .admitted_bytes = 1000,
                                 .target = {.address = 4096, .key = 1}}));
  const Cargo a = Next(304), b = Next(448), c = Next(1008);
  ExpectCargo(a, 0, 0, 256, false);
  ExpectCargo(b, 0, 256, 384, false);
  ExpectCargo(c, 0, 640, 360, false);
  flow_.OnSettled(b, false);
  ExpectCargo(Next(240), 0, 256, 128, true);
  ExpectCargo(Next(400), 0, 384, 256, true);
}

TEST_F(SendFlowTest, Next__ids_wrap) {
  constexpr MessageId kFirst{0xffffffffu - 100};
  flow_ = SendFlow(kFlow, kFirst);
  EXPECT_FALSE(Grant(kFirst.value - 1, 10));
  for (uint32_t i = 0; i < 300; ++i) {
    const uint32_t id = kFirst.value + 2 * i;
    Request* a = Submit(256);
    Request* b = Submit(0);
    EXPECT_TRUE(Grant(id + 1, 256));
    EXPECT_TRUE(Grant(id, 256));
    EXPECT_FALSE(Grant(id + SendFlow::kMaxGrants, 256));
    const Cargo a0 = Next(128), a1 = Next(128), b0 = Next(128);
    flow_.OnSettled(b0, false);
    flow_.OnSettled(a1, false);
    flow_.OnSettled(a0, false);
    ExpectCargo(Next(128), id, 0, 128, true);
    ExpectCargo(Next(128), id, 128, 128, true);
    ExpectCargo(Next(128), id + 1, 0, 0, true);
    EXPECT_TRUE(flow_.IsLast(a1));
    for (const Cargo& cargo : {b0, a0, a1}) flow_.OnSettled(cargo, true);
    ExpectDone(a, Outcome::kOk, 256);
    ExpectDone(b, Outcome::kOk, 0);
    EXPECT_TRUE(Grant(id, 256));  // Late, and harmless.
  }
  EXPECT_TRUE(flow_.idle());
}

TEST_F(SendFlowTest, Payload__is_a_view_of_the_request) {
  std::byte bytes[300];
  Request* request = NewRequest(0);
  request->memory = {bytes, sizeof(bytes), 5};
  flow_.OnSubmitted(request);
  Grant(0, 300);
  const Cargo a = Next(256), b = Next(256);
  EXPECT_EQ(flow_.Payload(a).data, bytes);
  EXPECT_EQ(flow_.Payload(a).length, 256u);
  EXPECT_EQ(flow_.Payload(a).key, 5u);
  EXPECT_EQ(flow_.Payload(b).data, bytes + 256);
  EXPECT_EQ(flow_.Payload(b).length, 44u);
}

TEST_F(SendFlowTest, Payload__after_the_loan_ended_is_our_bug) {
  Submit(100);
  Grant(0, 100);
  const Cargo cargo = Next();
  flow_.OnSettled(cargo, true);
  EXPECT_DEATH(flow_.Payload(cargo), "broken promise");
}

}  // namespace
}  // namespace hawser
