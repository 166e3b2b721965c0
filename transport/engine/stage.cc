#include "transport/engine/stage.h"

#include "transport/base/check.h"

namespace hawser {

Stage::Stage(Datapath& plane) : plane_(plane), slots_(kCapacity) {}

bool Stage::MakeRoom() {
  if (count_ == kCapacity) Flush();
  return plane_.tx_room() > count_;
}

size_t Stage::Add(PeerId peer, uint16_t entropy,
                  std::span<const std::byte> header, MemorySlice payload,
                  uint32_t max_bytes) {
  const bool copies = payload.length <= kCopiedBytes && !IsGpu(payload.key);
  const size_t copied_bytes = header.size() + (copies ? payload.length : 0);
  const size_t all_bytes = header.size() + payload.length;
  bool joins = false;
  size_t wanted_bytes = 0;
  if (IsOpenFor(peer, entropy)) {
    const Slot& slot = slots_[count_ - 1];
    if (slot.writer.SizeWith(copied_bytes) <= kSlotBytes) {
      const size_t bytes = slot.writer.SizeWith(all_bytes);
      joins = bytes <= max_bytes;
      if (!joins) wanted_bytes = bytes;
    }
  }
  if (!joins) {
    HAWSER_CHECK(count_ < kCapacity);
    Slot& slot = slots_[count_];
    slot.writer.Clear();
    slot.closed = false;
    packets_[count_] = {peer, entropy, {}, {}, {}};
    ++count_;
  }
  Slot& slot = slots_[count_ - 1];
  TxPacket& packet = packets_[count_ - 1];
  if (copies) {
    slot.writer.Append(header, {payload.data, payload.length}, 0);
  } else {
    slot.writer.Append(header, {}, payload.length);
    packet.payload = payload;
    slot.closed = true;
  }
  packet.header = std::span(slot.bytes).first(slot.writer.size());
  return wanted_bytes;
}

bool Stage::MayBegin(PeerId peer, uint16_t entropy, MemorySlice payload) const {
  return payload.length > kCopiedBytes && !IsOpenFor(peer, entropy);
}

std::span<std::byte> Stage::Begin(PeerId peer, uint16_t entropy,
                                  MemorySlice payload,
                                  const RemoteSlice& target) {
  static_assert(kSlotBytes >= wire::kMaxHeaderBytes);
  HAWSER_CHECK(count_ < kCapacity);
  Slot& slot = slots_[count_];
  slot.closed = true;
  packets_[count_] = {peer, entropy, {}, payload, target};
  return slot.bytes;
}

void Stage::End(size_t header_bytes) {
  packets_[count_].header = std::span(slots_[count_].bytes).first(header_bytes);
  ++count_;
}

void Stage::Flush() {
  if (count_ == 0) return;
  plane_.Send(std::span(packets_).first(count_));
  count_ = 0;
}

}  // namespace hawser
