#include "transport/sim/fabric/ack_list.h"

#include "gtest/gtest.h"

namespace hawser::sim {
namespace {

wire::Ack AckOf(uint16_t path, uint8_t words) {
  wire::Ack ack;
  ack.path = {path};
  ack.largest = {1000u + path};
  ack.held = Duration::Micros(path);
  ack.ecn_marked = path;
  ack.words = words;
  for (uint32_t w = 0; w < words; ++w) ack.arrived[w] = 100u * path + w;
  return ack;
}

void ExpectSame(const wire::Ack& a, const wire::Ack& b) {
  EXPECT_EQ(a.path, b.path);
  EXPECT_EQ(a.largest, b.largest);
  EXPECT_EQ(a.held, b.held);
  EXPECT_EQ(a.ecn_marked, b.ecn_marked);
  ASSERT_EQ(a.words, b.words);
  for (uint32_t w = 0; w < a.words; ++w) EXPECT_EQ(a.arrived[w], b.arrived[w]);
}

TEST(AckList, Add__gives_back_what_it_was_given) {
  AckList list;
  const uint8_t words[] = {1, wire::kAckWords, 1, 2};
  for (uint16_t p = 0; p < 4; ++p) list.Add(AckOf(p, words[p]));
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list.words(), wire::kAckWords + 4u);
  for (uint16_t p = 0; p < 4; ++p) {
    EXPECT_EQ(list.path(p), PathId{p});
    EXPECT_EQ(list.largest(p), PacketNumber{1000u + p});
    ExpectSame(list[p], AckOf(p, words[p]));
  }
  list.Clear();
  EXPECT_EQ(list.size(), 0u);
  EXPECT_EQ(list.words(), 0u);
}

TEST(AckList, Copy__the_first_of_them) {
  AckList list, some;
  for (uint16_t p = 0; p < 4; ++p) list.Add(AckOf(p, p + 1));
  some.Copy(list, 3);
  ASSERT_EQ(some.size(), 3u);
  EXPECT_EQ(some.words(), 1u + 2u + 3u);
  for (uint16_t p = 0; p < 3; ++p) {
    ExpectSame(some[p], AckOf(p, static_cast<uint8_t>(p + 1)));
  }
}

}  // namespace
}  // namespace hawser::sim
