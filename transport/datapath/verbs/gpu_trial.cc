// Why tried: a NIC reaches a GPU where two drivers agree, in one of two ways. A
// dma-buf, which the GPU's driver makes and the NIC's takes; or an address of
// the GPU's, which nvidia-peermem makes sense of when it is pinned. Kernels,
// drivers and devices of each kind lack either, and say so differently or not
// at all. Bytes that have come say all that is needed.
#include "transport/datapath/verbs/gpu_trial.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace hawser {
namespace {

// All that the carrier was given is done, and well.
bool Await(Carrier& carrier, size_t jobs) {
  for (int waited_ms = 0; waited_ms < kTrialPatienceMs;) {
    Carried carried;
    if (carrier.Take(&carried)) {
      if (!carried.ok) return false;
      if (--jobs == 0) return true;
    } else {
      poll(nullptr, 0, 1);
      ++waited_ms;
    }
  }
  return false;
}

// nullptr: it works. Else what did not, as the end of a sentence.
const char* Try(ibv_pd* domain, Carrier& carrier, const GpuBuffer& buffer,
                const ibv_mr& region, std::byte sign) {
  std::vector<std::byte> bytes(kTriedBytes, sign), seen(kTriedBytes);
  const RegionHolder from(ibv_reg_mr(domain, bytes.data(), bytes.size(), 0));
  if (from == nullptr) return "it could not be tried";
  const auto address = reinterpret_cast<uint64_t>(buffer.data());
  constexpr uint64_t kTickets[] = {0, 1};
  carrier.Write(kTickets[0], bytes, from->lkey, address, region.rkey);
  carrier.Flush(kTickets[1], address, region.rkey);
  const bool done = Await(carrier, std::size(kTickets));
  carrier.Forget(kTickets);
  if (!done) return "what is written there fails";
  if (!buffer.CopyOut(seen.data())) return "it could not be looked at";
  return seen == bytes ? nullptr : "what is written there does not arrive";
}

}  // namespace

RegionHolder PinMemory(ibv_pd* domain, const Memory& memory) {
  constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE |
                          static_cast<int>(IBV_ACCESS_REMOTE_WRITE) |
                          static_cast<int>(IBV_ACCESS_REMOTE_READ) |
                          static_cast<int>(IBV_ACCESS_RELAXED_ORDERING);
  if (memory.dmabuf < 0) {
    return RegionHolder(
        ibv_reg_mr(domain, memory.data, memory.length, kAccess));
  }
  return RegionHolder(ibv_reg_dmabuf_mr(
      domain, memory.dmabuf_offset, memory.length,
      reinterpret_cast<uint64_t>(memory.data), memory.dmabuf, kAccess));
}

GpuReach TryGpu(ibv_pd* domain, Carrier& carrier, const GpuBuffer& buffer,
                std::string* why) {
  GpuReach reach;
  std::string missing;
  Memory memory = {buffer.data(), kTriedBytes, MemoryKind::kGpu};
  const auto judge = [&](const char* way, std::byte sign) {
    RegionHolder region;
    if (missing.empty()) {
      region = PinMemory(domain, memory);
      if (region == nullptr) missing = VerbsError("the NIC refuses it", errno);
    }
    if (region != nullptr) {
      const char* const failed = Try(domain, carrier, buffer, *region, sign);
      if (failed != nullptr) missing = failed;
    }
    *why += std::string(why->empty() ? "memory of GPUs " : ", ") + way +
            (missing.empty() ? ": yes" : ": no, " + missing);
    return missing.empty();
  };
  memory.dmabuf = buffer.Share(&missing);
  reach.by_dmabuf = judge("by dma-buf", std::byte{0x5a});
  if (memory.dmabuf >= 0) close(memory.dmabuf);
  memory.dmabuf = -1;
  missing.clear();
  reach.by_address = judge("by address", std::byte{0xa5});
  return reach;
}

}  // namespace hawser
