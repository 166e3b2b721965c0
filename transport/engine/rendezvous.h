// How two endpoints find each other: a handshake over a TCP connection that is
// gone when it is over.
// Knows: non-blocking sockets, frames, patience.  Never: packets, paths.
//
// The listener's handle travels by the application's own means. Connector and
// Listener are asked again and again until they have an answer; neither ever
// waits. Hello goes one way, Welcome or Refusal the other; then the connector
// closes, and that end of file, with all of the Welcome acknowledged, is what
// tells the listener that it was read. A connection that has not said its
// Hello after HAWSER_HANDSHAKE_TIMEOUT_MS holds nothing any more. An endpoint
// has a door at each of its interfaces for all of its listeners (reception.h),
// and the connector knocks at one after the other.
//
// Threads: each Listener and each Connector is used by one thread at a time;
// different ones, also of one endpoint, by any threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/base/time.h"
#include "transport/engine/endpoint.h"

namespace hawser {

// What a connector must be given. Plain bytes.
inline constexpr size_t kListenHandleBytes = 112;
using ListenHandle = std::array<std::byte, kListenHandleBytes>;

class HandshakeStream;
class Reception;

class Listener {
 public:
  // Listens at the endpoint's doors, as many of them as a handle has room
  // for. The endpoint outlives the listener. ResourceExhausted if there is none
  // at which it could.
  static absl::StatusOr<std::unique_ptr<Listener>> Create(Endpoint& endpoint);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const ListenHandle& handle() const { return handle_; }
  // The receiving end of the next flow, or null: call again. Strangers are
  // refused and are no error. Any number of flows may be accepted.
  // ResourceExhausted: the system lacks what a connection needs, such as
  // descriptors; calling again may help.
  absl::StatusOr<std::unique_ptr<FlowEnd>> Accept();

 private:
  Listener(Reception& reception, uint64_t nonce)
      : reception_(reception), nonce_(nonce) {}

  Reception& reception_;
  const uint64_t nonce_;
  ListenHandle handle_ = {};
};

class Connector {
 public:
  // InvalidArgument if the handle was not made by a Listener;
  // FailedPrecondition if by one of another version, or of a peer that was lost
  // before; ResourceExhausted if no socket, or no flow more, can be had;
  // Unavailable if nothing leads to its address.
  static absl::StatusOr<std::unique_ptr<Connector>> Create(
      Endpoint& endpoint, std::span<const std::byte> handle);
  ~Connector();

  // The sending end of the flow, or null: call again. Unavailable: the
  // listener cannot be reached, went away, or is not what the handle speaks of;
  // or no plane here reaches its endpoint. ResourceExhausted: no socket can be
  // had for its next address. FailedPrecondition: it refused; the message has
  // its reason. After an error or a flow, do not call again.
  absl::StatusOr<std::unique_ptr<FlowEnd>> Connect();

 private:
  explicit Connector(Endpoint& endpoint);
  // At the listener's next address, if there is one: a NIC may be dark.
  absl::Status Knock();
  void OnNoAnswer(int error);

  Endpoint& endpoint_;
  std::vector<sockaddr_storage> doors_;  // The listener's addresses.
  size_t tried_ = 0;                     // Of those.
  std::string failures_;                 // What became of them.
  std::string where_;                    // The last of them.
  Time deadline_;  // For the TCP connection alone: the listener takes its time.
  wire::EndpointIdentity listener_;
  std::unique_ptr<HandshakeStream> stream_;
  Endpoint::Draft draft_;
  bool greeted_ = false;
};

}  // namespace hawser
