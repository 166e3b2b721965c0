// EventQueue: what happens next, of everything that was foreseen.
// Knows: instants, an order among equals.  Never: what an event means.
//
// Nearly every event of a packet network comes a constant time after another:
// one serialisation of a full packet, one flight over a link. Events that are
// put off by the same time come out in the order in which they went in, so each
// such delay has a line of its own, first in first out, and the next event is
// the earliest of the lines' heads. No event is ever compared with those behind
// it. (The delay lines of a switch-level simulator; the calendar queue of
// R. Brown, CACM 31(10), 1988, has the same aim without knowing the delays.)
// Whatever has a delay of its own, as a timer has, waits in a binary heap.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <queue>
#include <vector>

#include "transport/base/fifo.h"

namespace hawser::sim {

// Picoseconds of virtual time: at 800 Gb/s a byte takes 10.
using Picos = int64_t;
inline constexpr Picos kNeverPicos = std::numeric_limits<Picos>::max();

struct Event {
  Picos at = kNeverPicos;
  uint64_t order = 0;  // Of two at the same time, the one foreseen first.
  uint32_t kind = 0;
  uint32_t what = 0;
};

class EventQueue {
 public:
  using Line = uint32_t;
  // No line: for delays that are rare.
  static constexpr Line kNoLine = 0;

  // A. What is.
  Picos now() const { return now_; }
  uint64_t popped() const { return order_ - size_; }
  bool empty() const { return size_ == 0; }
  // What comes behind the latest event in its line: soon, unless others come
  // first. Time to fetch what it is about into the cache.
  const Fifo<Event>& coming() const { return lines_[latest_].events; }

  // The line of everything that is put off by `delay`; kNoLine when there are
  // kMaxLines of them already.
  Line LineFor(Picos delay) {
    for (Line line = 1; line < count_; ++line) {
      if (lines_[line].delay == delay) return line;
    }
    if (count_ == kMaxLines) return kNoLine;
    lines_[count_].delay = delay;
    return count_++;
  }

  // B. What happens: so long after now as `line`, not kNoLine, says...
  void Push(Line line, uint32_t kind, uint32_t what) {
    DelayLine& its = lines_[line];
    const Event event{now_ + its.delay, order_++, kind, what};
    ++size_;
    if (its.events.empty()) Begin(line, event);
    its.events.Push(event);
  }
  // ...or then, but not before now.
  void PushAt(Picos at, uint32_t kind, uint32_t what) {
    ++size_;
    heap_.push({std::max(at, now_), order_++, kind, what});
    Begin(kNoLine, heap_.top());
  }

  // C. What next. Not when empty().
  Event Pop() {
    --size_;
    latest_ = Earliest();
    const bool rare = latest_ == kRare;
    if (rare) latest_ = EarliestOfRare();
    Event event;
    if (latest_ == kNoLine) {
      event = heap_.top();
      heap_.pop();
    } else {
      Fifo<Event>& line = lines_[latest_].events;
      event = line.Pop();
      heads_[latest_] = line.empty() ? Head() : HeadOf(line.front());
    }
    now_ = event.at;
    if (rare) heads_[kRare] = HeadOfLine(EarliestOfRare());
    return event;
  }

 private:
  static constexpr Line kMaxLines = 24;
  // The first lines carry nearly everything. The others and the heap are rare,
  // and the earliest of them all stands in the place of the heap's.
  static constexpr Line kOften = 3, kRare = kNoLine;

  // Of a line's first event.
  struct Head {
    Picos at = kNeverPicos;
    uint64_t order = UINT64_MAX;
    unsigned __int128 key() const {
      return static_cast<unsigned __int128>(at) << 64 | order;
    }
  };
  struct DelayLine {
    Picos delay = 0;
    Fifo<Event> events;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  static Head HeadOf(const Event& event) { return {event.at, event.order}; }
  Head HeadOfLine(Line line) const {
    if (line != kNoLine) return heads_[line];
    return heap_.empty() ? Head() : HeadOf(heap_.top());
  }

  // `event` may be the first of its line now.
  void Begin(Line line, const Event& event) {
    if (line != kNoLine) heads_[line] = HeadOf(event);
    if (line > kOften || line == kNoLine) {
      if (HeadOf(event).key() < heads_[kRare].key()) {
        heads_[kRare] = HeadOf(event);
      }
    }
  }
  // Which is next is anybody's guess, so it is found without a branch: a wrong
  // guess costs more than looking at every head.
  Line Earliest() const {
    Line first = 0;
    unsigned __int128 least = heads_[0].key();
    for (Line line = 1; line <= kOften; ++line) {
      const unsigned __int128 key = heads_[line].key();
      const bool earlier = key < least;
      first = earlier ? line : first;
      least = earlier ? key : least;
    }
    return first;
  }
  Line EarliestOfRare() const {
    Line first = kNoLine;
    Head least = HeadOfLine(kNoLine);
    for (Line line = kOften + 1; line < count_; ++line) {
      if (heads_[line].key() >= least.key()) continue;
      first = line;
      least = heads_[line];
    }
    return first;
  }

  Picos now_ = 0;
  uint64_t order_ = 0, size_ = 0;
  Line latest_ = kNoLine, count_ = 1;  // The first line stands for the heap.
  std::array<Head, kMaxLines> heads_;
  std::array<DelayLine, kMaxLines> lines_;
  std::priority_queue<Event, std::vector<Event>, Later> heap_;
};

}  // namespace hawser::sim
