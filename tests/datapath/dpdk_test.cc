// What can be said of DPDK without a port of its own; tests/dpdk has the rest.
#include "transport/datapath/dpdk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hawser {
namespace {

using ::testing::HasSubstr;

TEST(ParseDpdkPorts, NameAndAddressAreEnough) {
  const auto ports = ParseDpdkPorts("net_memif0 192.0.2.1/24");
  ASSERT_TRUE(ports.ok()) << ports.status();
  ASSERT_EQ(ports->size(), 1u);
  const DpdkPort& port = ports->front();
  EXPECT_EQ(port.name, "net_memif0");
  EXPECT_EQ(ToString(port.address.address), "192.0.2.1");
  EXPECT_EQ(port.address.bits, 24);
  EXPECT_FALSE(port.gateway);
  EXPECT_EQ(port.vlan, 0);
  EXPECT_EQ(port.mtu, 0u);
  EXPECT_TRUE(port.neighbours.empty());
}

TEST(ParseDpdkPorts, EveryWordThereIs) {
  const auto ports = ParseDpdkPorts(
      " 0000:3b:00.0 192.0.2.1/24 via 192.0.2.254 vlan 100 mtu 9000 "
      "neighbour 192.0.2.2=02:00:00:00:00:02 "
      "neighbour 192.0.2.3=02:00:00:00:00:03 ;"
      "0000:3b:00.1 2001:db8::1/64;");
  ASSERT_TRUE(ports.ok()) << ports.status();
  ASSERT_EQ(ports->size(), 2u);
  const DpdkPort& port = ports->front();
  EXPECT_EQ(port.name, "0000:3b:00.0");
  EXPECT_EQ(ToString(*port.gateway), "192.0.2.254");
  EXPECT_EQ(port.vlan, 100);
  EXPECT_EQ(port.mtu, 9000u);
  ASSERT_EQ(port.neighbours.size(), 2u);
  EXPECT_EQ(ToString(port.neighbours[1].first), "192.0.2.3");
  EXPECT_EQ(ToString(port.neighbours[1].second), "02:00:00:00:00:03");
  EXPECT_EQ((*ports)[1].name, "0000:3b:00.1");
  EXPECT_FALSE((*ports)[1].address.address.is_v4());
}

TEST(ParseDpdkPorts, WhatIsWrongIsSaid) {
  const struct {
    const char *text, *expected;
  } wrong[] = {
      {"", "names no port"},
      {" ; ", "names no port"},
      {"net_memif0", "NAME ADDRESS/PREFIX"},
      {"net_memif0 192.0.2.1", "NAME ADDRESS/PREFIX"},
      {"net_memif0 224.0.0.1/24", "NAME ADDRESS/PREFIX"},
      {"net_memif0 192.0.2.1/24 via 198.51.100.1", "on the port's own link"},
      {"net_memif0 192.0.2.1/24 via", "via ADDRESS"},
      {"net_memif0 192.0.2.1/24 vlan 0", "vlan 1..4094"},
      {"net_memif0 192.0.2.1/24 vlan 4095", "vlan 1..4094"},
      {"net_memif0 192.0.2.1/24 mtu 68", "mtu 576..65535"},
      {"net_memif0 192.0.2.1/24 mtu jumbo", "mtu 576..65535"},
      {"net_memif0 192.0.2.1/24 neighbour 192.0.2.2", "ADDRESS=MAC"},
      {"net_memif0 192.0.2.1/24 neighbour 2001:db8::2=02:00:00:00:00:02",
       "ADDRESS=MAC"},
      {"net_memif0 192.0.2.1/24 gateway 192.0.2.254", "\"gateway\""},
      {"net_memif0 192.0.2.1/24; net_memif0 192.0.2.2/24", "each port once"},
  };
  for (const auto& [text, expected] : wrong) {
    const auto ports = ParseDpdkPorts(text);
    ASSERT_FALSE(ports.ok()) << text;
    EXPECT_EQ(ports.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(ports.status().message()), HasSubstr(expected));
    EXPECT_THAT(std::string(ports.status().message()),
                HasSubstr("HAWSER_DPDK_PORTS"));
  }
}

// Once per process, so this is all that this one can ask of it.
TEST(DpdkLibrary, WhatIsMissingIsSaid) {
  const auto library = DpdkLibrary::Load("--no-pci --mem-from-nowhere");
  ASSERT_FALSE(library.ok());
  const std::string said(library.status().message());
  if (library.status().code() == absl::StatusCode::kNotFound) {
    EXPECT_THAT(said, HasSubstr("hawser-dpdk"));
    EXPECT_THAT(said, HasSubstr("apt-get install libdpdk-dev"));
  } else {
    EXPECT_THAT(said, HasSubstr("--mem-from-nowhere"));
  }
}

}  // namespace
}  // namespace hawser
