// Bitmap: which of so many things; sized once.
// Knows: bits.  Never: what they stand for.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hawser {

class Bitmap {
 public:
  Bitmap() = default;
  explicit Bitmap(size_t count) : words_((count + 63) / 64) {}

  bool empty() const { return words_.empty(); }  // It was not sized yet.
  // Bit i is bit i % 64 of word i / 64.
  std::span<const uint64_t> words() const { return words_; }
  bool Has(size_t i) const { return (words_[i / 64] >> i % 64 & 1) != 0; }
  void Add(size_t i) { words_[i / 64] |= uint64_t{1} << i % 64; }
  void Remove(size_t i) { words_[i / 64] &= ~(uint64_t{1} << i % 64); }
  void Put(size_t i, bool in) { in ? Add(i) : Remove(i); }
  void Clear() { std::fill(words_.begin(), words_.end(), 0); }
  // All that are in the other, which is as large.
  void Remove(const Bitmap& other) {
    for (size_t w = 0; w < words_.size(); ++w) words_[w] &= ~other.words_[w];
  }

  // In ascending order; the function may remove the one that it is given.
  template <class Function>
  void ForEach(Function function) const {
    for (size_t w = 0; w < words_.size(); ++w) {
      for (uint64_t bits = words_[w]; bits != 0; bits &= bits - 1) {
        function(w * 64 + static_cast<size_t>(std::countr_zero(bits)));
      }
    }
  }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace hawser
