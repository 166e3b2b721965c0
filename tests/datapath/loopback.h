// What tests of UdpDatapath share: loopback addresses, and waiting.
// Knows: sockets.  Never: the network outside.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include <cerrno>

#include "transport/base/time.h"
#include "transport/datapath/udp.h"

namespace hawser {

// "127.0.0.1" or "::1" as options take it.
inline UdpOptions LoopbackOptions(const char* host) {
  UdpOptions options;
  auto& in = reinterpret_cast<sockaddr_in&>(options.local);
  auto& in6 = reinterpret_cast<sockaddr_in6&>(options.local);
  if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
    in.sin_family = AF_INET;
  } else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
    in6.sin6_family = AF_INET6;
  }
  return options;
}

inline bool WaitReadable(int fd, Duration limit) {
  pollfd one = {fd, POLLIN, 0};
  int ready;
  do {
    ready = poll(&one, 1, static_cast<int>(limit.millis()));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

}  // namespace hawser
