// What a NIC does with the memory of a GPU when it is tried on some.
// Knows: libibverbs, a carrier.  Never: packets, peers.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <string>

#include "transport/datapath/datapath.h"
#include "transport/datapath/verbs/carrier.h"
#include "transport/datapath/verbs/cuda.h"
#include "transport/datapath/verbs/device.h"

namespace hawser {

// Memory that NICs may read and write. nullptr, and why in errno.
RegionHolder PinMemory(ibv_pd* domain, const Memory& memory);

// What is tried on, and so the size of the buffer.
inline constexpr size_t kTriedBytes = 4096;

// Pins a little memory of a GPU, in each of the ways there are, has the carrier
// write to it, and looks whether the bytes have come to that GPU. In `why`, a
// sentence on what was found.
GpuReach TryGpu(ibv_pd* domain, Carrier& carrier, const GpuBuffer& buffer,
                std::string* why);

}  // namespace hawser
