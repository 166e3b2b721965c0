#include "transport/engine/planes.h"

#include <gtest/gtest.h>

namespace hawser {
namespace {

Config OverLoopback(const char* datapath) {
  Config config;
  config.datapath = datapath;
  config.interfaces = "=lo";
  return config;
}

TEST(FindPlanes, UdpIsSockets) {
  const auto planes = FindPlanes(OverLoopback("udp"));
  ASSERT_TRUE(planes.ok()) << planes.status();
  EXPECT_EQ(planes->datapath, "udp");
  EXPECT_EQ(planes->why, "");
  ASSERT_EQ(planes->interfaces.size(), 1u);
  EXPECT_EQ(planes->interfaces[0].name, "lo");
  EXPECT_TRUE(planes->interfaces[0].rdma_device.empty());
}

// No such device exists anywhere: not for want of libibverbs, not for want of
// hardware, and not because it is of software.
TEST(FindPlanes, AutoSaysWhyItIsNotVerbs) {
  Config config = OverLoopback("auto");
  config.verbs_ports = "=no-such-device";
  const auto planes = FindPlanes(config);
  ASSERT_TRUE(planes.ok()) << planes.status();
  EXPECT_EQ(planes->datapath, "udp");
  EXPECT_EQ(planes->why.find("verbs is not used: "), 0u) << planes->why;
}

TEST(FindPlanes, VerbsIsNotReplaced) {
  Config config = OverLoopback("verbs");
  config.verbs_ports = "=no-such-device";
  const auto planes = FindPlanes(config);
  ASSERT_FALSE(planes.ok());
  EXPECT_EQ(planes.status().message().find("HAWSER_DATAPATH=verbs: "), 0u)
      << planes.status();
}

}  // namespace
}  // namespace hawser
