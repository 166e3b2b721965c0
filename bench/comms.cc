#include "bench/comms.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "bench/fail.h"

namespace hawser::bench {
namespace {

using nccl::Result;

constexpr size_t kPageBytes = 4096;
// Four lines of LL128: longer than any rounding that a plugin might do.
constexpr size_t kGuardBytes = 512;
constexpr int kGuardValue = 0x5c;

using Handle = std::array<char, nccl::kHandleMaxBytes>;

void Require(Result result, const char* call, const Comm& comm) {
  if (result == Result::kSuccess) return;
  Fail("%s, rank %d, channel %d: %s", call, comm.peer, comm.channel,
       ResultName(result));
}

}  // namespace

Bytes Allocate(size_t size) {
  const size_t pages = (size + kGuardBytes + kPageBytes - 1) / kPageBytes;
  void* bytes = std::aligned_alloc(kPageBytes, pages * kPageBytes);
  if (bytes == nullptr) Fail("no memory for a buffer of %zu bytes", size);
  std::memset(bytes, 0, pages * kPageBytes);
  return Bytes(static_cast<std::byte*>(bytes));
}

void SetGuard(std::byte* guard) {
  std::memset(guard, kGuardValue, kGuardBytes);
}

uint64_t CountDamaged(const std::byte* guard) {
  return static_cast<uint64_t>(std::count_if(
      guard, guard + kGuardBytes,
      [](std::byte byte) { return byte != std::byte{kGuardValue}; }));
}

Comms::Comms(const Shape& shape, NetLibrary* net, Bootstrap* bootstrap)
    : shape_(shape), net_(net) {
  for (const Hop& hop : shape_.hops) {
    first_.push_back(sends_.size());
    for (int channel = 0; channel < hop.channels; ++channel) {
      SendComm& to = sends_.emplace_back();
      RecvComm& from = recvs_.emplace_back();
      to.peer = hop.to;
      from.peer = hop.from;
      to.channel = from.channel = channel;
      to.tag = shape_.rank;
      from.tag = from.peer;
      to.slot_bytes = from.slot_bytes = hop.slot_bytes;
    }
  }
  Open(bootstrap);
}

void Comms::Open(Bootstrap* bootstrap) {
  std::vector<Handle> handles(recvs_.size());
  std::vector<void*> listens(recvs_.size(), nullptr);
  std::string mine;
  for (size_t i = 0; i < recvs_.size(); ++i) {
    Require(net_->Listen(shape_.device, handles[i].data(), &listens[i]),
            "listen", recvs_[i]);
    if (listens[i] == nullptr) Fail("listen returned no comm");
    mine.append(handles[i].data(), handles[i].size());
  }
  const std::vector<std::string> all = bootstrap->AllGather(mine);
  for (size_t i = 0; i < sends_.size(); ++i) {
    // The peer's comm of the same index is the other end of this one.
    const std::string& theirs = all[static_cast<size_t>(sends_[i].peer)];
    if (theirs.size() != mine.size()) {
      Fail("rank %d sent broken handles", sends_[i].peer);
    }
    std::memcpy(handles[i].data(), theirs.data() + i * sizeof(Handle),
                sizeof(Handle));
  }

  GoAround("connect and accept", bootstrap, [&](size_t i) {
    size_t came = 0;
    SendComm& to = sends_[i];
    if (to.plugin_comm == nullptr) {
      // The same handle each time: a plugin may keep its state inside.
      Require(net_->Connect(shape_.device, handles[i].data(), &to.plugin_comm),
              "connect", to);
      if (to.plugin_comm != nullptr) {
        RegisterSlots(&to);
        ++came;
      }
    }
    RecvComm& from = recvs_[i];
    if (from.plugin_comm == nullptr) {
      Require(net_->Accept(listens[i], &from.plugin_comm), "accept", from);
      if (from.plugin_comm != nullptr) {
        Require(net_->CloseListen(listens[i]), "closeListen", from);
        RegisterSlots(&from);
        ++came;
      }
    }
    return came;
  });
  if (net_->has_marks()) Greet(bootstrap);
}

// Where NCCL watches a buffer it marks the receive, and a plugin may learn from
// the first mark that others are not watched; ours never are. In NCCL it comes
// with the first small message. Here it comes with an empty one over each comm,
// which may be called received before it is.
void Comms::Greet(Bootstrap* bootstrap) {
  struct Greeting {
    void* request = nullptr;
    bool done = false;
  };
  std::vector<Greeting> out(sends_.size()), in(recvs_.size());
  const auto get_on = [&](const Comm& comm, Greeting* greeting,
                          const auto& start) -> size_t {
    if (greeting->done) return 0;
    if (greeting->request == nullptr) start(&greeting->request);
    if (greeting->request == nullptr) return 0;
    int done = 0, size = 0;
    Require(net_->Test(greeting->request, &done, &size), "test", comm);
    greeting->done = done != 0;
    return greeting->done ? 1 : 0;
  };
  GoAround("first messages", bootstrap, [&](size_t i) {
    const RecvComm& from = recvs_[i];
    const size_t came = get_on(from, &in[i], [&](void** request) {
      Require(net_->Irecv(from.plugin_comm, from.slots.get(), from.slot_bytes,
                          from.tag, from.region, /*marked=*/true, request),
              "irecv", from);
    });
    const SendComm& to = sends_[i];
    return came + get_on(to, &out[i], [&](void** request) {
             Require(net_->Isend(to.plugin_comm, to.slots.get(), 0, to.tag,
                                 to.region, request),
                     "isend", to);
           });
  });
}

void Comms::GoAround(const char* what, Bootstrap* bootstrap,
                     const std::function<size_t(size_t)>& visit) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(shape_.timeout_s);
  for (size_t missing = count(); missing > 0;) {
    const size_t before = missing;
    for (size_t i = 0; i < sends_.size(); ++i) missing -= visit(i);
    if (missing < before) continue;
    sched_yield();
    bootstrap->CheckAllHere();
    if (std::chrono::steady_clock::now() > deadline) {
      Fail("%s: %zu of %zu comms not there after %d s", what, missing, count(),
           shape_.timeout_s);
    }
  }
}

