// Window: how much may be in flight, and when the next packet may leave.
// Knows: bytes, times, what congestion control allows.
// Never: packets, which path.
//
// A path has one for itself, or shares it with the other paths of its peer in
// one plane: then all that is in flight on them counts, and each tells it what
// it learns. So it cannot be exceeded, whoever sends.
//
// A shared window shuts when one of its paths has been silent for too long, and
// the others as well: a plane is a network of its own, and dies as one. It
// opens with the first answer on any of them.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "transport/base/check.h"
#include "transport/base/time.h"
#include "transport/congestion/congestion_control.h"
#include "transport/path/pacer.h"

namespace hawser {

class Window {
 public:
  // What may leave back to back where congestion control paces.
  static constexpr uint32_t kBurstBytes = 64 * 1024;

  // Without congestion control it binds nobody and never shuts: for who keeps
  // the account elsewhere.
  explicit Window(std::unique_ptr<CongestionControl> congestion = nullptr);

  // A. What is.
  uint32_t bytes() const { return allowance_.window_bytes; }
  uint32_t in_flight_bytes() const { return in_flight_bytes_; }
  // Of those that share it. At least 1.
  uint32_t paths() const { return paths_; }
  bool shut() const { return shut_; }
  // A lone packet may exceed it.
  bool CanSend(uint32_t bytes, Time now) const {
    return !shut_ &&
           (in_flight_bytes_ == 0 ||
            uint64_t{in_flight_bytes_} + bytes <= allowance_.window_bytes) &&
           pacer_.CanSend(now);
  }
  // When a pacer lets go that alone holds it up at `now`; else Never.
  Time deadline(Time now) const;

  // B. What happened.
  void OnJoined() { ++paths_; }  // By one path more.
  void OnSent(uint32_t bytes, Time now);
  // Of what was sent; not twice.
  void OnSettled(uint32_t bytes) {
    HAWSER_CHECK(bytes <= in_flight_bytes_);
    in_flight_bytes_ -= bytes;
  }
  // `ack.in_flight_bytes` is of all who share it.
  void OnAck(const AckEvent& ack);
  void OnLoss(const LossEvent& loss);
  // A path that shares it has heard nothing since then, and lost so much. A
  // plane falls silent once, however many paths it has.
  void OnSilence(Time since, const LossEvent& loss);

 private:
  void Obey(const Allowance& allowance);

  Allowance allowance_;
  uint32_t in_flight_bytes_ = 0;
  uint32_t paths_ = 0;
  bool shut_ = false;
  Pacer pacer_{kBurstBytes};
  Time heard_;  // The latest ack.
  std::unique_ptr<CongestionControl> congestion_;
};

}  // namespace hawser
