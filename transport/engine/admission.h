// How far those who send to this host may run ahead of their data.
// Knows: the port's rate, who sends here and who may.  Never: messages,
// packets.
//
// A peer that is the only one expected here, or the only one that sent of late,
// is admitted with all it has, and nobody is asked. Where several send at once,
// each has its share of what the port takes in two round trips, and what
// arrives makes room for more: so an incast is paced by the port itself, as by
// the pulls of NDP (Handley et al., SIGCOMM'17), and its queue is bounded, as
// in Homa (SIGCOMM'18) and EQDS (Olteanu et al., NSDI'22).
//
// A receive is posted long before its sender has anything to send, so nobody
// may wait for what was admitted to another: its sender may be waiting for
// both. Therefore each flow has a limit of its own, which depends on who sends,
// and on nothing that others have left of theirs.
#pragma once

#include <cstdint>
#include <vector>

#include "transport/base/time.h"
#include "transport/engine/peer.h"

namespace hawser {

class Admission {
 public:
  // What this engine may take of all ports of its host; unlimited: it is not
  // known, and all is admitted, always.
  explicit Admission(Rate port) : port_(port) {}

  // A. What is. What may be admitted to a receiving flow and not have come.
  // Range: 1..ReceiveFlow::kNoLimit.
  uint64_t AheadOf(const FlowRecord& record, Time now);

  // B. What happened. A peer's first open receive was posted, or its last one
  // ended.
  void OnExpected() { ++expected_; }
  void OnUnexpected() { --expected_; }
  // A packet went to that peer and was answered, its hosts' waits taken out.
  void OnRtt(Peer& peer, Duration rtt);
  // A part came of a message that has others; the flow knows it already.
  void OnData(FlowRecord& record, Time now);
  void OnClosed(FlowRecord& record);

 private:
  void Stop(FlowRecord& record);
  void Forget(Time now);  // Those who send no more.
  Duration RttOf(const Peer& peer) const;
  uint64_t BytesIn(Duration time) const;

  const Rate port_;
  std::vector<FlowRecord*> sending_;  // Of late.
  uint32_t sending_peers_ = 0;
  uint32_t receiving_ = 0;  // Of those flows, the ones in a message's midst.
  uint32_t expected_ = 0;   // Peers with open receives here.
  Duration least_rtt_ = Duration::Max();  // To any peer, ever.
  Time forget_at_;
};

}  // namespace hawser
