// PlaneAddress: where one plane can be reached, in its datapath's own words.
// Knows: opaque bytes and a packet size.  Never: what the bytes mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hawser {

struct PlaneAddress {
  // Below the least no engine can work; no datagram is above the most.
  static constexpr uint32_t kLeastPacketBytes = 256;
  static constexpr uint32_t kMostPacketBytes = 65536;

  uint8_t length = 0;  // 0..32
  std::array<std::byte, 32> bytes = {};
  // The largest packet, header and payload, that the plane's own link carries
  // whole. kLeastPacketBytes..kMostPacketBytes.
  uint32_t max_packet_bytes = 0;
  friend bool operator==(const PlaneAddress&, const PlaneAddress&) = default;
};

}  // namespace hawser
