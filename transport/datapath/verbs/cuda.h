// The few functions of NVIDIA's driver by which memory of a GPU is had for a
// moment, to try a NIC on it. It is opened where it is; nothing of it is needed
// to build.
// Knows: libcuda.so.1.  Never: NICs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace hawser {

struct CudaDriver;

// A piece of memory of the GPU that the calling thread works with, or of any
// that this process uses.
class GpuBuffer {
 public:
  // nullptr, and in `why` the end of a sentence: there is no driver; this
  // process uses no GPU. It is not made to: that takes hundreds of megabytes.
  static std::unique_ptr<GpuBuffer> Make(size_t bytes, std::string* why);
  ~GpuBuffer();
  GpuBuffer(const GpuBuffer&) = delete;
  GpuBuffer& operator=(const GpuBuffer&) = delete;

  // It begins on a page, and may not be touched.
  std::byte* data() const { return reinterpret_cast<std::byte*>(begin_); }
  // A descriptor of a dma-buf that is this memory, the caller's to close; -1,
  // and in `why` the end of a sentence.
  int Share(std::string* why) const;
  bool CopyOut(std::byte* to) const;  // All of it.

 private:
  class Working;
  explicit GpuBuffer(size_t bytes);
  bool FindContext();
  bool Allocate(std::string* why);

  const std::unique_ptr<CudaDriver> driver_;
  const size_t bytes_;
  void* context_ = nullptr;
  int device_ = 0;
  bool retained_ = false;  // The device's context, by us.
  unsigned long long memory_ = 0, begin_ = 0;
  size_t whole_bytes_ = 0;
};

}  // namespace hawser
