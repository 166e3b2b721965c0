// Puts each rank of a runner on a host of its own: preloaded into rank N, it
// makes HAWSER_IB_HCA what VERBS_RANK_N says. The runner tells a rank its
// number as the last word of NCCL_HOSTID, behind a dash, before the program is
// executed.
#include <cstdlib>
#include <string>

namespace {

__attribute__((constructor)) void ChooseDevice() {
  const char* const host = std::getenv("NCCL_HOSTID");
  if (host == nullptr) return;
  const std::string name(host);
  const std::string variable = "VERBS_RANK_" + name.substr(name.rfind('-') + 1);
  const char* const device = std::getenv(variable.c_str());
  if (device != nullptr) setenv("HAWSER_IB_HCA", device, 1);
}

}  // namespace
