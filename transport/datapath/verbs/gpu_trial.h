// What a NIC does with the memory of a GPU when it is tried on some.
// Knows: libibverbs, a carrier.  Never: packets, peers.
#pragma once

#include <infiniband/verbs.h>

#include <string>

#include "transport/datapath/datapath.h"
#include "transport/datapath/verbs/carrier.h"
#include "transport/datapath/verbs/device.h"

namespace hawser {

// Memory that NICs may read and write. nullptr, and why in errno.
RegionHolder PinMemory(ibv_pd* domain, const Memory& memory);

// Pins a little memory of a GPU, in each of the ways there are, has the carrier
// write to it, and looks whether the bytes have come to that GPU. In `why`, a
// sentence on what was found; empty where this host has no GPU.
GpuReach TryGpu(ibv_pd* domain, Carrier& carrier, std::string* why);

}  // namespace hawser
