// What two endpoints tell each other before the first packet.
// Knows: byte layouts.  Never: sockets, retries, who listens.
//
// It travels over a reliable byte stream: Hello one way, Welcome or Refusal
// back, each in a frame of its own: magic (4 bytes), version (2), kind (2),
// body length (4), check of the body (4), body. docs/wire.md draws them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/ids.h"
#include "transport/base/plane_address.h"

namespace hawser::wire {

inline constexpr uint32_t kHandshakeMagic = 0x53574148;  // "HAWS"
// Of the handshake, and of the packets behind it.
inline constexpr uint16_t kHandshakeVersion = 5;
inline constexpr size_t kFrameHeaderBytes = 16;
inline constexpr size_t kMaxFrameBytes = 2048;  // With its header.
inline constexpr size_t kMaxPlanes = 16;        // Of one endpoint.
inline constexpr size_t kMaxReasonBytes = 256;

// One life of one endpoint: drawn at random when it is created.
struct EndpointIdentity {
  uint64_t id = 0;      // Tells endpoints apart; told to anybody.
  uint64_t secret = 0;  // Half of the packet key; told in the handshake only.
  friend bool operator==(const EndpointIdentity&,
                         const EndpointIdentity&) = default;
};

// What one side says of itself. Hello and Welcome both are this.
struct Introduction {
  uint64_t listener_nonce = 0;  // Hello: proves that the handle was received.
  EndpointIdentity identity;
  std::string datapath;  // "udp"; both sides must speak the same. 1..16 chars.
  uint16_t engine = 0;   // Which of the speaker's engines...
  PeerId peer;           // ...knows the listener under this index,
  FlowId flow;           // ...and the new flow under this one.
  uint16_t paths = 0;    // 1..kMaxPaths, wanted by the speaker.
  std::vector<PlaneAddress> planes;  // 1..kMaxPlanes
  std::string host;                  // For humans: "hostname:pid". 0..64 chars.
  friend bool operator==(const Introduction&, const Introduction&) = default;
};

enum class FrameKind : uint16_t { kHello = 1, kWelcome = 2, kRefusal = 3 };

struct FrameHeader {
  uint16_t version = 0;
  FrameKind kind = FrameKind::kHello;
  uint32_t body_bytes = 0;
  uint32_t body_check = 0;
};

// A whole frame. `reason` is cut at kMaxReasonBytes, `host` at 64 chars; what
// is not printable ASCII leaves as '?', and is malformed where it arrives.
std::vector<std::byte> EncodeIntroduction(FrameKind kind,
                                          const Introduction& introduction);
std::vector<std::byte> EncodeRefusal(std::string_view reason);

// nullopt: these 16 bytes do not begin a frame of any Hawser, or a longer one
// than kMaxFrameBytes. The version is reported, not judged, so that a newer
// peer can be refused with a reason it can read: a frame header and a Refusal
// look the same in every version.
std::optional<FrameHeader> DecodeFrameHeader(std::span<const std::byte> in);
// nullopt: malformed, out of range, or the check fails.
std::optional<Introduction> DecodeIntroduction(const FrameHeader& header,
                                               std::span<const std::byte> body);
std::optional<std::string> DecodeRefusal(const FrameHeader& header,
                                         std::span<const std::byte> body);

}  // namespace hawser::wire
