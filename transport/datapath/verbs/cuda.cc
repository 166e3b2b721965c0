// The functions and constants are those of CUDA's driver API (CUDA Driver API
// Reference Manual). Its header makes a name with _v2 of some: of these, since
// CUDA 4 and earlier. Dma-bufs came with CUDA 11.7.
#include "transport/datapath/verbs/cuda.h"

#include <dlfcn.h>
#include <unistd.h>

#include <type_traits>

namespace hawser {
namespace {

using Result = int;  // CUresult.
using Device = int;
using Context = void*;
using Address = unsigned long long;  // CUdeviceptr.
using Stream = void*;

constexpr Result kSuccess = 0;
constexpr int kDmaBuf = 1;          // CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD
constexpr unsigned kNotWaited = 1;  // CU_STREAM_NON_BLOCKING

}  // namespace

struct CudaDriver {
  Result (*get_context)(Context*) = nullptr;
  Result (*push_context)(Context) = nullptr;
  Result (*pop_context)(Context*) = nullptr;
  Result (*device_count)(int*) = nullptr;
  Result (*device)(Device*, int) = nullptr;
  Result (*context_state)(Device, unsigned* flags, int* active) = nullptr;
  Result (*retain)(Context*, Device) = nullptr;
  Result (*release)(Device) = nullptr;
  Result (*allocate)(Address*, size_t) = nullptr;
  Result (*free)(Address) = nullptr;
  Result (*copy_out)(void*, Address, size_t, Stream) = nullptr;
  Result (*make_stream)(Stream*, unsigned flags) = nullptr;
  Result (*finish_stream)(Stream) = nullptr;
  Result (*end_stream)(Stream) = nullptr;
  Result (*share)(void*, Address, size_t, int type,
                  unsigned long long flags) = nullptr;  // May be missing.

  // False, and in `why` the end of a sentence.
  bool Open(std::string* why);
};

bool CudaDriver::Open(std::string* why) {
  // It stays loaded: whoever has a GPU uses it anyway.
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *why = "there is no libcuda.so.1";
    return false;
  }
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
        dlsym(library, name));
    if (function == nullptr) *why = std::string("libcuda.so.1 has no ") + name;
    return function != nullptr;
  };
  find(share, "cuMemGetHandleForAddressRange");
  return find(get_context, "cuCtxGetCurrent") &&
         find(push_context, "cuCtxPushCurrent_v2") &&
         find(pop_context, "cuCtxPopCurrent_v2") &&
         find(device_count, "cuDeviceGetCount") &&
         find(device, "cuDeviceGet") &&
         find(context_state, "cuDevicePrimaryCtxGetState") &&
         find(retain, "cuDevicePrimaryCtxRetain") &&
         find(release, "cuDevicePrimaryCtxRelease_v2") &&
         find(allocate, "cuMemAlloc_v2") && find(free, "cuMemFree_v2") &&
         find(copy_out, "cuMemcpyDtoHAsync_v2") &&
         find(make_stream, "cuStreamCreate") &&
         find(finish_stream, "cuStreamSynchronize") &&
         find(end_stream, "cuStreamDestroy_v2");
}

// While it lives, the thread works with this GPU.
class GpuBuffer::Working {
 public:
  explicit Working(const GpuBuffer& buffer) : driver_(*buffer.driver_) {
    pushed_ = driver_.push_context(buffer.context_) == kSuccess;
  }
  ~Working() {
    Context ignored;
    if (pushed_) driver_.pop_context(&ignored);
  }

 private:
  const CudaDriver& driver_;
  bool pushed_ = false;
};

std::unique_ptr<GpuBuffer> GpuBuffer::Make(size_t bytes, std::string* why) {
  std::unique_ptr<GpuBuffer> buffer(new GpuBuffer(bytes));
  if (!buffer->driver_->Open(why) || !buffer->Allocate(why)) return nullptr;
  return buffer;
}

GpuBuffer::GpuBuffer(size_t bytes)
    : driver_(std::make_unique<CudaDriver>()), bytes_(bytes) {}

GpuBuffer::~GpuBuffer() {
  if (memory_ != 0) {
    const Working working(*this);
    driver_->free(memory_);
  }
  if (retained_) driver_->release(device_);
}

bool GpuBuffer::FindContext() {
  if (driver_->get_context(&context_) != kSuccess) return false;
  if (context_ != nullptr) return true;
  int count = 0;
  if (driver_->device_count(&count) != kSuccess) return false;
  for (int i = 0; i < count && !retained_; ++i) {
    unsigned flags = 0;
    int active = 0;
    retained_ = driver_->device(&device_, i) == kSuccess &&
                driver_->context_state(device_, &flags, &active) == kSuccess &&
                active != 0 && driver_->retain(&context_, device_) == kSuccess;
  }
  return retained_;
}

bool GpuBuffer::Allocate(std::string* why) {
  if (!FindContext()) {
    *why = "this process uses no GPU";
    return false;
  }
  const Working working(*this);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  whole_bytes_ = (bytes_ + page - 1) / page * page;
  if (driver_->allocate(&memory_, whole_bytes_ + page) != kSuccess) {
    memory_ = 0;
    *why = "no memory of a GPU is to be had";
    return false;
  }
  begin_ = (memory_ + page - 1) / page * page;
  return true;
}

int GpuBuffer::Share(std::string* why) const {
  if (driver_->share == nullptr) {
    *why = "the driver makes no dma-buf";
    return -1;
  }
  const Working working(*this);
  int descriptor = -1;
  const Result result =
      driver_->share(&descriptor, begin_, whole_bytes_, kDmaBuf, 0);
  if (result == kSuccess && descriptor >= 0) return descriptor;
  *why = "the driver makes no dma-buf (error " + std::to_string(result) + ")";
  return -1;
}

// Over a stream of its own, which waits for nobody's work.
bool GpuBuffer::CopyOut(std::byte* to) const {
  const Working working(*this);
  Stream stream = nullptr;
  if (driver_->make_stream(&stream, kNotWaited) != kSuccess) return false;
  const bool copied =
      driver_->copy_out(to, begin_, bytes_, stream) == kSuccess &&
      driver_->finish_stream(stream) == kSuccess;
  driver_->end_stream(stream);
  return copied;
}

}  // namespace hawser
