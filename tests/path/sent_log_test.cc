#include "transport/path/sent_log.h"

#include "gtest/gtest.h"
#include "transport/base/random.h"

namespace hawser {
namespace {

using State = SentPacket::State;

wire::Cargo CargoOf(uint32_t message) {
  wire::Cargo cargo;
  cargo.message = {message};
  return cargo;
}

Time At(uint64_t micros) {
  return Time() + Duration::Micros(static_cast<int64_t>(micros));
}

PacketNumber Add(SentLog& log, uint32_t bytes = 100) {
  const uint64_t n = log.end().value;
  return log.Add(CargoOf(static_cast<uint32_t>(n)), bytes, At(n));
}

TEST(SentLog, Add__numbers_count_up_from_zero) {
  SentLog log;
  EXPECT_EQ(log.begin(), log.end());
  EXPECT_EQ(log.oldest_open(), log.end());
  for (uint64_t n = 0; n < 100; ++n) {
    EXPECT_EQ(log.end(), PacketNumber{n});
    EXPECT_EQ(Add(log), PacketNumber{n});
  }
  EXPECT_EQ(log.begin(), PacketNumber{0});
  EXPECT_EQ(log.open_packets(), 100u);
  EXPECT_EQ(log.in_flight_bytes(), 10'000u);
}

TEST(SentLog, Add__grows_up_to_the_ack_window_and_keeps_everything) {
  SentLog log;
  for (int i = 0; i < 20; ++i) log.Settle(Add(log), State::kDelivered);
  log.Trim(log.end());
  for (uint32_t i = 0; i < wire::kAckWindow; ++i) {
    EXPECT_FALSE(log.full());
    Add(log);
  }
  EXPECT_TRUE(log.full());
  for (uint64_t n = 20; n < 20 + wire::kAckWindow; ++n) {
    EXPECT_EQ(log[{n}].cargo.message.value, n);
    EXPECT_EQ(log[{n}].sent_at, At(n));
    EXPECT_EQ(log.place({n}), &log[{n}]);
  }
}

TEST(SentLog, Settle__takes_it_out_of_flight) {
  SentLog log;
  Add(log, 10), Add(log, 20), Add(log, 30);
  log.Settle({1}, State::kLost);
  EXPECT_EQ(log.in_flight_bytes(), 40u);
  EXPECT_EQ(log.open_packets(), 2u);
  EXPECT_EQ(log.oldest_open(), PacketNumber{0});
  EXPECT_EQ(log.oldest_open_sent_at(), At(0));
  log.Settle({0}, State::kDelivered);
  EXPECT_EQ(log.oldest_open(), PacketNumber{2});
  EXPECT_EQ(log.oldest_open_sent_at(), At(2));
  log.Settle({2}, State::kDelivered);
  EXPECT_EQ(log.oldest_open(), log.end());
  EXPECT_EQ(log.in_flight_bytes(), 0u);
  Add(log);
  EXPECT_EQ(log.oldest_open(), PacketNumber{3});
  EXPECT_EQ(log.oldest_open_sent_at(), At(3));
}

TEST(SentLog, Settle__a_lost_one_may_turn_out_delivered) {
  SentLog log;
  Add(log), Add(log);
  log.Settle({0}, State::kLost);
  EXPECT_EQ(log.in_flight_bytes(), 100u);
  log.Settle({0}, State::kDelivered);
  EXPECT_EQ(log[{0}].state, State::kDelivered);
  EXPECT_EQ(log.in_flight_bytes(), 100u);
  EXPECT_EQ(log.open_packets(), 1u);
}

TEST(SentLogDeathTest, Settle__once_only) {
  SentLog log;
  Add(log), Add(log);
  log.Settle({0}, State::kDelivered);
  EXPECT_DEATH(log.Settle({0}, State::kDelivered), "broken promise");
  EXPECT_DEATH(log.Settle({0}, State::kLost), "broken promise");
  EXPECT_DEATH(log.Settle({7}, State::kLost), "broken promise");
}

TEST(SentLog, Undelivered__of_what_is_remembered) {
  SentLog log;
  for (int i = 0; i < 10; ++i) Add(log);
  EXPECT_EQ(log.Undelivered({9}), 0b11'1111'1111u);
  log.Settle({9}, State::kDelivered);
  log.Settle({0}, State::kDelivered);
  log.Settle({5}, State::kLost);
  EXPECT_EQ(log.Undelivered({9}), 0b01'1111'1110u);
  EXPECT_EQ(log.Undelivered({5}), 0b01'1111u);
  log.Trim({0});
  log.Settle({1}, State::kDelivered);
  log.Trim({0});
  EXPECT_EQ(log.begin(), PacketNumber{2});
  EXPECT_EQ(log.Undelivered({9}), 0b00'1111'1110u);
}

TEST(SentLog, Undelivered__numbers_a_window_apart_do_not_mix) {
  SentLog log;
  for (uint32_t i = 0; i < 3 * wire::kAckWindow; ++i) {
    const PacketNumber n = Add(log);
    ASSERT_EQ(log.Undelivered(n), 1u) << i;
    log.Settle(n, State::kDelivered);
    ASSERT_EQ(log.Undelivered(n), 0u) << i;
    log.Trim(n);
  }
}

TEST(SentLog, Trim__delivered_at_once_lost_when_old_open_never) {
  SentLog log;
  for (int i = 0; i < 6; ++i) Add(log);
  log.Settle({0}, State::kDelivered);
  log.Settle({1}, State::kLost);
  log.Settle({2}, State::kDelivered);
  log.Settle({4}, State::kLost);
  log.Trim({1});
  EXPECT_EQ(log.begin(), PacketNumber{1});
  log.Trim({2});
  EXPECT_EQ(log.begin(), PacketNumber{3});
  log.Trim({6});
  EXPECT_EQ(log.begin(), PacketNumber{3});
  log.Settle({3}, State::kDelivered);
  log.Settle({5}, State::kDelivered);
  log.Trim({4});
  EXPECT_EQ(log.begin(), PacketNumber{4});
  log.Trim({5});
  EXPECT_TRUE(log.begin() == log.end());
}

// Against the plain definition, for many random lives.
TEST(SentLog, oldest_open__is_what_a_search_would_find) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    SentLog log;
    for (int step = 0; step < 2'000; ++step) {
      if (random.Chance(0.5) && !log.full()) {
        Add(log);
      } else if (log.open_packets() > 0) {
        const uint64_t span = log.end().value - log.begin().value;
        const PacketNumber n{log.begin().value + random.Below(span)};
        if (log[n].state == State::kOpen) {
          log.Settle(n, random.Chance(0.3) ? State::kLost : State::kDelivered);
        }
      }
      if (random.Chance(0.2)) {
        log.Trim({log.end().value - std::min<uint64_t>(log.end().value, 16)});
      }
      uint64_t n = log.begin().value;
      while (n < log.end().value && log[{n}].state != State::kOpen) ++n;
      ASSERT_EQ(log.oldest_open(), PacketNumber{n}) << seed;
      if (log.open_packets() > 0) {
        ASSERT_EQ(log.oldest_open_sent_at(), log[{n}].sent_at) << seed;
      }
    }
  }
}

}  // namespace
}  // namespace hawser
