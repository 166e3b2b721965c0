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

constexpr uint32_t kSign = 0x48575250;  // The immediate value of the write.

// Two queue pairs of one device, and what one writes to the other.
class Trial {
 public:
  Trial(ibv_context* context, ibv_pd* domain, const VerbsPort& port)
      : context_(context), domain_(domain), port_(port) {}
  // Empty: it works. Else what did not, as the end of a sentence.
  std::string Run(ibv_qp_type type);

 private:
  PairHolder MakePair(ibv_qp_type type);
  bool Write();
  bool Arrived();

  ibv_context* const context_;
  ibv_pd* const domain_;
  const VerbsPort port_;
  std::vector<std::byte> from_, to_;
  RegionHolder from_region_, to_region_;
  ChannelHolder channel_;
  CompletionsHolder sent_, heard_;
  PairHolder speaker_, hearer_;
};

std::string Trial::Run(ibv_qp_type type) {
  PairRoute route;
  if (!RouteToItself(context_, port_.port, port_.gid_index, &route)) {
    return "could not be tried: the port cannot be queried";
  }
  const size_t bytes = size_t{128} << route.mtu;
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
  PairRoute to_speaker = route, to_hearer = route;
  to_speaker.far_pair = speaker_->qp_num;
  to_hearer.far_pair = hearer_->qp_num;
  if (!ConnectPair(hearer_.get(), to_speaker) ||
      !ConnectPair(speaker_.get(), to_hearer)) {
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
    ready = poll(&readable, 1, kTrialPatienceMs);
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
