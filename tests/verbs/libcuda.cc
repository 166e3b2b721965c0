// Stands in for NVIDIA's driver, libcuda.so.1, where there is none: the few
// functions by which memory of a GPU is had. That memory is a file without a
// name, and a dma-buf of it is that file.
//
// HAWSER_TEST_GPU says what kind of GPU it is. "address": its memory can be
// pinned by its address, as with nvidia-peermem. Else it cannot, and whatever
// of this process touches it falls over, as it would with a GPU.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>

namespace {

using Address = unsigned long long;
constexpr int kSuccess = 0, kInvalid = 1, kNoMemory = 2;

struct Buffer {
  int file = -1;
  size_t bytes = 0;
  std::byte* seen = nullptr;  // Where the driver sees it.
};

std::mutex mutex;
std::map<Address, Buffer> buffers;
int context;  // Its address is all that matters.

bool Hidden() {
  const char* const kind = std::getenv("HAWSER_TEST_GPU");
  return kind == nullptr || std::string_view(kind) != "address";
}

// The buffer that has it all, and where in it that begins.
Buffer* Find(Address at, size_t bytes, size_t* offset) {
  auto next = buffers.upper_bound(at);
  if (next == buffers.begin()) return nullptr;
  --next;
  *offset = at - next->first;
  return *offset + bytes <= next->second.bytes ? &next->second : nullptr;
}

}  // namespace

extern "C" {

int cuCtxGetCurrent(void** current) {
  *current = &context;
  return kSuccess;
}
int cuCtxPushCurrent_v2(void*) { return kSuccess; }
int cuCtxPopCurrent_v2(void** popped) { return cuCtxGetCurrent(popped); }
int cuDeviceGetCount(int* count) {
  *count = 1;
  return kSuccess;
}
int cuDeviceGet(int* device, int) {
  *device = 0;
  return kSuccess;
}
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return kSuccess;
}
int cuDevicePrimaryCtxRetain(void** retained, int) {
  return cuCtxGetCurrent(retained);
}
int cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }
int cuStreamCreate(void** stream, unsigned) {
  *stream = &context;
  return kSuccess;
}
int cuStreamSynchronize(void*) { return kSuccess; }
int cuStreamDestroy_v2(void*) { return kSuccess; }

int cuMemAlloc_v2(Address* address, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  Buffer buffer;
  buffer.bytes = (bytes + page - 1) / page * page;
  buffer.file = memfd_create("gpu", MFD_CLOEXEC);
  if (buffer.file < 0 ||
      ftruncate(buffer.file, static_cast<off_t>(buffer.bytes)) != 0) {
    return kNoMemory;
  }
  void* const seen = mmap(nullptr, buffer.bytes, PROT_READ | PROT_WRITE,
                          MAP_SHARED, buffer.file, 0);
  void* const at =
      mmap(nullptr, buffer.bytes, Hidden() ? PROT_NONE : PROT_READ | PROT_WRITE,
           MAP_SHARED, buffer.file, 0);
  if (seen == MAP_FAILED || at == MAP_FAILED) return kNoMemory;
  buffer.seen = static_cast<std::byte*>(seen);
  *address = reinterpret_cast<Address>(at);
  buffers[*address] = buffer;
  return kSuccess;
}

int cuMemFree_v2(Address address) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = buffers.find(address);
  if (found == buffers.end()) return kInvalid;
  munmap(reinterpret_cast<void*>(address), found->second.bytes);
  munmap(found->second.seen, found->second.bytes);
  close(found->second.file);
  buffers.erase(found);
  return kSuccess;
}

int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void*) {
  const std::lock_guard<std::mutex> lock(mutex);
  size_t offset = 0;
  const Buffer* const buffer = Find(from, bytes, &offset);
  if (buffer == nullptr) return kInvalid;
  std::memcpy(to, buffer->seen + offset, bytes);
  return kSuccess;
}

int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void*) {
  const std::lock_guard<std::mutex> lock(mutex);
  size_t offset = 0;
  const Buffer* const buffer = Find(to, bytes, &offset);
  if (buffer == nullptr) return kInvalid;
  std::memcpy(buffer->seen + offset, from, bytes);
  return kSuccess;
}

// Of the whole of an allocation: a file knows no offset of its own.
int cuMemGetHandleForAddressRange(void* handle, Address at, size_t bytes, int,
                                  unsigned long long) {
  const std::lock_guard<std::mutex> lock(mutex);
  size_t offset = 0;
  const Buffer* const buffer = Find(at, bytes, &offset);
  if (buffer == nullptr || offset != 0) return kInvalid;
  const int file = fcntl(buffer->file, F_DUPFD_CLOEXEC, 0);
  std::memcpy(handle, &file, sizeof file);
  return kSuccess;
}

}  // extern "C"
