#include "transport/sim/fabric/topology.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hawser::sim {
namespace {

using ::testing::HasSubstr;

TopologyOptions FatTree() {
  TopologyOptions options;
  options.tiers = 3;
  options.hosts = 128;
  options.hosts_per_leaf = options.uplinks_per_leaf = options.leaves_per_pod =
      4;
  options.cores = 16;
  return options;
}

// Every way from `from` to `to`, by always taking another hash, leads there.
std::set<uint32_t> Ways(const Topology& topology, uint32_t from, uint32_t to,
                        size_t links) {
  std::set<uint32_t> ways;  // The ports of the second link.
  for (uint64_t hash = 0; hash < 256; ++hash) {
    for (uint32_t plane = 0; plane < topology.planes(); ++plane) {
      uint32_t port = topology.nic_port(from, plane);
      size_t hops = 1;
      for (; topology.ports()[port].to != to && hops <= 6; ++hops) {
        port = topology.Route(topology.ports()[port].to, to, hash << 56);
        if (hops == 1) ways.insert(port);
      }
      EXPECT_EQ(hops, links);
      EXPECT_TRUE(topology.ports()[port].to_host);
    }
  }
  return ways;
}

TEST(Topology, Route__reaches_every_host_of_a_fat_tree) {
  const Topology topology(FatTree());
  for (uint32_t to = 1; to < 128; ++to) {
    const int links = topology.Links(0, to);
    EXPECT_EQ(links, to < 4 ? 2 : to < 16 ? 4 : 6);
    const auto ways = Ways(topology, 0, to, static_cast<size_t>(links));
    EXPECT_EQ(ways.size(), links == 2 ? 1u : 4u);
  }
}

TEST(Topology, Route__planes_are_networks_of_their_own) {
  TopologyOptions options;
  options.planes = 4;
  const Topology topology(options);
  EXPECT_EQ(Ways(topology, 3, 127, 4).size(), 4u * 16);
  EXPECT_DOUBLE_EQ(topology.ports()[0].picos_per_byte, 4 * 80);
}

TEST(Topology, Route__rails_part_the_nics_of_a_server) {
  TopologyOptions options;
  options.hosts_per_leaf = 16;
  options.rails = 8;
  const Topology topology(options);
  EXPECT_EQ(topology.Links(0, 1), 4);  // One server, two rails.
  EXPECT_EQ(topology.Links(0, 8), 2);  // Two servers, one rail.
  for (uint32_t to = 1; to < 128; ++to) {
    Ways(topology, 0, to, static_cast<size_t>(topology.Links(0, to)));
  }
}

TEST(Topology, Links__by_what_they_join) {
  const Topology topology(FatTree());
  const auto& ports = topology.ports();
  for (int leaf = 0; leaf < 32; ++leaf) {
    for (int up = 0; up < 4; ++up) {
      const uint32_t agg = ports[topology.up_port(leaf, up, 0)].to;
      const uint32_t back = topology.down_port(leaf, up, 0);
      // What the agg sends down there arrives at the leaf that sends up to it.
      EXPECT_EQ(ports[topology.up_port(ports[back].to - 128, up, 0)].to, agg);
    }
  }
  EXPECT_EQ(topology.cores_per_agg(), 4);
  EXPECT_EQ(ports[topology.core_up_port(1, 2, 0)].to, 128u + 32 + 32 + 9);
  EXPECT_EQ(ports[topology.core_down_port(1, 2, 0)].to, 128u + 32 + 1);
}

TEST(Topology, LightPicos__long_links_between_two_sites) {
  TopologyOptions options = FatTree();
  options.leaves_per_pod = 16;
  options.core_latency = Duration::Millis(1);
  const Topology topology(options);
  EXPECT_EQ(topology.LightPicos(0, 127), (4 * 1'000 + 2 * 1'000'000) * 2000ll);
  EXPECT_EQ(topology.LightPicos(0, 1), 4'000'000);
}

TEST(Topology, Check__says_what_was_expected) {
  TopologyOptions options = FatTree();
  EXPECT_TRUE(Topology::Check(options).ok());
  options.cores = 15;
  EXPECT_THAT(std::string(Topology::Check(options).message()),
              HasSubstr("expected a multiple of the 4 aggs"));
  options = FatTree();
  options.hosts_per_leaf = 5;
  EXPECT_THAT(std::string(Topology::Check(options).message()),
              HasSubstr("expected a divisor of 128"));
  options = FatTree();
  options.planes = 3;
  EXPECT_FALSE(Topology::Check(options).ok());
  options = FatTree();
  options.rate = Rate::Unlimited();
  EXPECT_FALSE(Topology::Check(options).ok());
}

}  // namespace
}  // namespace hawser::sim
