// Where a frame goes: Ethernet and IP addresses, as bytes and as text.
// Knows: their text forms.  Never: frames, sockets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hawser {

struct MacAddress {
  std::array<uint8_t, 6> bytes = {};
  bool is_group() const { return (bytes[0] & 1) != 0; }  // IEEE 802, 8.2.2.
  friend bool operator==(const MacAddress&, const MacAddress&) = default;
};
inline constexpr MacAddress kBroadcastMac = {
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

struct IpAddress {
  uint8_t length = 0;                  // 4, 16; or 0: none.
  std::array<uint8_t, 16> bytes = {};  // In network order; the rest is 0.
  bool is_v4() const { return length == 4; }
  // One host, and not a group of them, nobody, or this host itself.
  bool is_unicast() const;
  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};

// An address, and how many of its leading bits all on its link share.
struct IpPrefix {
  IpAddress address;
  uint8_t bits = 0;
  bool Contains(const IpAddress& other) const;
};

// "02:00:00:00:00:01"; "192.0.2.1", "2001:db8::1"; "192.0.2.1/24". nullopt:
// it is none.
std::optional<MacAddress> ParseMac(std::string_view text);
std::optional<IpAddress> ParseIp(std::string_view text);
std::optional<IpPrefix> ParsePrefix(std::string_view text);
std::string ToString(const MacAddress& mac);
std::string ToString(const IpAddress& ip);

}  // namespace hawser
