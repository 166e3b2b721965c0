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
#include <queue>
#include <vector>

#include "transport/base/check.h"
#include "transport/base/fifo.h"
#include "transport/sim/fabric/picos.h"

namespace hawser::sim {

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
  uint64_t popped() const { return popped_; }
  bool empty() const { return popped_ == order_; }
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
    ++count_;
    Rank();
    return count_ - 1;
  }

  // B. What happens: so long after now as `line`, not kNoLine, says...
  void Push(Line line, uint32_t kind, uint32_t what) {
    DelayLine& its = lines_[line];
    const Event event{now_ + its.delay, order_++, kind, what};
    if (its.events.empty()) Begin(line, event);
    its.events.Push(event);
  }
  // ...or then, but not before now.
  void PushAt(Picos at, uint32_t kind, uint32_t what) {
    HAWSER_CHECK(at <= kNeverPicos >> kRankBits);
    heap_.push({std::max(at, now_), order_++, kind, what});
    if (Earlier(heap_.top(), rare_)) TakeAsRare(kNoLine, heap_.top());
  }

  // C. What next. Not when empty().
  Event Pop() {
    ++popped_;
    latest_ = EarliestOften();
    // Of two at the same time, only their order tells.
    if (heads_[latest_] >= rare_head_) [[unlikely]] {
      if (lines_[latest_].events.empty() ||
          Earlier(rare_, lines_[latest_].events.front())) {
        return PopRare();
      }
    }
    Fifo<Event>& line = lines_[latest_].events;
    const Event event = line.Pop();
    heads_[latest_] = line.empty() ? kNoHead : HeadOf(latest_, line.front().at);
    now_ = event.at;
    return event;
  }

 private:
  static constexpr Line kMaxLines = 24;
  // The first lines carry nearly everything. The others and the heap are rare,
  // and the earliest of them all is kept apart.
  static constexpr Line kOften = 3;
  static constexpr uint32_t kRankBits = 2;
  static_assert(kOften <= 1u << kRankBits);

  struct DelayLine {
    Picos delay = 0;
    Fifo<Event> events;
  };
  static bool Earlier(const Event& a, const Event& b) {
    return a.at != b.at ? a.at < b.at : a.order < b.order;
  }
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return Earlier(b, a);
    }
  };

  // When the first event of a line comes, and behind that the line's rank: of
  // two events at the same time, the one that was put off for longer was
  // foreseen first. So a number says all there is to say of their order.
  using Head = uint64_t;
  static constexpr Head kNoHead = UINT64_MAX;
  Head HeadOf(Line line, Picos at) const {
    return static_cast<Head>(at) << kRankBits | ranks_[line];
  }
  void Rank() {
    for (Line line = 1; line <= kOften && line < count_; ++line) {
      ranks_[line] = 0;
      for (Line other = 1; other <= kOften && other < count_; ++other) {
        ranks_[line] += lines_[other].delay > lines_[line].delay;
      }
      const Fifo<Event>& events = lines_[line].events;
      if (!events.empty()) heads_[line] = HeadOf(line, events.front().at);
    }
  }

  // `event` is the first of its line now.
  void Begin(Line line, const Event& event) {
    if (line <= kOften) {
      heads_[line] = HeadOf(line, event.at);
    } else if (Earlier(event, rare_)) {
      TakeAsRare(line, event);
    }
  }
  // Which is next is anybody's guess, so it is found without a branch: a wrong
  // guess costs more than looking at every head.
  Line EarliestOften() const {
    Line first = 1;
    Head least = heads_[1];
    for (Line line = 2; line <= kOften; ++line) {
      const bool earlier = heads_[line] < least;
      first = earlier ? line : first;
      least = earlier ? heads_[line] : least;
    }
    return first;
  }
  void TakeAsRare(Line line, const Event& event) {
    rare_line_ = line;
    rare_ = event;
    rare_head_ = static_cast<Head>(event.at) << kRankBits;
  }
  Event PopRare() {
    const Event event = rare_;
    latest_ = rare_line_;
    if (latest_ == kNoLine) {
      heap_.pop();
    } else {
      lines_[latest_].events.Pop();
    }
    now_ = event.at;
    rare_ = Event();
    rare_.order = UINT64_MAX;
    rare_head_ = kNoHead;
    if (!heap_.empty()) TakeAsRare(kNoLine, heap_.top());
    for (Line line = kOften + 1; line < count_; ++line) {
      const Fifo<Event>& events = lines_[line].events;
      if (!events.empty()) Begin(line, events.front());
    }
    return event;
  }

  Picos now_ = 0;
  uint64_t order_ = 0;   // Of the next to be foreseen: how many were.
  uint64_t popped_ = 0;  // Of these.
  Line latest_ = kNoLine, count_ = 1;  // The first line stands for the heap.
  Head heads_[kOften + 1] = {kNoHead, kNoHead, kNoHead, kNoHead};
  Head rare_head_ = kNoHead;  // Before all others at the same time.
  std::array<uint32_t, kOften + 1> ranks_ = {};
  std::array<DelayLine, kMaxLines> lines_;
  Line rare_line_ = kNoLine;
  Event rare_{kNeverPicos, UINT64_MAX, 0, 0};
  std::priority_queue<Event, std::vector<Event>, Later> heap_;
};

}  // namespace hawser::sim
