// SentLog: every packet of one path whose fate may still be heard, by number.
// Knows: numbers, times, sizes, cargo it never opens.  Never: messages.
#pragma once

#include <cstdint>
#include <memory>

#include "transport/base/check.h"
#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/path/number_window.h"
#include "transport/wire/header.h"

namespace hawser {

struct SentPacket {
  // kOpen: in flight. kLost: given up, its cargo handed back; kept for a while
  // to learn from an ack that comes after all.
  enum class State : uint8_t { kOpen, kDelivered, kLost };
  wire::Cargo cargo;
  uint32_t wire_bytes : 30 = 0;
  State state : 2 = State::kOpen;
  Time sent_at;
};
static_assert(sizeof(SentPacket) == 32);  // Two to a cache line.

// A ring that grows by doubling up to wire::kAckWindow entries, of which the
// first few lie here: a path with little in flight is small, and in one place.
// Numbers count up from 0 and are never reused.
class SentLog {
 public:
  PacketNumber begin() const { return {begin_}; }  // The oldest remembered.
  PacketNumber end() const { return {end_}; }      // The next to be given.
  bool full() const { return end_ - begin_ == wire::kAckWindow; }
  bool contains(PacketNumber n) const {
    return n.value >= begin_ && n.value < end_;
  }
  uint32_t in_flight_bytes() const { return in_flight_bytes_; }
  uint32_t open_packets() const { return open_packets_; }
  SentPacket& operator[](PacketNumber n) {
    HAWSER_CHECK(contains(n));
    return slots()[n.value & mask_];
  }
  const SentPacket& operator[](PacketNumber n) const {
    HAWSER_CHECK(contains(n));
    return slots()[n.value & mask_];
  }
  // Where it is, or would be; for whoever wants it at hand.
  const SentPacket* place(PacketNumber n) const {
    return slots() + (n.value & mask_);
  }
  // The oldest packet that is open, or end(). And when it left.
  PacketNumber oldest_open() const { return {oldest_open_}; }
  Time oldest_open_sent_at() const { return oldest_open_sent_at_; }
  // Bit i: `newest - i` is remembered and not known to be delivered, for i in
  // 0..63: what an ack that says otherwise would be news of.
  uint64_t Undelivered(PacketNumber newest) const;

  // Not when full().
  PacketNumber Add(const wire::Cargo& cargo, uint32_t wire_bytes, Time now);
  // An open packet gets its fate; once only. But a lost one may yet turn out
  // to be delivered.
  void Settle(PacketNumber n, SentPacket::State fate);
  // Forgets settled packets from the front: delivered ones at once, lost ones
  // when they are older than `keep_from`.
  void Trim(PacketNumber keep_from);

 private:
  void Grow();
  SentPacket* slots() { return more_ ? more_.get() : first_; }
  const SentPacket* slots() const { return more_ ? more_.get() : first_; }

  static constexpr uint32_t kFirstCapacity = 2;
  uint32_t mask_ = kFirstCapacity - 1;  // A power of two, less one.
  uint32_t in_flight_bytes_ = 0;
  uint32_t open_packets_ = 0;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  uint64_t oldest_open_ = 0;  // All before it are settled.
  Time oldest_open_sent_at_;  // Kept here: schedulers ask for it all the time.
  NumberWindow delivered_;
  SentPacket first_[kFirstCapacity];
  std::unique_ptr<SentPacket[]> more_;  // Once these are too few: all of them.
};

}  // namespace hawser
