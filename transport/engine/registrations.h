// Registrations: which memory of the application NICs can reach, under which
// number, and for how many users.
// Knows: ranges, users.  Never: NICs, threads.
//
// To pin memory costs a call of the kernel for every NIC and time for every
// page, and applications register the same buffer for each flow that uses it,
// or pieces of one buffer. So whoever asks for memory that lies within a
// registration becomes a user of that. Nothing is kept that has no user: who
// gives memory back to the system unregisters it first, and what is mapped at
// the same address later is other memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "transport/base/memory.h"
#include "transport/datapath/datapath.h"

namespace hawser {

class Registrations {
 public:
  using Pins = std::vector<std::unique_ptr<Pinned>>;  // One for each plane.

  // A. What is.
  size_t size() const { return registrations_.size(); }

  // B. What happened.
  // Memory of this kind was pinned. Its number, for its first user; no other
  // registration ever had or will have it. 0: there are no more.
  uint32_t Add(const Memory& memory, Pins pins);
  // Of a registration, one user has gone. What it had pinned, if that was the
  // last; else nothing.
  Pins Release(uint32_t key);

  // C. What next.
  // For one more user: the number of a registration that has all of this. 0:
  // there is none.
  uint32_t Share(const Memory& memory);
  const Pins& PinsOf(uint32_t key) const { return registrations_.at(key).pins; }

 private:
  struct Registration {
    Memory memory;
    Pins pins;
    int users = 1;
  };
  std::unordered_map<uint32_t, Registration> registrations_;
  std::multimap<const std::byte*, uint32_t> by_begin_;
  size_t longest_ = 0;  // That there ever was: where looking may end.
  uint32_t numbers_ = 0;
};

// The pages that hold it; of a dma-buf, just itself.
Memory WholePages(const Memory& memory, size_t page_bytes);

}  // namespace hawser
