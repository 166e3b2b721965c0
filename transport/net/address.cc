#include "transport/net/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace hawser {
namespace {

std::optional<unsigned> ParseNumber(std::string_view text, int base,
                                    unsigned most) {
  unsigned number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number, base);
  if (error != std::errc() || stopped != end || number > most) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

bool IpAddress::is_unicast() const {
  if (length == 4) {  // 0/8, 127/8 and all from 224/4 up are none.
    return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224;
  }
  if (length != 16 || bytes[0] == 0xff) return false;
  // ::/96 holds nobody, this host, and what was meant for IPv4 once.
  return std::any_of(bytes.begin(), bytes.begin() + 12,
                     [](uint8_t byte) { return byte != 0; });
}

bool IpPrefix::Contains(const IpAddress& other) const {
  if (other.length != address.length) return false;
  for (unsigned bit = 0; bit < bits; bit += 8) {
    const unsigned left = bits - bit;
    const unsigned mask = left >= 8 ? 0xff : 0xff00 >> left & 0xff;
    if (((address.bytes[bit / 8] ^ other.bytes[bit / 8]) & mask) != 0) {
      return false;
    }
  }
  return true;
}

std::optional<MacAddress> ParseMac(std::string_view text) {
  MacAddress mac;
  if (text.size() != 17) return std::nullopt;
  for (size_t i = 0; i < 6; ++i) {
    if (i > 0 && text[3 * i - 1] != ':') return std::nullopt;
    const auto byte = ParseNumber(text.substr(3 * i, 2), 16, 0xff);
    if (!byte) return std::nullopt;
    mac.bytes[i] = static_cast<uint8_t>(*byte);
  }
  return mac;
}

std::optional<IpAddress> ParseIp(std::string_view text) {
  IpAddress ip;
  char whole[INET6_ADDRSTRLEN] = {};
  if (text.size() >= sizeof whole) return std::nullopt;
  std::copy(text.begin(), text.end(), whole);
  if (inet_pton(AF_INET, whole, ip.bytes.data()) == 1) {
    ip.length = 4;
  } else if (inet_pton(AF_INET6, whole, ip.bytes.data()) == 1) {
    ip.length = 16;
  } else {
    return std::nullopt;
  }
  return ip;
}

std::optional<IpPrefix> ParsePrefix(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto ip = ParseIp(text.substr(0, slash));
  if (!ip) return std::nullopt;
  const auto bits = ParseNumber(text.substr(slash + 1), 10, 8u * ip->length);
  if (!bits) return std::nullopt;
  return IpPrefix{*ip, static_cast<uint8_t>(*bits)};
}

std::string ToString(const MacAddress& mac) {
  char text[18];
  const auto& b = mac.bytes;
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1],
                b[2], b[3], b[4], b[5]);
  return text;
}

std::string ToString(const IpAddress& ip) {
  char text[INET6_ADDRSTRLEN] = "";
  if (ip.length != 0) {
    inet_ntop(ip.is_v4() ? AF_INET : AF_INET6, ip.bytes.data(), text,
              sizeof text);
  }
  return text;
}

}  // namespace hawser
