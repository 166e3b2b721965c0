#include "transport/datapath/verbs/carrier.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace hawser {
namespace {

// What a read must fetch to have arrived.
constexpr uint32_t kFlushBytes = 1;

}  // namespace

bool Carrier::Make(ibv_context* context, ibv_pd* domain,
                   ibv_comp_channel* channel, const PairRoute& route,
                   std::string* error) {
  if (!completions_.Make(context, channel, 2 * kMost, error) ||
      !scratch_.Make(domain, 1, kFlushBytes, error)) {
    return false;
  }
  ibv_qp_init_attr wanted = {};
  wanted.send_cq = wanted.recv_cq = completions_.get();
  wanted.cap.max_send_wr = kMost;
  wanted.cap.max_recv_wr = 1;
  wanted.cap.max_send_sge = wanted.cap.max_recv_sge = 1;
  wanted.qp_type = IBV_QPT_RC;
  pair_.reset(ibv_create_qp(domain, &wanted));
  if (pair_ == nullptr) {
    *error = VerbsError("a reliable connection is not to be had", errno);
    return false;
  }
  route_ = route;
  route_.far_pair = pair_->qp_num;
  if (!ConnectPair(pair_.get(), route_)) {
    *error = VerbsError("a port cannot be connected to itself", errno);
    return false;
  }
  return true;
}

void Carrier::Write(uint64_t ticket, std::span<const std::byte> bytes,
                    uint32_t local_key, uint64_t address, uint32_t remote_key) {
  Add({.ticket = ticket,
       .from = reinterpret_cast<uint64_t>(bytes.data()),
       .to = address,
       .bytes = static_cast<uint32_t>(bytes.size()),
       .local_key = local_key,
       .remote_key = remote_key});
}

void Carrier::Flush(uint64_t ticket, uint64_t address, uint32_t remote_key) {
  Add({.ticket = ticket,
       .from = reinterpret_cast<uint64_t>(scratch_[0]),
       .to = address,
       .bytes = kFlushBytes,
       .local_key = scratch_.local_key(),
       .remote_key = remote_key,
       .reads = true});
}

void Carrier::Add(const Job& job) {
  if (broken_) return Fail(job.ticket);
  jobs_.push_back(job);
  Post();
}

void Carrier::Post() {
  while (!broken_ && posted_ < jobs_.size() && posted_ < kMost) {
    const Job& job = jobs_[posted_];
    ibv_sge piece = {job.from, job.bytes, job.local_key};
    ibv_send_wr request = {};
    request.wr_id = generation_;
    request.sg_list = &piece;
    request.num_sge = 1;
    request.opcode = job.reads ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.rdma.remote_addr = job.to;
    request.wr.rdma.rkey = job.remote_key;
    ibv_send_wr* refused = nullptr;
    if (ibv_post_send(pair_.get(), &request, &refused) == 0) {
      ++posted_;
      continue;
    }
    // What is under way will say why; where nothing is, it is this job.
    if (posted_ > 0) return;
    done_.push_back({job.ticket, false});
    jobs_.pop_front();
    Restart();
  }
}

// Completions come in the order of posting.
void Carrier::OnCompletions(std::span<const ibv_wc> done) {
  for (const ibv_wc& one : done) {
    if (one.wr_id != generation_ || posted_ == 0) continue;
    const bool ok = one.status == IBV_WC_SUCCESS;
    done_.push_back({jobs_.front().ticket, ok});
    jobs_.pop_front();
    --posted_;
    // The others did nothing wrong: they begin anew.
    if (!ok) Restart();
  }
  Post();
}

// A queue pair that is reset has forgotten all, and touches nothing any more.
void Carrier::Restart() {
  ibv_qp_attr to = {};
  to.qp_state = IBV_QPS_RESET;
  route_.first_packet = static_cast<uint32_t>(++generation_ & 0xffff) << 8;
  broken_ = ibv_modify_qp(pair_.get(), &to, IBV_QP_STATE) != 0 ||
            !ConnectPair(pair_.get(), route_);
  std::array<ibv_wc, kMost> stale;
  while (completions_.Poll(stale) > 0) {
  }
  posted_ = 0;
  if (!broken_) return;
  for (const Job& job : jobs_) Fail(job.ticket);
  jobs_.clear();
}

void Carrier::Forget(std::span<const uint64_t> tickets) {
  const auto named = [&](const auto& one) {
    return std::find(tickets.begin(), tickets.end(), one.ticket) !=
           tickets.end();
  };
  const auto end = jobs_.begin() + static_cast<ptrdiff_t>(posted_);
  const bool under_way = std::any_of(jobs_.begin(), end, named);
  std::erase_if(jobs_, named);
  if (under_way) Restart();
  std::erase_if(done_, named);
  Post();
}

bool Carrier::Take(Carried* carried) {
  std::array<ibv_wc, kMost> done;
  if (done_.empty() && posted_ > 0) {
    OnCompletions(std::span(done).first(completions_.Poll(done)));
  }
  if (done_.empty()) return false;
  *carried = done_.front();
  done_.pop_front();
  return true;
}

}  // namespace hawser
