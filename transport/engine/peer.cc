#include "transport/engine/peer.h"

#include <algorithm>

#include "transport/base/check.h"
#include "transport/base/random.h"
#include "transport/congestion/dctcp.h"
#include "transport/congestion/fixed_window.h"
#include "transport/congestion/nscc.h"
#include "transport/congestion/swift.h"

namespace hawser {
namespace {

// RFC 6928's initial window. Many paths begin at once, and what they have in
// common may be slow: more would fill its queue before the first ack is back.
constexpr uint32_t kInitialPackets = 10;

}  // namespace

void ReadyList::Push(FlowRecord* record) {
  if (record->listed) return;
  record->listed = true;
  record->next_ready = nullptr;
  (head_ ? tail_->next_ready : head_) = record;
  tail_ = record;
}

FlowRecord* ReadyList::Pop() {
  FlowRecord* record = head_;
  head_ = record->next_ready;
  record->listed = false;
  return record;
}

void ReadyList::Remove(FlowRecord* record) {
  if (!record->listed) return;
  FlowRecord* before = nullptr;
  for (FlowRecord* at = head_; at != record; at = at->next_ready) before = at;
  (before ? before->next_ready : head_) = record->next_ready;
  if (tail_ == record) tail_ = before;
  record->listed = false;
}

const FlowTable::Slot* FlowTable::At(uint16_t slot) const {
  return slot < slots_.size() ? &slots_[slot] : nullptr;
}

FlowRecord* FlowTable::Find(FlowId id) const {
  const Slot* slot = At(static_cast<uint16_t>(id.value));
  return slot != nullptr && slot->id == id ? slot->record.get() : nullptr;
}

FlowId FlowTable::Add(std::unique_ptr<FlowRecord> record) {
  // The last index is left out, so that no id equals kNoFlow.
  const bool more = slots_.size() < 0xffff;
  if (free_.empty() && !more) return kNoFlow;
  FlowId id{static_cast<uint32_t>(slots_.size())};
  if (more && free_.size() <= kResting) {
    slots_.emplace_back();
  } else {
    id = free_.front();
    free_.pop_front();
  }
  record->id = id;
  Peer* const peer = record->peer;
  slots_[id.value & 0xffff] = {std::move(record), peer, id, MessageId{}};
  return id;
}

std::unique_ptr<FlowRecord> FlowTable::Remove(FlowId id) {
  HAWSER_CHECK(Find(id) != nullptr);
  Slot& slot = slots_[id.value & 0xffff];
  if (slot.record->receive) slot.oldest = slot.record->receive->first_open();
  constexpr uint32_t kNextGeneration = 1 << 16;
  free_.push_back({id.value + kNextGeneration});
  return std::move(slot.record);
}

std::unique_ptr<CongestionControl> MakeCongestionControl(
    const Config& config, uint32_t packet_bytes) {
  const auto window = static_cast<uint32_t>(config.window_bytes);
  if (config.congestion == "fixed_window") {
    return std::make_unique<FixedWindow>(window);
  }
  const Duration target_delay = Duration::Micros(config.target_delay_us);
  if (config.congestion == "dctcp") {
    return std::make_unique<Dctcp>(Dctcp::Parameters{packet_bytes, window});
  }
  if (config.congestion == "nscc") {
    Nscc::Parameters parameters;
    parameters.packet_bytes = packet_bytes;
    parameters.base_rtt = target_delay;  // Until a shorter one is seen.
    parameters.target_share = 1;
    parameters.bdp_bytes =
        static_cast<uint32_t>(window / parameters.window_bdps);
    parameters.losses_are_congestion = false;
    parameters.network_marks = false;
    parameters.scales_by_target = false;
    return std::make_unique<Nscc>(parameters);
  }
  HAWSER_CHECK(config.congestion == "swift");
  Swift::Parameters parameters;
  parameters.packet_bytes = packet_bytes;
  parameters.initial_window_bytes =
      std::min(window, kInitialPackets * packet_bytes);
  parameters.max_window_bytes = std::max(window, parameters.max_window_bytes);
  parameters.target_delay = target_delay;
  parameters.scaling_delay = parameters.target_delay;
  return std::make_unique<Swift>(parameters);
}

std::vector<PathReport> ReportPaths(const Peer& peer) {
  if (peer.state == PeerState::kLost) return peer.last_report;
  std::vector<PathReport> reports;
  reports.reserve(peer.paths.size());
  for (const Path& path : peer.paths) {
    reports.push_back({path.id(), peer.places[path.id().value], "",
                       path.state(), path.counts(),
                       path.network_rtt().smoothed(), path.window_bytes()});
  }
  return reports;
}

wire::PacketKey DeriveKey(const wire::EndpointIdentity& from,
                          uint16_t from_engine,
                          const wire::EndpointIdentity& to,
                          uint16_t to_engine) {
  uint64_t key = Mix64(from.id + from_engine);
  key = Mix64(key ^ from.secret);
  key = Mix64(key ^ (to.id + to_engine));
  return Mix64(key ^ to.secret);
}

}  // namespace hawser
