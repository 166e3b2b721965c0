// Topology: which ports there are, where each leads, which way is up.
// Knows: hosts, switches, ports and their rates.  Never: packets, queues, time.
//
// Every network here is a folded Clos with two or three tiers, once per plane:
//
//   2 tiers   hosts - leaves - spines       each leaf has a link to each spine
//   3 tiers   hosts - leaves - aggs - cores each leaf to each agg of its pod;
//                                           agg j of a pod to the cores c with
//                                           c mod aggs == j
//
// Two sites joined by long links are three tiers with two pods and slow light
// between aggs and cores. A rail-optimised network is two tiers in which the
// NICs of one server sit on different leaves. Each plane is a whole network of
// its own at 1 / planes of the rate, which a host joins with one port.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "transport/base/time.h"
#include "transport/sim/fabric/picos.h"

namespace hawser::sim {

struct TopologyOptions {
  int tiers = 2;              // 2 or 3.
  int hosts = 128;            // A NIC each.
  int hosts_per_leaf = 16;    // Divides `hosts`.
  int uplinks_per_leaf = 16;  // Spines (2 tiers), or aggs of a pod (3).
  int leaves_per_pod = 4;     // 3 tiers: divides the leaves.
  int cores = 16;             // 3 tiers: a multiple of the aggs of a pod.
  int planes = 1;             // 1, 2, 4 or 8.
  // NICs of one server, which sit on as many leaves side by side; 1: all of a
  // server's NICs, if it has several, are on one leaf.
  int rails = 1;
  Rate rate = Rate::GigabitsPerSecond(100);     // Of a NIC, all planes.
  Duration link_latency = Duration::Micros(1);  // Of each link...
  Duration core_latency = Duration::Micros(1);  // ...but agg to core.
};

// One output of a node, and the link behind it.
struct PortPlace {
  uint32_t to = 0;  // The node at the other end.
  double picos_per_byte = 0;
  int64_t latency_picos = 0;
  bool to_host = false;
};

class Topology {
 public:
  // InvalidArgument, in words, if there is no such network.
  static absl::Status Check(const TopologyOptions& options);
  explicit Topology(const TopologyOptions& options);  // Checked before.

  // A. What is. Nodes: first the hosts, then leaves, aggs or spines, cores, of
  // plane 0, then those of plane 1, and so on.
  const TopologyOptions& options() const { return options_; }
  uint32_t hosts() const { return static_cast<uint32_t>(options_.hosts); }
  uint32_t planes() const { return static_cast<uint32_t>(options_.planes); }
  const std::vector<PortPlace>& ports() const { return ports_; }
  uint32_t nodes() const { return static_cast<uint32_t>(nodes_.size()); }
  bool is_host(uint32_t node) const { return node < hosts(); }
  // The port by which a host joins a plane.
  uint32_t nic_port(uint32_t host, uint32_t plane) const {
    return host * planes() + plane;
  }
  // The port from `node`, a switch, towards `host`. `hash` chooses among the
  // ways up, where there are several.
  uint32_t Route(uint32_t node, uint32_t host, uint64_t hash) const {
    const Node& at = nodes_[node];
    const uint32_t place = place_[host];
    // Whether the host is below, and by which port, is a matter of division.
    const uint32_t below = place - at.first_below;
    if (below < at.places_below) return at.first_down + below / at.down_places;
    return at.first_up + static_cast<uint32_t>(((hash >> 32) * at.ups) >> 32);
  }
  // How many links there are between two hosts: 2, 4 or 6.
  int Links(uint32_t from, uint32_t to) const;
  // What the links of a round trip take, without any packet's serialisation.
  Picos LightPicos(uint32_t from, uint32_t to) const;
  // Links by what they join, for schedules of faults. Of plane `plane`:
  uint32_t up_port(int leaf, int uplink, int plane) const;      // Leaf to agg.
  uint32_t down_port(int leaf, int uplink, int plane) const;    // And back.
  uint32_t core_up_port(int agg, int uplink, int plane) const;  // Agg to core
  uint32_t core_down_port(int agg, int uplink, int plane) const;  // and back.
  int leaves() const { return options_.hosts / options_.hosts_per_leaf; }
  int pods() const {
    return options_.tiers == 3 ? leaves() / options_.leaves_per_pod : 1;
  }
  int aggs() const { return pods() * options_.uplinks_per_leaf; }  // Or spines.
  int cores_per_agg() const {
    return options_.tiers == 3 ? options_.cores / options_.uplinks_per_leaf : 0;
  }

 private:
  struct Node {
    uint32_t first_below = 0;   // Of the places below...
    uint32_t places_below = 0;  // ...and how many.
    uint32_t first_down = 0, down_places = 1;
    uint32_t first_up = 0, ups = 0;
  };
  uint32_t LeafNode(int leaf, int plane) const;
  uint32_t AggNode(int agg, int plane) const;
  uint32_t CoreNode(int core, int plane) const;
  uint32_t AddPort(uint32_t to, int64_t latency_picos, bool to_host);

  TopologyOptions options_;
  double picos_per_byte_;  // Of one plane.
  std::vector<Node> nodes_;
  std::vector<PortPlace> ports_;
  // Where each host is when hosts are counted leaf by leaf, and who is there.
  std::vector<uint32_t> place_, host_at_;
};

}  // namespace hawser::sim
