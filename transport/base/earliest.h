// Earliest: many times, each of which may change, and the first of them.
// Knows: times by index.  Never: what is due then.
//
// A tournament (Knuth, The Art of Computer Programming, vol. 3, section 5.4.1):
// each node holds the earlier of the two below it. A change is carried up only
// as far as it matters, and what is due is found without a look at the rest.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <vector>

#include "transport/base/time.h"

namespace hawser {

class Earliest {
 public:
  explicit Earliest(size_t count = 0) { Grow(count); }

  size_t count() const { return count_; }
  Time first() const { return nodes_[1]; }  // Or Never.
  Time operator[](size_t i) const { return nodes_[leaves() + i]; }

  // More of them, at Never; never fewer.
  void Grow(size_t count) {
    count_ = std::max(count_, count);
    const size_t before = leaves();
    const size_t after = std::bit_ceil(std::max<size_t>(count_, 1));
    if (after == before) return;
    std::vector<Time> nodes(2 * after, Time::Never());
    std::copy_n(nodes_.begin() + static_cast<std::ptrdiff_t>(before), before,
                nodes.begin() + static_cast<std::ptrdiff_t>(after));
    nodes_ = std::move(nodes);
    for (size_t n = after - 1; n > 0; --n) nodes_[n] = Winner(n);
  }

  void Set(size_t i, Time when) {
    size_t n = leaves() + i;
    if (nodes_[n] == when) return;
    nodes_[n] = when;
    while (n > 1) {
      n /= 2;
      const Time winner = Winner(n);
      if (nodes_[n] == winner) return;
      nodes_[n] = winner;
    }
  }

  // Those of `now` and earlier, by ascending index. The function may not Set.
  template <class Function>
  void ForEachDue(Time now, Function function) const {
    Visit(1, now, function);
  }

 private:
  size_t leaves() const { return nodes_.size() / 2; }
  Time Winner(size_t n) const {
    return std::min(nodes_[2 * n], nodes_[2 * n + 1]);
  }
  template <class Function>
  void Visit(size_t n, Time now, Function& function) const {
    if (nodes_[n] > now) return;
    if (n >= leaves()) return function(n - leaves());
    Visit(2 * n, now, function);
    Visit(2 * n + 1, now, function);
  }

  size_t count_ = 0;
  // The root is at 1, and below node n are 2n and 2n + 1; then the leaves.
  std::vector<Time> nodes_ = std::vector<Time>(2, Time::Never());
};

}  // namespace hawser
