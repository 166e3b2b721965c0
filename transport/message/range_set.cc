// Why a sorted vector and not a bitmap or a tree: bytes come over paths, and
// each path is FIFO, so what has arrived is about one range per path, growing
// at its end. A handful of ranges fits in a cache line or two, and the newest
// is nearly always the last; a bitmap would cost a bit per line of the largest
// possible message, a tree an allocation per gap. Ranges that touch are merged
// at once, so a whole message is one entry again.
#include "transport/message/range_set.h"

#include <algorithm>

namespace hawser {

uint32_t RangeSet::Add(uint32_t begin, uint32_t end) {
  if (begin >= end) return 0;
  if (ranges_.empty() || ranges_.back().end < begin) {
    ranges_.push_back({begin, end});
    covered_bytes_ += end - begin;
    return end - begin;
  }
  // The new range absorbs all those that overlap or touch it; the last one is
  // asked first, because it is the usual one.
  auto first = ranges_.end() - 1;
  if (begin < first->begin) {
    first = std::partition_point(
        ranges_.begin(), first,
        [begin](const Range& range) { return range.end < begin; });
  }
  uint32_t before = 0;  // Covered by those absorbed.
  Range merged = {begin, end};
  auto last = first;
  for (; last != ranges_.end() && last->begin <= end; ++last) {
    before += last->end - last->begin;
    merged.begin = std::min(merged.begin, last->begin);
    merged.end = std::max(merged.end, last->end);
  }
  if (first == last) {
    ranges_.insert(first, merged);
  } else {
    *first = merged;
    ranges_.erase(first + 1, last);
  }
  const uint32_t added = merged.end - merged.begin - before;
  covered_bytes_ += added;
  return added;
}

bool RangeSet::Covers(uint32_t begin, uint32_t end) const {
  const auto range = Behind(begin);
  return range != ranges_.end() && range->begin <= begin && end <= range->end;
}

bool RangeSet::Meets(uint32_t begin, uint32_t end) const {
  const auto range = Behind(begin);
  return range != ranges_.end() && range->begin < end;
}

std::vector<RangeSet::Range>::const_iterator RangeSet::Behind(
    uint32_t begin) const {
  // The last one is asked first, because it is the usual one.
  if (ranges_.empty() || ranges_.back().end <= begin) return ranges_.end();
  if (ranges_.back().begin <= begin) return ranges_.end() - 1;
  return std::partition_point(
      ranges_.begin(), ranges_.end(),
      [begin](const Range& one) { return one.end <= begin; });
}

void RangeSet::Clear() {
  ranges_.clear();  // Which keeps the memory for the next message.
  covered_bytes_ = 0;
}

}  // namespace hawser