void Comms::RegisterSlots(Comm* comm) {
  const size_t size = kSlots * comm->slot_bytes;
  comm->slots = Allocate(size);
  SetGuard(comm->guard());
  Require(
      net_->Register(comm->plugin_comm, comm->slots.get(), size, &comm->region),
      "regMr", *comm);
}

void Comms::Register(std::byte* input, size_t input_bytes, std::byte* output,
                     size_t output_bytes) {
  for (SendComm& to : sends_) {
    RegisterBuffer(&to, input, input_bytes, &to.input_region);
    RegisterBuffer(&to, output, output_bytes, &to.output_region);
  }
  for (RecvComm& from : recvs_) {
    RegisterBuffer(&from, output, output_bytes, &from.output_region);
  }
}

void Comms::RegisterBuffer(Comm* comm, std::byte* bytes, size_t size,
                           void** region) {
  if (size == 0) return;
  Require(net_->Register(comm->plugin_comm, bytes, size, region), "regMr",
          *comm);
}

uint64_t Comms::Release(Comm* comm) {
  for (void* region : {comm->region, comm->input_region, comm->output_region}) {
    if (region == nullptr) continue;
    Require(net_->Unregister(comm->plugin_comm, region), "deregMr", *comm);
  }
  return CountDamaged(comm->guard());
}

uint64_t Comms::Close() {
  uint64_t damaged = 0;
  for (SendComm& to : sends_) {
    damaged += Release(&to);
    Require(net_->CloseSend(to.plugin_comm), "closeSend", to);
  }
  for (RecvComm& from : recvs_) {
    damaged += Release(&from);
    Require(net_->CloseRecv(from.plugin_comm), "closeRecv", from);
  }
  return damaged;
}

}  // namespace hawser::bench
