#include "transport/engine/admission.h"

#include <algorithm>
#include <utility>

namespace hawser {
namespace {

// What two hosts add to a round trip of the network: their turns. (The
// software of UCCL turns an ack around in 2 to 7 us on the median and 3 to 36
// at the 99th percentile; arXiv 2504.17307.) And a round trip of which nothing
// is known yet.
constexpr Duration kHostTime = Duration::Micros(20);
constexpr Duration kUnknownRtt = Duration::Micros(20);

// Whoever is no more than so many times further away than the nearest is taken
// to be as near, and what is more for a queue: of one whose data met others
// from the beginning no better is known.
constexpr int64_t kSameFabric = 4;

// In round trips of the port: what all who send may have ahead together, of
// which one half is under way and the other in reserve, so that the port is
// busy though one of two has just stopped...
constexpr int64_t kSharedTrips = 2;
// ...and what all who are expected may begin with together. One may begin with
// a round trip's worth, and so is not held up before it has shown itself, where
// no more than so many are expected.
constexpr uint32_t kFirstParts = 8;
// Nobody's limit is less: a packet or two.
constexpr uint64_t kLeastBytes = 2048;

// Who has sent nothing for so long does not send: several round trips of an
// incast, in which its turn would have come. What is admitted cannot be taken
// back, so a pause between two messages makes nobody else the only one.
constexpr Duration kSendingSpan = Duration::Millis(1);

}  // namespace

uint64_t Admission::AheadOf(const FlowRecord& record, Time now) {
  if (port_.unlimited()) return ReceiveFlow::kNoLimit;
  if (now >= forget_at_) Forget(now);
  const Peer& peer = *record.peer;
  const bool alone = sending_peers_ == 0
                         ? expected_ <= 1
                         : sending_peers_ == 1 && peer.flows_sending > 0;
  if (alone) return ReceiveFlow::kNoLimit;
  const uint64_t trip = BytesIn(RttOf(peer) + kHostTime);
  const uint64_t flows = receiving_ + (record.receiving ? 0 : 1);
  const uint64_t bytes =
      sending_peers_ > 1
          ? kSharedTrips * trip / flows
          : trip * kFirstParts / std::max(expected_, kFirstParts);
  return std::max(bytes, kLeastBytes);
}

void Admission::OnRtt(Peer& peer, Duration rtt) {
  peer.least_rtt = std::min(peer.least_rtt, rtt);
  least_rtt_ = std::min(least_rtt_, rtt);
}

void Admission::OnData(FlowRecord& record, Time now) {
  if (port_.unlimited()) return;
  record.sent_here_at = now;
  if (record.receiving != record.receive->receiving()) {
    record.receiving = !record.receiving;
    record.receiving ? ++receiving_ : --receiving_;
  }
  if (record.sends_here) return;
  record.sends_here = true;
  sending_.push_back(&record);
  if (record.peer->flows_sending++ == 0) ++sending_peers_;
}

void Admission::OnClosed(FlowRecord& record) {
  if (!record.sends_here) return;
  Stop(record);
  std::erase(sending_, &record);
}

void Admission::Stop(FlowRecord& record) {
  record.sends_here = false;
  if (std::exchange(record.receiving, false)) --receiving_;
  if (--record.peer->flows_sending == 0) --sending_peers_;
}

void Admission::Forget(Time now) {
  forget_at_ = now + kSendingSpan / 4;
  std::erase_if(sending_, [&](FlowRecord* record) {
    if (now - record->sent_here_at < kSendingSpan) return false;
    Stop(*record);
    return true;
  });
}

Duration Admission::RttOf(const Peer& peer) const {
  const Duration least =
      least_rtt_ == Duration::Max() ? kUnknownRtt : least_rtt_;
  return peer.least_rtt == Duration::Max() ||
                 peer.least_rtt <= kSameFabric * least
             ? least
             : peer.least_rtt;
}

uint64_t Admission::BytesIn(Duration time) const {
  return static_cast<uint64_t>(time / Duration::Seconds(1) *
                               static_cast<double>(port_.bits_per_second()) /
                               8);
}

}  // namespace hawser
