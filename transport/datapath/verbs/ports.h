// The RDMA ports of this host.
// Knows: libibverbs' list of devices, sysfs.  Never: queue pairs, packets.
#pragma once

#include <string>
#include <vector>

#include "transport/datapath/verbs.h"

namespace hawser {

// As VerbsModule::find_ports.
std::vector<Interface> FindVerbsPorts(AddressFamily family, int gid_index,
                                      std::string* unusable);

// Bytes of an ibv_mtu.
uint32_t BytesOfMtu(int mtu);

}  // namespace hawser
