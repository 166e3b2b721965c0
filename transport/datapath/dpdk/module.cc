#include "transport/datapath/dpdk/module.h"

#include "transport/datapath/dpdk/eal.h"
#include "transport/datapath/dpdk/frames.h"
#include "transport/datapath/dpdk/port.h"

namespace hawser {
namespace {

Datapath* Open(const DpdkOptions& options, std::string* error) {
  return DpdkDatapath::Create(options, error).release();
}

}  // namespace

extern "C" __attribute__((visibility("default")))
const DpdkModule hawser_dpdk_module = {kDpdkModuleVersion, &StartEal,
                                       &DescribePort, &Open};

}  // namespace hawser
