#include "transport/datapath/verbs/device.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "transport/base/check.h"

namespace hawser {
namespace {

constexpr size_t kLineBytes = 64;
// A device hears itself, or there is something wrong with it.
constexpr uint8_t kFewRetries = 1;

}  // namespace

bool IsIpv4(const ibv_gid& gid) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0,    0,
                                          0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(gid.raw, kMapped, sizeof kMapped) == 0;
}

std::string VerbsError(const std::string& what, int error) {
  return what + ": " + std::strerror(error);
}

ContextHolder OpenVerbsDevice(const std::string& name, std::string* error) {
  int count = 0;
  ibv_device** const devices = ibv_get_device_list(&count);
  if (devices == nullptr) {
    *error = VerbsError("no RDMA in this kernel", errno);
    return nullptr;
  }
  ContextHolder context;
  *error = "there is no such device";
  for (int i = 0; i < count; ++i) {
    if (name != ibv_get_device_name(devices[i])) continue;
    context.reset(ibv_open_device(devices[i]));
    if (context == nullptr) *error = VerbsError("cannot be opened", errno);
  }
  ibv_free_device_list(devices);
  return context;
}

bool RouteToItself(ibv_context* context, uint8_t port, uint8_t gid_index,
                   PairRoute* route) {
  ibv_port_attr attributes = {};
  if (ibv_query_port(context, port, &attributes) != 0 ||
      ibv_query_gid(context, port, gid_index, &route->gid) != 0) {
    return false;
  }
  route->port = port;
  route->gid_index = gid_index;
  route->mtu = attributes.active_mtu;
  route->lid = attributes.lid;
  return true;
}

bool ConnectPair(ibv_qp* pair, const PairRoute& route) {
  const bool reliable = pair->qp_type == IBV_QPT_RC;
  const auto step = [&](ibv_qp_attr& to, ibv_qp_state state, int mask,
                        int if_reliable) {
    to.qp_state = state;
    errno = ibv_modify_qp(pair, &to,
                          IBV_QP_STATE | mask | (reliable ? if_reliable : 0));
    return errno == 0;
  };
  ibv_qp_attr to = {};
  to.port_num = route.port;
  to.qp_access_flags =
      IBV_ACCESS_REMOTE_WRITE | (reliable ? IBV_ACCESS_REMOTE_READ : 0);
  to.path_mtu = route.mtu;
  to.dest_qp_num = route.far_pair;
  to.rq_psn = to.sq_psn = route.first_packet;
  to.ah_attr.is_global = 1;
  to.ah_attr.grh.dgid = route.gid;
  to.ah_attr.grh.sgid_index = route.gid_index;
  to.ah_attr.grh.hop_limit = 1;
  to.ah_attr.dlid = route.lid;
  to.ah_attr.sl = route.service_level;
  to.ah_attr.port_num = route.port;
  to.timeout = kAnswerTimeoutExponent;
  to.retry_cnt = kFewRetries;
  to.max_rd_atomic = to.max_dest_rd_atomic = 1;
  return step(to, IBV_QPS_INIT,
              IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, 0) &&
         step(to, IBV_QPS_RTR,
              IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN,
              IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) &&
         step(to, IBV_QPS_RTS, IBV_QP_SQ_PSN,
              IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                  IBV_QP_MAX_QP_RD_ATOMIC);
}

bool SlotMemory::Make(ibv_pd* domain, size_t slots, size_t slot_bytes,
                      std::string* error) {
  stride_ = (slot_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
  all_bytes_ = slots * stride_;
  void* const memory = mmap(nullptr, all_bytes_, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    *error = VerbsError("no memory for packets", errno);
    return false;
  }
  bytes_ = static_cast<std::byte*>(memory);
  // A child of fork() could not use it, and must not make copies of it.
  madvise(memory, all_bytes_, MADV_DONTFORK);
  region_.reset(ibv_reg_mr(domain, memory, all_bytes_,
                           static_cast<int>(IBV_ACCESS_LOCAL_WRITE)));
  if (region_ == nullptr) {
    *error = VerbsError("cannot register " + std::to_string(all_bytes_ >> 10) +
                            " KiB of memory (is `ulimit -l` too small?)",
                        errno);
    return false;
  }
  return true;
}

SlotMemory::~SlotMemory() {
  region_.reset();
  if (bytes_ != nullptr) munmap(bytes_, all_bytes_);
}

bool CompletionQueue::Make(ibv_context* context, ibv_comp_channel* channel,
                           int entries, std::string* error) {
  queue_.reset(ibv_create_cq(context, entries, this, channel, 0));
  if (queue_ == nullptr) {
    *error = VerbsError("cannot make a completion queue", errno);
    return false;
  }
  return true;
}

size_t CompletionQueue::Poll(std::span<ibv_wc> out) {
  const int count =
      ibv_poll_cq(queue_.get(), static_cast<int>(out.size()), out.data());
  return count > 0 ? static_cast<size_t>(count) : 0;
}

size_t CompletionQueue::Arm(std::span<ibv_wc> out) {
  if (armed_ || ibv_req_notify_cq(queue_.get(), 0) != 0) return 0;
  armed_ = true;
  return Poll(out);  // What came before the request makes no event.
}

void CompletionQueue::OnEvent() {
  ibv_ack_cq_events(queue_.get(), 1);
  armed_ = false;
}

}  // namespace hawser
