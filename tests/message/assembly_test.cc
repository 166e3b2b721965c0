#include "transport/message/assembly.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "transport/base/copy_lines.h"
#include "transport/base/random.h"
#include "transport/wire/header.h"

namespace hawser {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::byte kUntouched{0xee};

// A message of which pieces arrive, as whoever polls its buffer sees it.
class Message {
 public:
  explicit Message(uint32_t bytes) : sent_(bytes), buffer_(bytes + 64) {
    for (uint32_t i = 0; i < bytes; ++i) {
      sent_[i] = static_cast<std::byte>(1 + i * 7 % 200);  // Never kUntouched.
    }
    std::fill(buffer_.begin(), buffer_.end(), kUntouched);
  }

  bool Add(uint32_t begin, uint32_t end) {
    const Bytes piece(sent_.begin() + begin, sent_.begin() + end);
    const bool added =
        assembly_.Add(buffer_.data(), begin, end - begin, piece.data());
    ExpectOrder();
    return added;
  }
  bool Shows(uint32_t begin, uint32_t end) const {
    return std::equal(sent_.begin() + begin, sent_.begin() + end,
                      buffer_.begin() + begin);
  }
  bool Hides(uint32_t begin, uint32_t end) const {
    return std::all_of(buffer_.begin() + begin, buffer_.begin() + end,
                       [](std::byte b) { return b == kUntouched; });
  }
  bool whole() const { return assembly_.covered_bytes() == sent_.size(); }
  uint32_t bytes() const { return static_cast<uint32_t>(sent_.size()); }
  const Assembly& assembly() const { return assembly_; }
  void Forget() { std::fill(buffer_.begin(), buffer_.end(), kUntouched); }

 private:
  // A line whose last word shows is there as a whole.
  void ExpectOrder() const {
    for (uint32_t line = 0; line + kLineBytes <= bytes(); line += kLineBytes) {
      const uint32_t word = line + kLineBytes - 8;
      if (!Hides(word, word + 8)) {
        ASSERT_TRUE(Shows(line, line + kLineBytes)) << line;
      }
    }
    ASSERT_TRUE(Hides(bytes(), bytes() + 64));
  }

  Bytes sent_, buffer_;
  Assembly assembly_;
};

TEST(Assembly, Add__what_comes_in_order_shows_at_once) {
  Message message(3000);
  for (uint32_t at = 0; at < 2880; at += 1440) {
    EXPECT_TRUE(message.Add(at, at + 1440));
    EXPECT_TRUE(message.Shows(0, at + 1440));
    EXPECT_EQ(message.assembly().end(), at + 1440);
  }
  EXPECT_FALSE(message.whole());
  EXPECT_TRUE(message.Add(2880, 3000));
  EXPECT_TRUE(message.whole() && message.Shows(0, 3000));
}

// 1456 is 11 lines and 48 bytes.
TEST(Assembly, Add__the_last_word_waits_for_the_front_of_its_line) {
  Message message(4096);
  EXPECT_TRUE(message.Add(1456, 2912));
  EXPECT_TRUE(message.Shows(1456, 1528));
  EXPECT_TRUE(message.Hides(1528, 1536));
  EXPECT_TRUE(message.Shows(1536, 2912));
  EXPECT_EQ(message.assembly().covered_bytes(), 1456u);
  EXPECT_TRUE(message.Add(0, 1456));
  EXPECT_TRUE(message.Shows(0, 2912));
}

TEST(Assembly, Add__a_line_in_many_pieces) {
  Message message(128);
  for (const uint32_t at : {112, 32, 64, 0, 96, 16, 80}) {
    EXPECT_TRUE(message.Add(at, at + 16));
    EXPECT_TRUE(message.Hides(120, 128));
  }
  EXPECT_TRUE(message.Add(48, 64));
  EXPECT_TRUE(message.Shows(0, 128));
}

TEST(Assembly, Add__what_is_here_is_not_touched_again) {
  Message message(1024);
  EXPECT_TRUE(message.Add(0, 512));
  message.Forget();
  EXPECT_FALSE(message.Add(0, 512));
  EXPECT_FALSE(message.Add(128, 144));
  EXPECT_TRUE(message.Hides(0, 1024));
}

// The end of a message that is no whole line is nobody's flag.
TEST(Assembly, Add__a_last_line_that_is_cut_does_not_wait) {
  for (const uint32_t end : {130, 144, 250, 255}) {
    Message message(end);
    const uint32_t begin = end / 16 * 16 == end ? end - 16 : end / 16 * 16;
    EXPECT_TRUE(message.Add(begin, end));
    EXPECT_TRUE(message.Shows(begin, end));
  }
}

TEST(Assembly, Clear__forgets_what_waits) {
  Message message(512);
  message.Add(16, 256);
  Assembly assembly;
  Bytes buffer(256, kUntouched);
  assembly.Add(buffer.data(), 16, 240, Bytes(240).data());
  assembly.Clear();
  EXPECT_EQ(assembly.covered_bytes(), 0u);
  EXPECT_EQ(assembly.end(), 0u);
  std::fill(buffer.begin(), buffer.end(), kUntouched);
  assembly.Add(buffer.data(), 0, 112, Bytes(112).data());
  EXPECT_EQ(buffer[120], kUntouched);
}

// What a NIC has placed is only noted; a word that waits for it goes home.
TEST(Assembly, Add__bytes_that_are_where_they_belong) {
  Bytes buffer(256, kUntouched);
  Assembly assembly;
  EXPECT_TRUE(assembly.Add(buffer.data(), 48, 208, Bytes(208).data()));
  EXPECT_EQ(buffer[120], kUntouched);
  EXPECT_TRUE(assembly.Add(buffer.data(), 0, 48, nullptr));
  EXPECT_EQ(buffer[47], kUntouched);
  EXPECT_EQ(buffer[120], std::byte{0});
  EXPECT_EQ(assembly.covered_bytes(), 256u);
  EXPECT_FALSE(assembly.Add(buffer.data(), 0, 128, nullptr));
}

// Pieces of all sizes in any order, some again and cut in another way.
TEST(Assembly, Add__any_pieces_in_any_order) {
  Random random(1);
  for (int i = 0; i < 2'000; ++i) {
    Message message(static_cast<uint32_t>(1 + random.Below(3000)));
    const auto units =
        (message.bytes() + wire::kCutBytes - 1) / wire::kCutBytes;
    const uint64_t most = random.Chance(0.5) ? 6 : 100;
    while (!message.whole()) {
      const auto begin = static_cast<uint32_t>(random.Below(units));
      const auto end = static_cast<uint32_t>(begin + 1 + random.Below(most));
      message.Add(begin * wire::kCutBytes,
                  std::min(end * wire::kCutBytes, message.bytes()));
      ASSERT_FALSE(HasFailure());
    }
    ASSERT_TRUE(message.Shows(0, message.bytes()));
  }
}

}  // namespace
}  // namespace hawser
