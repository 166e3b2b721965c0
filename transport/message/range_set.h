// RangeSet: which bytes of a message are here.
// Knows: disjoint, sorted ranges.  Never: the bytes.
#pragma once

#include <cstdint>
#include <vector>

namespace hawser {

// Half-open ranges of uint32_t. Holds one entry per gap, so a message that
// arrives over k FIFO paths needs about k of them.
class RangeSet {
 public:
  uint32_t covered_bytes() const { return covered_bytes_; }
  uint32_t end() const { return ranges_.empty() ? 0 : ranges_.back().end; }
  // begin < end: all of it; any of it.
  bool Covers(uint32_t begin, uint32_t end) const;
  bool Meets(uint32_t begin, uint32_t end) const;
  // Returns how many bytes were not covered before.
  uint32_t Add(uint32_t begin, uint32_t end);
  void Clear();

 private:
  struct Range {
    uint32_t begin, end;
  };
  // The first that ends behind `begin`.
  std::vector<Range>::const_iterator Behind(uint32_t begin) const;
  std::vector<Range> ranges_;  // Sorted; never touching one another.
  uint32_t covered_bytes_ = 0;
};

}  // namespace hawser
