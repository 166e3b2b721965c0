// NCCL's words to ours and back: listen, connect, send, receive, test.
// Knows: NCCL's calling rules.  Never: paths, packets. No policy lives here,
// and no state that the API does not force.
//
// Every pointer that NCCL holds is one of these objects. A comm is driven by
// one thread at a time, as NCCL does; different comms by any threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "nccl-plugin/device.h"
#include "nccl-plugin/net_abi.h"
#include "transport/engine/endpoint.h"
#include "transport/engine/rendezvous.h"

namespace hawser {

class Comm;

// What NCCL calls a request.
struct CommRequest {
  Comm* comm = nullptr;
  Request* request = nullptr;  // Null: done.
  uint32_t bytes = 0;          // Of the buffer.
  // Why it failed. Whoever asks again is told the same.
  nccl::Result failure = nccl::Result::kSuccess;
};

// A send comm or a receive comm.
class Comm {
 public:
  explicit Comm(std::unique_ptr<FlowEnd> flow)
      : home_(&Devices::Get()),
        flow_(std::move(flow)),
        direction_(Direction::kSend) {}
  Comm(std::unique_ptr<FlowEnd> flow, Devices::Marks marks)
      : home_(&Devices::Get()),
        flow_(std::move(flow)),
        direction_(Direction::kReceive),
        marks_(std::move(marks)) {}

  // isend, irecv. *request == nullptr: no slot is free, or nothing was
  // started; NCCL will call again.
  // `mhandle` is what Register gave for memory that this is part of.
  nccl::Result Send(void* memory, size_t bytes, void* mhandle, void** request) {
    return Start(memory, bytes, mhandle, /*watched=*/false, request);
  }
  // `marked`: with kOptionalRecvCompletion.
  nccl::Result Receive(void* memory, size_t bytes, void* mhandle, bool marked,
                       void** request);
  // iflush. *request == nullptr: there is nothing to wait for.
  nccl::Result Flush(void* memory, size_t bytes, void* mhandle, void** request);
  // A key of the endpoint's, in NCCL's handle; null where memory is taken as it
  // is. kInvalidArgument: of a GPU, and no NIC here reaches it.
  nccl::Result Register(const Memory& memory, void** mhandle);
  void Unregister(void* mhandle);
  nccl::Result Test(CommRequest& request, int* done, int* size);

 private:
  nccl::Result Start(void* memory, size_t bytes, void* mhandle, bool watched,
                     void** request);
  nccl::Result Fail(CommRequest& request, Request::Outcome outcome);

  const Devices* const home_;
  std::unique_ptr<FlowEnd> flow_;
  const Direction direction_;
  const Devices::Marks marks_;  // Of receives.
  std::array<CommRequest, RequestQueue::kSlots> requests_, flushes_;
};

class ListenComm {
 public:
  static nccl::Result Listen(const void* context, int dev, void* handle,
                             void** listen_comm);
  ListenComm(std::unique_ptr<Listener> listener, const void* context)
      : home_(&Devices::Get()),
        listener_(std::move(listener)),
        context_(context) {}
  // *recv_comm == nullptr: call again.
  nccl::Result Accept(void** recv_comm);

 private:
  const Devices* const home_;
  std::unique_ptr<Listener> listener_;
  const void* const context_;
};

// *send_comm == nullptr: call again, with the same handle: what is under way
// is noted in it.
nccl::Result Connect(const void* context, int dev, void* handle,
                     void** send_comm);
nccl::Result Close(void* held);  // Any of the above; null is no error.

}  // namespace hawser
