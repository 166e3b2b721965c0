#include "transport/path/window.h"

#include <algorithm>

namespace hawser {
namespace {

constexpr uint32_t kUnbound = 1u << 31;

}  // namespace

Window::Window(std::unique_ptr<CongestionControl> congestion)
    : congestion_(std::move(congestion)) {
  Obey(congestion_ ? congestion_->initial() : Allowance{kUnbound});
}

Time Window::deadline(Time now) const {
  const bool open = !shut_ && (in_flight_bytes_ == 0 ||
                               in_flight_bytes_ < allowance_.window_bytes);
  return open && !pacer_.CanSend(now) ? pacer_.next() : Time::Never();
}

void Window::OnSent(uint32_t bytes, Time now) {
  in_flight_bytes_ += bytes;
  pacer_.OnSent(bytes, now);
}

void Window::OnAck(const AckEvent& ack) {
  heard_ = ack.now;
  shut_ = false;
  if (congestion_) Obey(congestion_->OnAck(ack));
}

void Window::OnLoss(const LossEvent& loss) {
  if (congestion_) Obey(congestion_->OnLoss(loss));
}

void Window::OnSilence(Time since, const LossEvent& loss) {
  if (shut_ || !congestion_) return;
  Obey(congestion_->OnLoss(loss));
  shut_ = paths_ > 1 && heard_ <= since;
}

void Window::Obey(const Allowance& allowance) {
  allowance_ = allowance;
  pacer_.SetRate(allowance.pacing);
  // More than a window never leaves at once. Without this, a window below a
  // packet would save up for a burst of many.
  pacer_.SetBurst(std::min(kBurstBytes, allowance.window_bytes));
}

}  // namespace hawser
