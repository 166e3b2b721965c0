// Assembly: a message being put together in its buffer.
// Knows: which bytes are here, and the order of a line.  Never: packets,
// requests.
//
// A line of kLineBytes may come in pieces, in any order. Whoever polls the
// buffer takes the last word of a line for a sign that the line is there
// (base/copy_lines.h); so that word waits for the rest of its line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport/message/range_set.h"

namespace hawser {

class Assembly {
 public:
  // A. What is.
  uint32_t covered_bytes() const { return arrived_.covered_bytes(); }
  uint32_t end() const { return arrived_.end(); }   // Of what is here, or 0.
  bool Meets(uint32_t begin, uint32_t end) const {  // Some of it is here.
    return arrived_.Meets(begin, end);
  }
  bool Has(uint32_t offset, uint32_t length) const {  // length > 0: all of it.
    return arrived_.Covers(offset, offset + length);
  }

  // B. What happened. `length` bytes belong at `offset`, a multiple of
  // wire::kCutBytes, of the buffer `memory`; they are at `bytes`, or, if that
  // is null or the very place, where they belong. False: all of them were here
  // before, and nothing was touched. Some may have been: they are the same.
  // Once a message is covered, no word of it waits.
  bool Add(std::byte* memory, uint32_t offset, uint32_t length,
           const std::byte* bytes);
  void Clear();  // For the next message.

 private:
  struct LastWord {
    uint32_t line;  // Where its line begins.
    uint64_t word;
  };
  bool IsHere(uint32_t line) const;  // All of it but its last word.

  RangeSet arrived_;
  std::vector<LastWord> waiting_;  // About one per gap in arrived_.
};

}  // namespace hawser
