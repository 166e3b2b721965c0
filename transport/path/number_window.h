// NumberWindow: one bit for each of the newest kAckWindow packet numbers.
// Knows: bits.  Never: what a bit says of its number.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "transport/wire/header.h"

namespace hawser {

// Bits are stored against the order of numbers, because an ack is: its bit i
// speaks of `largest - i`. So 64 bits are read for an ack, or compared with
// one, by two shifts and not one by one. Numbers kAckWindow apart share a bit:
// whoever moves on to a new number clears it first. Until number 64 comes, one
// word holds all there is: a path that carries little is small.
class NumberWindow {
 public:
  bool Has(uint64_t number) const {
    if (!rest_) return number < 64 && (first_ >> Bit(number) & 1) != 0;
    return (rest_[Word(number)] >> Bit(number) & 1) != 0;
  }
  void Set(uint64_t number) { At(number) |= uint64_t{1} << Bit(number); }
  void Clear(uint64_t number) { At(number) &= ~(uint64_t{1} << Bit(number)); }
  void ClearAll() {
    first_ = 0;
    if (rest_) std::fill_n(rest_.get(), wire::kAckWords, 0);
  }
  // Bit i: that of `newest - i`, for i in 0..63. `newest` is no newer than
  // what was set or cleared.
  uint64_t Read(uint64_t newest) const {
    const uint32_t shift = Bit(newest);
    if (!rest_) return first_ >> shift;
    const uint32_t at = Word(newest);
    const uint64_t low = rest_[at] >> shift;
    if (shift == 0) return low;
    return low | rest_[(at + 1) % wire::kAckWords] << (64 - shift);
  }

 private:
  static_assert((wire::kAckWindow & (wire::kAckWindow - 1)) == 0);
  static uint32_t Bit(uint64_t number) {
    return static_cast<uint32_t>(~number) % 64;
  }
  static uint32_t Word(uint64_t number) {
    return static_cast<uint32_t>(~number) / 64 % wire::kAckWords;
  }
  uint64_t& At(uint64_t number) {
    if (!rest_) {
      if (number < 64) return first_;
      rest_ = std::make_unique<uint64_t[]>(wire::kAckWords);
      rest_[Word(0)] = first_;
    }
    return rest_[Word(number)];
  }

  uint64_t first_ = 0;
  std::unique_ptr<uint64_t[]> rest_;  // Then all words are here.
};

}  // namespace hawser
