// What somebody else's program does first: reads the configuration, and writes
// a packet. Exits 0 if the installed headers and library agree.
#include <array>
#include <cstddef>
#include <cstdio>

#include "transport/engine/config.h"
#include "transport/wire/header.h"

int main() {
  const auto config = hawser::Config::FromEnvironment(
      [](const char*) -> const char* { return nullptr; }, nullptr);
  if (!config.ok()) {
    std::fprintf(stderr, "%s\n", config.status().ToString().c_str());
    return 1;
  }
  std::array<std::byte, hawser::wire::kMaxHeaderBytes> bytes{};
  const size_t length =
      hawser::wire::EncodePacket(hawser::wire::PacketHeader{}, 1, bytes);
  std::printf("%d paths to each peer, a header of %zu bytes\n", config->paths,
              length);
  return length > 0 ? 0 : 1;
}
