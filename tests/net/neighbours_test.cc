#include "transport/net/neighbours.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace hawser {
namespace {

using Bytes = std::vector<std::byte>;

struct Host {
  Host(const char* mac_text, const char* ip_text, uint16_t vlan = kNoVlan)
      : mac(*ParseMac(mac_text)),
        ip(*ParseIp(ip_text)),
        neighbours(mac, vlan, ip),
        filter{mac, vlan, ip, 1} {}

  Bytes Take(Time now) {
    std::array<std::byte, Neighbours::kMaxFrameBytes> out;
    const size_t size = neighbours.TakeFrame(now, out);
    return {out.begin(), out.begin() + static_cast<long>(size)};
  }
  // False: it is not for this host.
  bool Hear(const Bytes& frame, Time now) {
    const ParsedFrame parsed = ParseFrame(frame, filter, /*checked=*/false);
    neighbours.OnFrame(parsed, now);
    return parsed.kind == FrameKind::kArp ||
           parsed.kind == FrameKind::kNeighbour;
  }

  MacAddress mac;
  IpAddress ip;
  Neighbours neighbours;
  FrameFilter filter;
};

Time At(int64_t millis) { return Time() + Duration::Millis(millis); }

class NeighboursTest : public testing::TestWithParam<bool> {
 protected:
  Host left_{"02:00:00:00:00:01", GetParam() ? "192.0.2.1" : "2001:db8::1"};
  Host right_{"02:00:00:00:00:02", GetParam() ? "192.0.2.2" : "2001:db8::2"};
  Host third_{"02:00:00:00:00:03", GetParam() ? "192.0.2.3" : "2001:db8::3"};
};

TEST_P(NeighboursTest, AQuestionIsAnswered) {
  const size_t index = left_.neighbours.Add(right_.ip, At(0));
  EXPECT_EQ(left_.neighbours.Find(index), nullptr);
  EXPECT_EQ(left_.neighbours.deadline(), At(0));
  const Bytes question = left_.Take(At(0));
  ASSERT_FALSE(question.empty());
  EXPECT_TRUE(left_.Take(At(0)).empty());
  // Everybody hears it, and one answers.
  EXPECT_TRUE(third_.Hear(question, At(0)));
  EXPECT_TRUE(third_.Take(At(0)).empty());
  EXPECT_TRUE(right_.Hear(question, At(0)));
  const Bytes answer = right_.Take(At(0));
  ASSERT_FALSE(answer.empty());
  EXPECT_TRUE(right_.Take(At(0)).empty());
  const uint64_t before = left_.neighbours.changes();
  EXPECT_TRUE(left_.Hear(answer, At(1)));
  ASSERT_NE(left_.neighbours.Find(index), nullptr);
  EXPECT_EQ(*left_.neighbours.Find(index), right_.mac);
  EXPECT_GT(left_.neighbours.changes(), before);
  EXPECT_TRUE(left_.Take(At(1)).empty());
}

TEST_P(NeighboursTest, IsAnswer__and_a_question_is_none) {
  left_.neighbours.Add(right_.ip, At(0));
  const Bytes question = left_.Take(At(0));
  EXPECT_FALSE(Neighbours::IsAnswer(
      ParseFrame(question, right_.filter, /*checked=*/false)));
  right_.Hear(question, At(0));
  const Bytes answer = right_.Take(At(0));
  EXPECT_TRUE(Neighbours::IsAnswer(
      ParseFrame(answer, left_.filter, /*checked=*/false)));
  ParsedFrame datagram;
  datagram.kind = FrameKind::kDatagram;
  EXPECT_FALSE(Neighbours::IsAnswer(datagram));
  ParsedFrame short_one;
  short_one.kind = GetParam() ? FrameKind::kArp : FrameKind::kNeighbour;
  EXPECT_FALSE(Neighbours::IsAnswer(short_one));
}

TEST_P(NeighboursTest, WhoIsAskedLearnsWhoAsks) {
  const size_t index = right_.neighbours.Add(left_.ip, At(0));
  left_.neighbours.Add(right_.ip, At(0));
  right_.Hear(left_.Take(At(0)), At(0));
  ASSERT_NE(right_.neighbours.Find(index), nullptr);
  EXPECT_EQ(*right_.neighbours.Find(index), left_.mac);
}

TEST_P(NeighboursTest, OneAddressHasOneIndex) {
  const size_t index = left_.neighbours.Add(right_.ip, At(0));
  EXPECT_NE(left_.neighbours.Add(third_.ip, At(0)), index);
  EXPECT_EQ(left_.neighbours.Add(right_.ip, At(5)), index);
}

TEST_P(NeighboursTest, SilenceIsAskedAgainEverLessOften) {
  const size_t index = left_.neighbours.Add(right_.ip, At(0));
  int questions = 0;
  for (Time now = At(0); now < At(10'000); now = left_.neighbours.deadline()) {
    ASSERT_FALSE(left_.Take(now).empty());
    ++questions;
    EXPECT_EQ(left_.neighbours.silent(index), now >= At(3000)) << questions;
  }
  EXPECT_GT(questions, 10);
  EXPECT_LT(questions, 20);
  // It is still taken at its word when it speaks.
  right_.neighbours.Add(left_.ip, At(10'000));
  left_.Hear(right_.Take(At(10'000)), At(10'000));
  EXPECT_NE(left_.neighbours.Find(index), nullptr);
  EXPECT_FALSE(left_.neighbours.silent(index));
}

TEST_P(NeighboursTest, WhatIsKnownIsKeptWhileItIsAskedForAnew) {
  const size_t index = left_.neighbours.Add(right_.ip, At(0));
  right_.Hear(left_.Take(At(0)), At(0));
  left_.Hear(right_.Take(At(0)), At(0));
  const Time later = left_.neighbours.deadline();
  EXPECT_GE(later, At(10'000));
  // The same host has another NIC now.
  Host moved{"02:00:00:00:00:09", GetParam() ? "192.0.2.2" : "2001:db8::2"};
  bool asked_all = false;
  Time now = later;
  for (int i = 0; i < 10 && !asked_all; ++i) {
    const Bytes question = left_.Take(now);
    EXPECT_EQ(*left_.neighbours.Find(index), right_.mac);
    asked_all = moved.Hear(question, now);
    now = left_.neighbours.deadline();
  }
  EXPECT_TRUE(asked_all);
  left_.Hear(moved.Take(now), now);
  EXPECT_EQ(*left_.neighbours.Find(index), moved.mac);
}

TEST_P(NeighboursTest, WhatWasToldIsNotAskedNorChanged) {
  const size_t index = left_.neighbours.AddKnown(right_.ip, third_.mac);
  EXPECT_EQ(*left_.neighbours.Find(index), third_.mac);
  EXPECT_EQ(left_.neighbours.deadline(), Time::Never());
  right_.neighbours.Add(left_.ip, At(0));
  left_.Hear(right_.Take(At(0)), At(0));
  EXPECT_EQ(*left_.neighbours.Find(index), third_.mac);
}

TEST_P(NeighboursTest, AStormLeavesNoTrace) {
  left_.neighbours.Add(right_.ip, At(0));
  left_.Take(At(0));
  for (int i = 0; i < 1000; ++i) {
    const std::string end = std::to_string(i % 200 + 10);
    Host other{"02:00:00:00:01:00",
               (GetParam() ? "192.0.2." + end : "2001:db8::" + end).c_str()};
    // It asks for us, and has no answer yet.
    other.neighbours.Add(left_.ip, At(0));
    left_.Hear(other.Take(At(0)), At(0));
  }
  int answers = 0;
  while (!left_.Take(At(0)).empty()) ++answers;
  EXPECT_GT(answers, 0);
  EXPECT_LE(answers, 16);
  EXPECT_EQ(left_.neighbours.changes(), 0u);
}

TEST_P(NeighboursTest, AskAgain__everybody_at_once) {
  left_.neighbours.Add(right_.ip, At(0));
  right_.Hear(left_.Take(At(0)), At(0));
  left_.Hear(right_.Take(At(0)), At(0));
  EXPECT_TRUE(left_.Take(At(100)).empty());
  left_.neighbours.AskAgain(At(100));
  EXPECT_FALSE(left_.Take(At(100)).empty());
}

TEST_P(NeighboursTest, ATagIsOnQuestionsAndAnswers) {
  Host tagged{"02:00:00:00:00:04", GetParam() ? "192.0.2.4" : "2001:db8::4", 5};
  tagged.neighbours.Add(left_.ip, At(0));
  const Bytes question = tagged.Take(At(0));
  EXPECT_FALSE(left_.Hear(question, At(0)));
  Host other{"02:00:00:00:00:05", GetParam() ? "192.0.2.1" : "2001:db8::1", 5};
  EXPECT_TRUE(other.Hear(question, At(0)));
  EXPECT_FALSE(other.Take(At(0)).empty());
}

TEST_P(NeighboursTest, ABroadcastAddressIsNobodys) {
  const size_t index = left_.neighbours.Add(right_.ip, At(0));
  left_.Take(At(0));
  Host liar{"ff:ff:ff:ff:ff:ff", GetParam() ? "192.0.2.2" : "2001:db8::2"};
  liar.neighbours.Add(left_.ip, At(0));
  left_.Hear(liar.Take(At(0)), At(0));
  EXPECT_EQ(left_.neighbours.Find(index), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Ip, NeighboursTest, testing::Values(true, false),
                         [](const testing::TestParamInfo<bool>& one) {
                           return one.param ? "Arp" : "Discovery";
                         });

}  // namespace
}  // namespace hawser
