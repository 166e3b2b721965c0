// Two planes over two ports of DPDK's in one process, whose names the
// environment gives: tests/dpdk/run.sh.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "transport/datapath/dpdk.h"

namespace hawser {

inline bool WaitReadable(int fd, Duration limit) {
  pollfd one = {fd, POLLIN, 0};
  int ready;
  do {
    ready = poll(&one, 1, static_cast<int>(limit.millis()));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

inline std::string Setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// How many engines share a port.
inline uint16_t PortQueues() {
  const std::string text = Setting("HAWSER_TEST_DPDK_QUEUES");
  return static_cast<uint16_t>(text.empty() ? 1 : std::atoi(text.c_str()));
}

inline DpdkOptions OptionsOf(const DpdkPort& port, uint16_t entropies) {
  DpdkOptions options;
  options.port = port;
  options.entropies = entropies;
  options.max_packet_bytes = 65536;
  options.queues = PortQueues();
  return options;
}

// One for each engine of the first port, and then of the second. Empty where
// there are no ports; fails where they do not work.
inline std::vector<std::unique_ptr<Datapath>> OpenPlanes(uint16_t entropies) {
  std::vector<std::unique_ptr<Datapath>> planes;
  const std::string text = Setting("HAWSER_TEST_DPDK_PORTS");
  if (text.empty()) return planes;
  const auto ports = ParseDpdkPorts(text);
  EXPECT_TRUE(ports.ok()) << ports.status();
  const auto library = DpdkLibrary::Load(Setting("HAWSER_TEST_DPDK_EAL"));
  EXPECT_TRUE(library.ok()) << library.status();
  if (!ports.ok() || !library.ok()) return planes;
  for (const DpdkPort& port : *ports) {
    const DpdkOptions options = OptionsOf(port, entropies);
    for (uint16_t queue = 0; queue < options.queues; ++queue) {
      auto plane = (*library)->Open(options);
      EXPECT_TRUE(plane.ok()) << plane.status();
      if (!plane.ok()) return {};
      planes.push_back(*std::move(plane));
    }
  }
  return planes;
}

}  // namespace hawser
