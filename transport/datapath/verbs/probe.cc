// Why tried: a device may offer unreliable connections and lose what is larger
// than a packet, or accept a queue pair whose address leads nowhere. A write
// that has arrived says more than any table of capabilities.
//
// Why uc comes before rc: it lets us say what is lost and when it is sent
// again, so one slow or black path is nobody's wait but its own. An rc queue
// pair goes back to what was lost and sends all of it once more (a device of
// software without even a limit), and its timer knows nothing of other paths.
#include "transport/datapath/verbs/probe.h"

#include <endian.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "transport/datapath/verbs/device.h"

namespace hawser {
namespace {

constexpr int kPatienceMs = 250;
constexpr uint32_t kSign = 0x48575250;  // The immediate value of the write.
constexpr uint32_t kFirstPacket = 1;
constexpr uint8_t kTimeout = 14;  // 67 ms.
constexpr uint8_t kRetries = 1;

// Two queue pairs of one device, and what one writes to the other.
class Trial {
 public:
  Trial(ibv_context* context, ibv_pd* domain, const VerbsPort& port)
      : context_(context), domain_(domain), port_(port) {}
  // Empty: it works. Else what did not, as the end of a sentence.
  std::string Run(ibv_qp_type type);

 private:
  PairHolder MakePair(ibv_qp_type type);
  bool Connect(ibv_qp* pair, uint32_t far_pair);
  bool Write();
  bool Arrived();

