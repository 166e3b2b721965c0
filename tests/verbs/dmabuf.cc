// Preloaded, it lets a device of software pin a dma-buf, which rdma_rxe cannot,
// where that is a file in memory: by mapping it.
#include <infiniband/verbs.h>
#include <sys/mman.h>

extern "C" ibv_mr* ibv_reg_dmabuf_mr(ibv_pd* domain, uint64_t offset,
                                     size_t length, uint64_t address,
                                     int descriptor, int access) {
  // It stays mapped as long as it is pinned, and longer.
  void* const mapped = mmap(nullptr, offset + length, PROT_READ | PROT_WRITE,
                            MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED) return nullptr;
  return ibv_reg_mr_iova(domain, static_cast<char*>(mapped) + offset, length,
                         address, access);
}
