// To be preloaded where all ranks get one environment, and each needs another:
// RANK_0_NAME, RANK_1_NAME... become NAME in the rank that NCCL_HOSTID
// ends with.
#include <cstdlib>
#include <string>

namespace {

[[gnu::constructor]] void TakeOwnVariables() {
  const char* const host = std::getenv("NCCL_HOSTID");
  if (host == nullptr) return;
  const std::string id(host);
  const std::string rank = id.substr(id.rfind('-') + 1);
  for (const char* name : {"HAWSER_DPDK_EAL", "HAWSER_DPDK_PORTS"}) {
    const std::string own = "RANK_" + rank + "_" + name;
    const char* const value = std::getenv(own.c_str());
    if (value != nullptr) setenv(name, value, 1);
  }
}

}  // namespace
