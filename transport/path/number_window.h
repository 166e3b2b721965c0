// NumberWindow: one bit for each of the newest kAckWindow packet numbers.
// Knows: bits.  Never: what a bit says of its number.
#pragma once

#include <cstdint>

#include "transport/wire/header.h"

namespace hawser {

// Bits are stored against the order of numbers, because an ack is: its bit i
// speaks of `largest - i`. So 64 bits are read for an ack, or compared with
// one, by two shifts and not one by one. Numbers kAckWindow apart share a bit:
// whoever moves on to a new number clears it first.
class NumberWindow {
 public:
  bool Has(uint64_t number) const {
    const uint32_t at = Position(number);
    return (words_[at / 64] >> (at % 64)) & 1;
  }
  void Set(uint64_t number) {
    const uint32_t at = Position(number);
    words_[at / 64] |= uint64_t{1} << (at % 64);
  }
  void Clear(uint64_t number) {
    const uint32_t at = Position(number);
    words_[at / 64] &= ~(uint64_t{1} << (at % 64));
  }
  void ClearAll() {
    for (uint64_t& word : words_) word = 0;
  }
  // Bit i: that of `newest - i`, for i in 0..63.
  uint64_t Read(uint64_t newest) const {
    const uint32_t at = Position(newest);
    const uint32_t shift = at % 64;
    const uint64_t low = words_[at / 64] >> shift;
    if (shift == 0) return low;
    return low | words_[(at / 64 + 1) % wire::kAckWords] << (64 - shift);
  }

 private:
  static_assert((wire::kAckWindow & (wire::kAckWindow - 1)) == 0);
  static uint32_t Position(uint64_t number) {
    return static_cast<uint32_t>(~number) & (wire::kAckWindow - 1);
  }

  uint64_t words_[wire::kAckWords] = {};
};

}  // namespace hawser
