// Why a bitmap and not ranges: it has a fixed size, is read and written by
// shifts, and repeats what lost acks have said for as long as the sender wants
// to hear it. The sender says how far back that is (`open_span`), so an ack on
// a healthy path is a word or two.
#include "transport/path/ack_tracker.h"

#include <algorithm>

namespace hawser {
namespace {

// What Ack::held can say.
constexpr Duration kMaxHeld = Duration::Nanos(UINT32_MAX);

}  // namespace

AckTracker::AckTracker(PathId path, uint32_t every, Duration delay)
    : path_(path), every_(every), delay_(delay) {}

Time AckTracker::deadline() const { return due_; }

bool AckTracker::IsNew(PacketNumber number) const {
  if (number >= expected()) return true;
  return largest_ - number.value < wire::kAckWindow && !seen_.Has(number.value);
}

Arrival AckTracker::OnPacket(const wire::PacketHeader& header, bool ecn_marked,
                             Time arrived_at, AckWait wait) {
  const uint64_t number = header.number.value;
  // A probe has no other purpose than its ack.
  bool at_once = header.padded || header.cargo.kind == wire::CargoKind::kProbe;
  const Arrival arrival = Note(number, arrived_at, &at_once);
  oldest_wanted_ = std::max(
      oldest_wanted_, number - std::min<uint64_t>(header.open_span, number));
  if (arrival == Arrival::kNew && ecn_marked) ++ecn_marked_;
  ++waiting_;
  const Duration left = at_once || waiting_ >= every_ ? Duration()
                        : header.ack_now              ? wait.asked
                                         : std::max(delay_, wait.unasked);
  due_ = std::min(due_, arrived_at + left);
  return arrival;
}

Arrival AckTracker::Note(uint64_t number, Time arrived_at, bool* at_once) {
  // Numbers begin at 0, so the first packet can show a gap too.
  const uint64_t next = expected().value;
  if (number >= next) {
    if (number != next) *at_once = true;
    if (number - next >= wire::kAckWindow) {
      seen_.ClearAll();
    } else {
      for (uint64_t n = next; n < number; ++n) seen_.Clear(n);
    }
    any_ = true;
    largest_ = number;
    largest_arrived_at_ = arrived_at;
    seen_.Set(number);
    return Arrival::kNew;
  }
  // A gap is filled, or the sender has missed an ack: both are news to it.
  *at_once = true;
  if (largest_ - number >= wire::kAckWindow) return Arrival::kTooOld;
  if (seen_.Has(number)) return Arrival::kDuplicate;
  seen_.Set(number);
  return Arrival::kNew;
}

std::optional<wire::Ack> AckTracker::TakeAck(Time now) {
  std::optional<wire::Ack> ack;
  if (waiting_ == 0) return ack;
  ack.emplace();
  ack->path = path_;
  ack->largest = {largest_};
  ack->held = std::clamp(now - largest_arrived_at_, Duration(), kMaxHeld);
  ack->ecn_marked = ecn_marked_;
  const uint64_t span = largest_ - oldest_wanted_;
  ack->words =
      static_cast<uint8_t>(std::min<uint64_t>(span / 64 + 1, wire::kAckWords));
  for (uint64_t w = 0; w < ack->words; ++w) {
    ack->arrived[w] = seen_.Read(largest_ - 64 * w);
  }
  waiting_ = 0;
  due_ = Time::Never();
  return ack;
}

}  // namespace hawser
