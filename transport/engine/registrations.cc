#include "transport/engine/registrations.h"

#include <algorithm>
#include <utility>

namespace hawser {

uint32_t Registrations::Add(const Memory& memory, Pins pins) {
  if (numbers_ + 1 == kGpuKey) return 0;
  const uint32_t key =
      ++numbers_ | (memory.kind == MemoryKind::kGpu ? kGpuKey : 0);
  by_begin_.emplace(memory.data, key);
  longest_ = std::max(longest_, memory.length);
  registrations_[key] = {memory, std::move(pins), 1};
  return key;
}

uint32_t Registrations::Share(const Memory& memory) {
  const std::byte* const end = memory.data + memory.length;
  for (auto next = by_begin_.upper_bound(memory.data);
       next != by_begin_.begin();) {
    --next;
    if (next->first + longest_ < end) break;
    Registration& known = registrations_.at(next->second);
    if (known.memory.kind != memory.kind ||
        known.memory.data + known.memory.length < end) {
      continue;
    }
    ++known.users;
    return next->second;
  }
  return 0;
}

Registrations::Pins Registrations::Release(uint32_t key) {
  const auto found = registrations_.find(key);
  if (found == registrations_.end() || --found->second.users > 0) return {};
  Pins pins = std::move(found->second.pins);
  const auto [first, last] = by_begin_.equal_range(found->second.memory.data);
  by_begin_.erase(std::find_if(
      first, last, [&](const auto& one) { return one.second == key; }));
  registrations_.erase(found);
  return pins;
}

Memory WholePages(const Memory& memory, size_t page_bytes) {
  if (memory.dmabuf >= 0) return memory;
  Memory whole = memory;
  const size_t before = reinterpret_cast<uintptr_t>(memory.data) % page_bytes;
  whole.data -= before;
  whole.length =
      (before + memory.length + page_bytes - 1) / page_bytes * page_bytes;
  return whole;
}

}  // namespace hawser