  ibv_context* const context_;
  ibv_pd* const domain_;
  const VerbsPort port_;
  ibv_port_attr attributes_ = {};
  ibv_gid gid_ = {};
  std::vector<std::byte> from_, to_;
  RegionHolder from_region_, to_region_;
  ChannelHolder channel_;
  CompletionsHolder sent_, heard_;
  PairHolder speaker_, hearer_;
};

std::string Trial::Run(ibv_qp_type type) {
  if (ibv_query_port(context_, port_.port, &attributes_) != 0 ||
      ibv_query_gid(context_, port_.port, port_.gid_index, &gid_) != 0) {
    return "could not be tried: the port cannot be queried";
  }
  const size_t bytes = size_t{128} << attributes_.active_mtu;
  from_.assign(bytes, std::byte{0x5a});
  to_.assign(bytes, std::byte{});
  from_region_.reset(ibv_reg_mr(domain_, from_.data(), bytes, 0));
  to_region_.reset(ibv_reg_mr(
      domain_, to_.data(), bytes,
      IBV_ACCESS_LOCAL_WRITE | static_cast<int>(IBV_ACCESS_REMOTE_WRITE)));
  channel_.reset(ibv_create_comp_channel(context_));
  if (from_region_ == nullptr || to_region_ == nullptr || channel_ == nullptr) {
    return VerbsError("could not be tried", errno);
  }
  sent_.reset(ibv_create_cq(context_, 1, nullptr, nullptr, 0));
  heard_.reset(ibv_create_cq(context_, 1, nullptr, channel_.get(), 0));
  if (sent_ == nullptr || heard_ == nullptr) {
    return VerbsError("could not be tried", errno);
  }
  speaker_ = MakePair(type);
  if (speaker_ == nullptr) return VerbsError("is not to be had", errno);
  hearer_ = MakePair(type);
  if (hearer_ == nullptr) return VerbsError("is not to be had", errno);
  if (!Connect(hearer_.get(), speaker_->qp_num) ||
      !Connect(speaker_.get(), hearer_->qp_num)) {
    return VerbsError("cannot be connected", errno);
  }
  return Write() && Arrived() ? "" : "did not arrive";
}

PairHolder Trial::MakePair(ibv_qp_type type) {
  ibv_qp_init_attr wanted = {};
  wanted.send_cq = sent_.get();
  wanted.recv_cq = heard_.get();
  wanted.cap.max_send_wr = wanted.cap.max_recv_wr = 1;
  wanted.cap.max_send_sge = wanted.cap.max_recv_sge = 1;
  wanted.qp_type = type;
  return PairHolder(ibv_create_qp(domain_, &wanted));
}

bool Trial::Connect(ibv_qp* pair, uint32_t far_pair) {
  const bool reliable = pair->qp_type == IBV_QPT_RC;
  const auto step = [&](ibv_qp_attr& to, ibv_qp_state state, int mask,
                        int if_reliable) {
    to.qp_state = state;
    errno = ibv_modify_qp(pair, &to,
                          IBV_QP_STATE | mask | (reliable ? if_reliable : 0));
    return errno == 0;
  };
  ibv_qp_attr to = {};
  to.port_num = port_.port;
  to.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  to.path_mtu = attributes_.active_mtu;
  to.dest_qp_num = far_pair;
  to.rq_psn = to.sq_psn = kFirstPacket;
  to.ah_attr.is_global = 1;
  to.ah_attr.grh.dgid = gid_;
  to.ah_attr.grh.sgid_index = port_.gid_index;
  to.ah_attr.grh.hop_limit = 1;
  to.ah_attr.dlid = attributes_.lid;
  to.ah_attr.port_num = port_.port;
  to.timeout = kTimeout;
  to.retry_cnt = kRetries;
  return step(to, IBV_QPS_INIT,
              IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, 0) &&
         step(to, IBV_QPS_RTR,
              IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN,
              IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) &&
         step(to, IBV_QPS_RTS, IBV_QP_SQ_PSN,
              IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                  IBV_QP_MAX_QP_RD_ATOMIC);
}

bool Trial::Write() {
  ibv_recv_wr receive = {};
  ibv_recv_wr* refused_receive = nullptr;
  ibv_sge piece = {reinterpret_cast<uint64_t>(from_.data()),
                   static_cast<uint32_t>(from_.size()), from_region_->lkey};
  ibv_send_wr write = {};
  write.sg_list = &piece;
  write.num_sge = 1;
  write.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  write.imm_data = htobe32(kSign);
  write.send_flags = IBV_SEND_SIGNALED;
  write.wr.rdma.remote_addr = reinterpret_cast<uint64_t>(to_.data());
  write.wr.rdma.rkey = to_region_->rkey;
  ibv_send_wr* refused = nullptr;
  return ibv_post_recv(hearer_.get(), &receive, &refused_receive) == 0 &&
         ibv_req_notify_cq(heard_.get(), 0) == 0 &&
         ibv_post_send(speaker_.get(), &write, &refused) == 0;
}

bool Trial::Arrived() {
  pollfd readable = {channel_->fd, POLLIN, 0};
  int ready;
  do {
    ready = poll(&readable, 1, kPatienceMs);
  } while (ready < 0 && errno == EINTR);
  if (ready > 0) {
    ibv_cq* queue = nullptr;
    void* owner = nullptr;
    if (ibv_get_cq_event(channel_.get(), &queue, &owner) == 0) {
      ibv_ack_cq_events(queue, 1);
    }
  }
  ibv_wc done = {};
  return ibv_poll_cq(heard_.get(), 1, &done) == 1 &&
         done.status == IBV_WC_SUCCESS &&
         done.opcode == IBV_WC_RECV_RDMA_WITH_IMM &&
         done.imm_data == htobe32(kSign) && to_ == from_;
}

}  // namespace

VerbsChoice ChooseVerbsMode(ibv_context* context, ibv_pd* domain,
                            const VerbsPort& port) {
  struct Kind {
    VerbsMode mode;
    ibv_qp_type type;
    const char* name;
    const char* connection;
  };
  constexpr Kind kKinds[] = {
      {VerbsMode::kUc, IBV_QPT_UC, "uc", "an unreliable connection"},
      {VerbsMode::kRc, IBV_QPT_RC, "rc", "a reliable connection"}};
  std::string failed;
  for (const Kind& kind : kKinds) {
    const std::string what = std::string("a write over ") + kind.connection;
    const std::string why = Trial(context, domain, port).Run(kind.type);
    if (why.empty() && port.software) {
      return {VerbsMode::kUd,
              "mode ud: a device of software, so the CPU copies in any mode, "
              "and datagrams cost it least (" +
                  what + " of the port to itself arrived)"};
    }
    if (why.empty()) {
      return {kind.mode, std::string("mode ") + kind.name + ": " + what +
                             " of the port to itself arrived" + failed};
    }
    failed += (failed.empty() ? ", and " : "; ") + what + " " + why;
  }
  return {VerbsMode::kUd, "mode ud: datagrams need nothing" + failed};
}

}  // namespace hawser
