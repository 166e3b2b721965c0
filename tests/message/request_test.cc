#include "transport/message/request.h"

#include <gtest/gtest.h>

#include <memory>

namespace hawser {
namespace {

using Outcome = Request::Outcome;
using State = Request::State;

TEST(Request, Finish__says_how_and_how_much) {
  Request request;
  request.state = State::kSubmitted;
  request.Finish(Outcome::kTruncated, 42);
  EXPECT_EQ(request.state.load(), State::kDone);
  EXPECT_EQ(request.outcome, Outcome::kTruncated);
  EXPECT_EQ(request.bytes_moved, 42u);
}

TEST(RequestQueue, Submit__fills_a_slot_and_pushes_it) {
  auto queue = std::make_unique<RequestQueue>();
  std::byte byte;
  Request* request = queue->Submit({&byte, 1, 7});
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(request->state.load(), State::kSubmitted);
  EXPECT_EQ(request->memory.data, &byte);
  EXPECT_EQ(request->memory.length, 1u);
  EXPECT_EQ(request->memory.key, 7u);
  uint8_t slot;
  ASSERT_TRUE(queue->submitted.Pop(&slot));
  EXPECT_EQ(&queue->slots[slot], request);
  EXPECT_EQ(request->slot, slot);
  EXPECT_FALSE(queue->submitted.Pop(&slot));
}

TEST(RequestQueue, Submit__all_slots_then_none) {
  auto queue = std::make_unique<RequestQueue>();
  for (uint32_t i = 0; i < RequestQueue::kSlots; ++i) {
    ASSERT_NE(queue->Submit({nullptr, i, 0}), nullptr);
  }
  EXPECT_EQ(queue->Submit({}), nullptr);
  // They come out in the order in which they went in.
  uint8_t slot;
  for (uint32_t i = 0; i < RequestQueue::kSlots; ++i) {
    ASSERT_TRUE(queue->submitted.Pop(&slot));
    EXPECT_EQ(queue->slots[slot].memory.length, i);
  }
}

TEST(RequestQueue, Submit__takes_the_one_slot_that_is_free) {
  auto queue = std::make_unique<RequestQueue>();
  uint8_t slot;
  for (uint32_t i = 0; i < RequestQueue::kSlots; ++i) queue->Submit({});
  while (queue->submitted.Pop(&slot)) {
  }
  Outcome outcome;
  uint32_t bytes_moved;
  for (const uint8_t freed : {5, 31, 0, 5}) {
    queue->slots[freed].Finish(Outcome::kOk, 0);
    ASSERT_TRUE(
        RequestQueue::Test(&queue->slots[freed], &outcome, &bytes_moved));
    EXPECT_EQ(queue->Submit({}), &queue->slots[freed]);
    EXPECT_EQ(queue->Submit({}), nullptr);
    ASSERT_TRUE(queue->submitted.Pop(&slot));
    EXPECT_EQ(slot, freed);
  }
}

TEST(RequestQueue, Test__only_when_done_and_only_once) {
  auto queue = std::make_unique<RequestQueue>();
  Request* request = queue->Submit({});
  Outcome outcome = Outcome::kOk;
  uint32_t bytes_moved = 0;
  EXPECT_FALSE(RequestQueue::Test(request, &outcome, &bytes_moved));
  request->Finish(Outcome::kPeerLost, 3);
  EXPECT_TRUE(RequestQueue::Test(request, &outcome, &bytes_moved));
  EXPECT_EQ(outcome, Outcome::kPeerLost);
  EXPECT_EQ(bytes_moved, 3u);
  EXPECT_EQ(request->state.load(), State::kFree);
  EXPECT_FALSE(RequestQueue::Test(request, &outcome, &bytes_moved));
}

}  // namespace
}  // namespace hawser
