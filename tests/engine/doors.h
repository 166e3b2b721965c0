// What tests of handshakes look at from outside.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <cstring>

#include "transport/engine/rendezvous.h"

namespace hawser {

// Of the first door, as docs/wire.md draws it.
inline uint16_t PortOf(const ListenHandle& handle) {
  uint16_t port;
  std::memcpy(&port, handle.data() + 34, sizeof port);
  return port;
}

// Of this process.
inline int OpenDescriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

}  // namespace hawser
