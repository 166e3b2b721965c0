// What a device does when it is tried, and not what it says it can.
// Knows: libibverbs, one port.  Never: packets, peers.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <string>

#include "transport/datapath/verbs.h"

namespace hawser {

struct VerbsPort {
  uint8_t port = 1;
  uint8_t gid_index = 0;
  bool software = false;  // No NIC.
};

struct VerbsChoice {
  VerbsMode mode = VerbsMode::kUd;  // Never kAuto.
  std::string why;                  // "mode uc: a write ... and did".
};

// Writes from the device to itself, over each kind of queue pair in turn until
// one puts the bytes where they belong: that one is chosen, but where the
// device is of software. Takes a quarter of a second for each that fails, and
// nothing that could be felt where none does.
VerbsChoice ChooseVerbsMode(ibv_context* context, ibv_pd* domain,
                            const VerbsPort& port);

}  // namespace hawser
