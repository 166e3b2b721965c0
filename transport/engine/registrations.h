// Registrations: which memory of the application NICs can reach, under which
// number, and for how many users.
// Knows: ranges, users.  Never: NICs, threads.
//
// To pin memory costs a call of the kernel for every NIC and time for every
// page, and applications register the same buffer for each flow that uses it,
// or pieces of one buffer. So whoever asks for the same memory becomes a user
// of its registration, and whoever asks for a piece of it gets a registration
// that hangs on the same pins. Nothing is found that has no user: who gives
// memory back to the system unregisters it first, and what is mapped at the
// same address later is other memory, even if a piece of the former is in use
// yet.
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
  using SharedPins = std::shared_ptr<const Pins>;

  // A. What is.
  size_t size() const { return registrations_.size(); }
  // Those of a registration that has all of this memory; nullptr: there is
  // none.
  SharedPins PinsOf(const Memory& memory) const;

  // B. What happened.
  // Memory of this kind is pinned. Its number, for its first user; no other
  // registration ever had or will have it. 0: there are no more.
  uint32_t Add(const Memory& memory, SharedPins pins);
  // Of a registration, one user has gone. What it hung on, if that was the
  // last, and then it is no more; else nullptr.
  SharedPins Release(uint32_t key);

  // C. What next.
  // For one more user: the number of a registration of just this memory. 0:
  // there is none.
  uint32_t Share(const Memory& memory);

 private:
  struct Registration {
    Memory memory;
    SharedPins pins;
    int users = 1;
  };
  // The first that `fits`, of those that have all of this memory; 0: none.
  template <class Fits>
  uint32_t Find(const Memory& memory, Fits fits) const;

  std::unordered_map<uint32_t, Registration> registrations_;
  std::multimap<const std::byte*, uint32_t> by_begin_;
  size_t longest_ = 0;  // That there ever was: where looking may end.
  uint32_t numbers_ = 0;
};

}  // namespace hawser
