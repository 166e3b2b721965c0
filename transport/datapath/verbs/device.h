// What is held of libibverbs, and given back when its holder goes: the device,
// memory that it may reach, a completion queue that wakes. And what is said to
// any device.
// Knows: libibverbs.  Never: packets, peers.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace hawser {

// Calls `kDestroy`, one of ibv_destroy_qp, ibv_dealloc_pd... on what it holds.
template <class T, int (*kDestroy)(T*)>
struct VerbsDeleter {
  void operator()(T* held) const { kDestroy(held); }
};
template <class T, int (*kDestroy)(T*)>
using VerbsHolder = std::unique_ptr<T, VerbsDeleter<T, kDestroy>>;

using ContextHolder = VerbsHolder<ibv_context, &ibv_close_device>;
using DomainHolder = VerbsHolder<ibv_pd, &ibv_dealloc_pd>;
using RegionHolder = VerbsHolder<ibv_mr, &ibv_dereg_mr>;
using CompletionsHolder = VerbsHolder<ibv_cq, &ibv_destroy_cq>;
using ChannelHolder = VerbsHolder<ibv_comp_channel, &ibv_destroy_comp_channel>;
using PairHolder = VerbsHolder<ibv_qp, &ibv_destroy_qp>;
using SharedReceivesHolder = VerbsHolder<ibv_srq, &ibv_destroy_srq>;
using HandleHolder = VerbsHolder<ibv_ah, &ibv_destroy_ah>;

// Of the IP header that a device writes and shows (RFC 3168, section 5).
inline constexpr uint8_t kEct0 = 0x02;  // "I understand ECN".
inline constexpr uint8_t kCe = 0x03;
inline constexpr uint8_t kEcnBits = 0x03;
// Routers count it down; as Linux's own default.
inline constexpr uint8_t kHopLimit = 64;
inline constexpr uint32_t kFlowLabels = 1 << 20;  // RFC 6437: 20 bits.

// How long a device over rc waits for an answer: 4.096 us * 2^14 = 67 ms.
inline constexpr uint8_t kAnswerTimeoutExponent = 14;
// How long a device that is tried may take to deliver what it was given.
inline constexpr int kTrialPatienceMs = 250;

// An IPv4 address, mapped into IPv6 (RFC 4291, section 2.5.5.2).
bool IsIpv4(const ibv_gid& gid);

// "what: why", where the system just gave `error`.
std::string VerbsError(const std::string& what, int error);

// Where a connected queue pair leads, and how.
struct PairRoute {
  uint8_t port = 1;
  uint8_t gid_index = 0;
  uint8_t service_level = 0;
  ibv_mtu mtu = IBV_MTU_1024;
  ibv_gid gid = {};
  uint16_t lid = 0;
  uint32_t far_pair = 0;
  uint32_t first_packet = 1;  // Both sides count from there.
};

// To the port itself: what its route is but for the queue pair. False: the port
// cannot be queried.
bool RouteToItself(ibv_context* context, uint8_t port, uint8_t gid_index,
                   PairRoute* route);
// A new pair, uc or rc, to where it can send and hear; the far side may write,
// and over rc read. False, and why in errno.
bool ConnectPair(ibv_qp* pair, const PairRoute& route);

// nullptr, and a sentence in `error`.
ContextHolder OpenVerbsDevice(const std::string& name, std::string* error);

// Memory of our own, registered as a whole, cut into slots of one size.
class SlotMemory {
 public:
  // Slots begin on cache lines. False, and a sentence in `error`.
  bool Make(ibv_pd* domain, size_t slots, size_t slot_bytes,
            std::string* error);
  std::byte* operator[](size_t slot) const { return bytes_ + slot * stride_; }
  size_t SlotOf(const std::byte* byte) const {
    return static_cast<size_t>(byte - bytes_) / stride_;
  }
  uint32_t local_key() const { return region_->lkey; }
  ~SlotMemory();

 private:
  std::byte* bytes_ = nullptr;
  size_t stride_ = 0;
  size_t all_bytes_ = 0;
  RegionHolder region_;
};

// Polled while there is traffic; when asked, it makes its channel readable
// with the next completion.
class CompletionQueue {
 public:
  // `entries` completions must fit. False, and a sentence in `error`.
  bool Make(ibv_context* context, ibv_comp_channel* channel, int entries,
            std::string* error);
  ibv_cq* get() const { return queue_.get(); }

  size_t Poll(std::span<ibv_wc> out);
  // Sees to it that the channel will give an event. What was completed before
  // it could is returned; where it is not nothing, there may be more.
  size_t Arm(std::span<ibv_wc> out);
  void OnEvent();  // The channel gave one of this queue.

 private:
  CompletionsHolder queue_;
  bool armed_ = false;  // An event is to come, or waits in the channel.
};

}  // namespace hawser
