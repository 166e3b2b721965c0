// Carrier: a queue pair that leads to itself, by which the NIC copies what this
// host's processors cannot: into the memory of GPUs; and by which it flushes.
// Knows: libibverbs, keys.  Never: packets, peers, whose memory it is.
//
// A read that the NIC makes of a GPU's memory arrives there behind all that it
// wrote before (PCI Express Base Specification, 2.4.1: a read does not pass a
// write). So when its answer is there, they are.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "transport/datapath/datapath.h"
#include "transport/datapath/verbs/device.h"

namespace hawser {

class Carrier {
 public:
  // Outstanding in the queue pair; what is more waits here.
  static constexpr uint32_t kMost = 64;

  // A. What is.
  bool idle() const { return jobs_.empty() && done_.empty(); }
  bool has_done() const { return !done_.empty(); }
  CompletionQueue& completions() { return completions_; }

  // B. What happened. False, and a sentence in `error`. `route` is to the port
  // itself.
  bool Make(ibv_context* context, ibv_pd* domain, ibv_comp_channel* channel,
            const PairRoute& route, std::string* error);
  // From `bytes`, which stay until it is done or forgotten, to `address`.
  void Write(uint64_t ticket, std::span<const std::byte> bytes,
             uint32_t local_key, uint64_t address, uint32_t remote_key);
  // Makes what the NIC wrote to where `address` is arrive there.
  void Flush(uint64_t ticket, uint64_t address, uint32_t remote_key);
  // It would be in vain, or there is nothing to do.
  void Fail(uint64_t ticket) { done_.push_back({ticket, false}); }
  void Pass(uint64_t ticket) { done_.push_back({ticket, true}); }
  // What was given out with these tickets is not touched any more.
  void Forget(std::span<const uint64_t> tickets);

  // C. What next. False: nothing is done.
  bool Take(Carried* carried);
  void OnCompletions(std::span<const ibv_wc> done);

 private:
  struct Job {
    uint64_t ticket = 0;
    uint64_t from = 0;
    uint64_t to = 0;
    uint32_t bytes = 0;
    uint32_t local_key = 0;
    uint32_t remote_key = 0;
    bool reads = false;
  };
  void Add(const Job& job);
  void Post();
  void Restart();

  PairRoute route_;
  CompletionQueue completions_;
  SlotMemory scratch_;  // Where flushing reads to.
  PairHolder pair_;
  std::deque<Job> jobs_;  // The first `posted_` are in the queue pair.
  size_t posted_ = 0;
  // Counts restarts: what was posted before the latest has been forgotten.
  uint64_t generation_ = 0;
  bool broken_ = false;  // For good: every job fails.
  std::deque<Carried> done_;
};

}  // namespace hawser
