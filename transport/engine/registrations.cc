#include "transport/engine/registrations.h"

#include <algorithm>
#include <utility>

namespace hawser {

template <class Fits>
uint32_t Registrations::Find(const Memory& memory, Fits fits) const {
  const std::byte* const end = memory.data + memory.length;
  for (auto next = by_begin_.upper_bound(memory.data);
       next != by_begin_.begin();) {
    --next;
    if (next->first + longest_ < end) break;
    const Memory& known = registrations_.at(next->second).memory;
    if (known.kind == memory.kind && known.data + known.length >= end &&
        fits(known)) {
      return next->second;
    }
  }
  return 0;
}

Registrations::SharedPins Registrations::PinsOf(const Memory& memory) const {
  const uint32_t key = Find(memory, [](const Memory&) { return true; });
  return key != 0 ? registrations_.at(key).pins : nullptr;
}

uint32_t Registrations::Add(const Memory& memory, SharedPins pins) {
  if (numbers_ + 1 == kGpuKey) return 0;
  const uint32_t key =
      ++numbers_ | (memory.kind == MemoryKind::kGpu ? kGpuKey : 0);
  by_begin_.emplace(memory.data, key);
  longest_ = std::max(longest_, memory.length);
  registrations_[key] = {memory, std::move(pins), 1};
  return key;
}

Registrations::SharedPins Registrations::Release(uint32_t key) {
  const auto found = registrations_.find(key);
  if (found == registrations_.end() || --found->second.users > 0) {
    return nullptr;
  }
  SharedPins pins = std::move(found->second.pins);
  const auto [first, last] = by_begin_.equal_range(found->second.memory.data);
  by_begin_.erase(std::find_if(
      first, last, [&](const auto& one) { return one.second == key; }));
  registrations_.erase(found);
  return pins;
}

uint32_t Registrations::Share(const Memory& memory) {
  const uint32_t key = Find(memory, [&](const Memory& known) {
    return known.data == memory.data && known.length == memory.length;
  });
  if (key != 0) ++registrations_.at(key).users;
  return key;
}

}  // namespace hawser
