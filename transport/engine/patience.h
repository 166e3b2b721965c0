// Patience: how long what is small and not urgent waits for data to go with,
// and for more of its kind.
// Knows: when data left for a peer, and when something left alone.
// Never: what that was, and who the peer is.
//
// In an exchange of small messages an answer follows within moments, and an
// ack or a grant that waits for it costs no datagram of its own. (RFC 1122
// section 4.2.3.2 delays acks for this reason; Linux TCP delays them only in
// sessions that it has seen to answer.) Where nothing follows, waiting costs
// the far side its time for nothing: so one wait in vain ends it, and it
// begins again when data leaves soon after something that left alone.
#pragma once

#include "transport/base/time.h"

namespace hawser {

class Patience {
 public:
  // `most`: how long it waits.
  explicit Patience(Duration most) : most_(most) {}

  Duration span() const { return answers_ ? most_ : Duration(); }

  void OnData(Time now) { answers_ = answers_ || now - alone_at_ <= most_; }
  void OnAlone(Time now) {
    answers_ = false;
    alone_at_ = now;
  }

 private:
  const Duration most_;
  bool answers_ = false;
  Time alone_at_;
};

}  // namespace hawser
