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
#include <cstdint>
#include <limits>
#include <queue>
#include <vector>

#include "transport/base/check.h"

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
  // Those that follow in the heap; for delays that are rare.
  static constexpr Line kNoLine = 0;

  EventQueue() : lines_(1), heads_(1, kNeverPicos) {}

  // A. What is.
  Picos now() const { return now_; }
  uint64_t popped() const { return popped_; }
  bool empty() const { return size_ == 0; }
  // Of the line that the latest event came from, the one that is `places`
  // behind the next; nullptr where there is none. It comes soon, unless others
  // come first: time to fetch what it is about into the cache.
  const Event* Coming(uint64_t places) const {
    return latest_ == kNoLine ? nullptr : lines_[latest_].At(places);
  }

  // The line of everything that is put off by `delay`; kNoLine when there are
  // kMaxLines of them already.
  Line LineFor(Picos delay) {
    for (Line line = 1; line < lines_.size(); ++line) {
      if (lines_[line].delay == delay) return line;
    }
    if (lines_.size() == kMaxLines) return kNoLine;
    lines_.emplace_back();
    lines_.back().delay = delay;
    heads_.push_back(kNeverPicos);
    return static_cast<Line>(lines_.size() - 1);
  }

  // B. What happens. `line` is LineFor(delay), or kNoLine.
  void Push(Line line, Picos delay, uint32_t kind, uint32_t what) {
    const Event event{now_ + delay, order_++, kind, what};
    ++size_;
    if (line == kNoLine) {
      heap_.push(event);
      heads_[0] = heap_.top().at;
      return;
    }
    HAWSER_CHECK(delay == lines_[line].delay);
    if (lines_[line].Push(event)) heads_[line] = event.at;
  }
  void PushAt(Picos at, uint32_t kind, uint32_t what) {
    Push(kNoLine, std::max<Picos>(at - now_, 0), kind, what);
  }

  // C. What next. Not when empty().
  Event Pop() {
    Line first = 0;
    for (Line line = 1; line < heads_.size(); ++line) {
      if (heads_[line] > heads_[first]) continue;
      if (heads_[line] < heads_[first] || OrderOf(line) < OrderOf(first)) {
        first = line;
      }
    }
    --size_;
    ++popped_;
    latest_ = first;
    if (first == kNoLine) {
      const Event event = heap_.top();
      heap_.pop();
      heads_[0] = heap_.empty() ? kNeverPicos : heap_.top().at;
      now_ = event.at;
      return event;
    }
    const Event event = lines_[first].Pop();
    heads_[first] = lines_[first].head_at();
    now_ = event.at;
    return event;
  }

 private:
  static constexpr size_t kMaxLines = 24;

  // A ring that doubles when it is full.
  struct DelayLine {
    Picos delay = 0;
    std::vector<Event> ring = std::vector<Event>(64);
    uint64_t begin = 0, end = 0;

    const Event& head() const { return ring[begin & (ring.size() - 1)]; }
    Picos head_at() const { return begin == end ? kNeverPicos : head().at; }
    const Event* At(uint64_t places) const {
      if (end - begin <= places) return nullptr;
      return &ring[(begin + places) & (ring.size() - 1)];
    }
    bool Push(const Event& event) {  // True: it is the head.
      if (end - begin == ring.size()) Grow();
      ring[end++ & (ring.size() - 1)] = event;
      return end - begin == 1;
    }
    Event Pop() { return ring[begin++ & (ring.size() - 1)]; }
    void Grow() {
      std::vector<Event> larger(2 * ring.size());
      for (uint64_t i = begin; i != end; ++i) {
        larger[i & (larger.size() - 1)] = ring[i & (ring.size() - 1)];
      }
      ring.swap(larger);
    }
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  uint64_t OrderOf(Line line) const {
    if (heads_[line] == kNeverPicos) return UINT64_MAX;
    return line == kNoLine ? heap_.top().order : lines_[line].head().order;
  }

  Picos now_ = 0;
  uint64_t order_ = 0, popped_ = 0, size_ = 0;
  Line latest_ = kNoLine;
  std::vector<DelayLine> lines_;  // The first stands for the heap.
  std::vector<Picos> heads_;      // When each line's first event is.
  std::priority_queue<Event, std::vector<Event>, Later> heap_;
};

}  // namespace hawser::sim
