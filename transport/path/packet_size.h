// PacketSize: how large a packet one path carries.
// Knows: sizes that arrived, and sizes that did not.  Never: why.
//
// Source: RFC 8899 (packetization layer path MTU discovery), the part about
// black holes: a network that drops large packets without a word is known by
// the small ones that it lets through. Three losses in a row of packets larger
// than anything that arrives meanwhile halve the size, down to what every
// network carries and then to what the oldest did. Now and then a larger size
// is asked for again, by a padded probe, so that no cargo is at stake.
#pragma once

#include <algorithm>
#include <cstdint>

#include "transport/base/time.h"

namespace hawser {

class PacketSize {
 public:
  static constexpr uint32_t kUnlimited = UINT32_MAX;
  // What every network carries today (RFC 9000 section 14), header included,
  // and what even IPv4 of old must (RFC 791).
  static constexpr uint32_t kBaseBytes = 1200;
  static constexpr uint32_t kLeastBytes = 576;
  // RFC 8899 section 5.1.2, MAX_PROBES.
  static constexpr int kStrikes = 3;
  // When a larger size is tried again: soon at first, for the losses may have
  // been something else; in the end as RFC 8899's PMTU_RAISE_TIMER.
  static constexpr Duration kFirstPause = Duration::Seconds(1);
  static constexpr Duration kLastPause = Duration::Seconds(600);

  // A. What is. Larger packets than this are not to be sent.
  uint32_t limit_bytes() const { return limit_bytes_; }
  // Of this size some have arrived, and none were lost since; or it is small
  // enough for every network.
  uint32_t safe_bytes() const { return std::max(safe_bytes_, kLeastBytes); }
  // What is to be tried next, where larger ones than the limit would be of use.
  uint32_t larger_bytes() const {
    return limit_bytes_ < trouble_bytes_ / 2 ? 2 * limit_bytes_ : kUnlimited;
  }
  bool may_try(Time now) const { return now >= try_at_; }
  // Larger datagrams than are safe would be of use.
  bool wanted() const { return wanted_; }

  // B. What happened. Of one ack, losses come first.
  void OnDelivered(uint32_t bytes, Time now) {
    safe_bytes_ = std::max(safe_bytes_, bytes);
    if (bytes >= strike_bytes_) Forgive();
    if (bytes >= tried_bytes_) {  // Whoever asks is answered again.
      pause_ = kFirstPause;
      tried_bytes_ = kUnlimited;
    }
    if (bytes <= limit_bytes_) return;
    limit_bytes_ = larger_bytes();
    pause_ = kFirstPause;
    try_at_ = now;
  }
  // Something was lost, of whatever size.
  void OnLoss() { safe_bytes_ = 0; }
  // This was lost, while nothing so large has arrived since the last time.
  void OnLost(uint32_t bytes, Time now) {
    if (bytes <= kLeastBytes || bytes > limit_bytes_) return;
    strike_bytes_ = std::min(strike_bytes_, bytes);
    if (++strikes_ == kStrikes) Shrink(now);
  }
  void OnWanted() { wanted_ = true; }
  void OnTried(uint32_t bytes, Time now) {
    wanted_ = false;
    tried_bytes_ = bytes;
    try_at_ = now + pause_;
    pause_ = std::min(2 * pause_, kLastPause);
  }

 private:
  void Forgive() {
    strikes_ = 0;
    strike_bytes_ = kUnlimited;
  }
  void Shrink(Time now) {
    if (limit_bytes_ == kUnlimited) trouble_bytes_ = strike_bytes_;
    limit_bytes_ = strike_bytes_ > kBaseBytes
                       ? std::max(strike_bytes_ / 2, kBaseBytes)
                       : kLeastBytes;
    try_at_ = std::max(try_at_, now + pause_);
    Forgive();
  }

  uint32_t limit_bytes_ = kUnlimited;
  uint32_t safe_bytes_ = 0;
  uint32_t trouble_bytes_ = kUnlimited;  // What was lost when there was none.
  int strikes_ = 0;                      // Losses in a row.
  uint32_t strike_bytes_ = kUnlimited;   // The smallest of them.
  bool wanted_ = false;
  uint32_t tried_bytes_ = kUnlimited;  // Of what has not been answered.
  Time try_at_;
  Duration pause_ = kFirstPause;
};

}  // namespace hawser
