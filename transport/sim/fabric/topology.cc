#include "transport/sim/fabric/topology.h"

#include <numeric>

#include "absl/strings/str_cat.h"

namespace hawser::sim {
namespace {

constexpr double kPicosPerSecond = 1e12;

}  // namespace

absl::Status Topology::Check(const TopologyOptions& o) {
  const auto refuse = [](auto&&... words) {
    return absl::InvalidArgumentError(absl::StrCat(words...));
  };
  if (o.tiers != 2 && o.tiers != 3) {
    return refuse("tiers is ", o.tiers, "; expected 2 or 3");
  }
  if (o.hosts < 2 || o.hosts > 65'536) {
    return refuse("hosts is ", o.hosts, "; expected 2..65536");
  }
  if (o.hosts_per_leaf < 1 || o.hosts % o.hosts_per_leaf != 0) {
    return refuse("hosts_per_leaf is ", o.hosts_per_leaf,
                  "; expected a divisor of ", o.hosts, " hosts");
  }
  if (o.uplinks_per_leaf < 1 || o.uplinks_per_leaf > 1024) {
    return refuse("uplinks_per_leaf is ", o.uplinks_per_leaf,
                  "; expected 1..1024");
  }
  const int leaves = o.hosts / o.hosts_per_leaf;
  if (o.tiers == 3 &&
      (o.leaves_per_pod < 1 || leaves % o.leaves_per_pod != 0)) {
    return refuse("leaves_per_pod is ", o.leaves_per_pod,
                  "; expected a divisor of ", leaves, " leaves");
  }
  if (o.tiers == 3 && (o.cores < 1 || o.cores % o.uplinks_per_leaf != 0)) {
    return refuse("cores is ", o.cores, "; expected a multiple of the ",
                  o.uplinks_per_leaf, " aggs of a pod");
  }
  if (o.planes != 1 && o.planes != 2 && o.planes != 4 && o.planes != 8) {
    return refuse("planes is ", o.planes, "; expected 1, 2, 4 or 8");
  }
  if (o.rails < 1 || leaves % o.rails != 0 ||
      (o.rails > 1 && o.hosts % (o.hosts_per_leaf * o.rails) != 0)) {
    return refuse("rails is ", o.rails, "; expected a divisor of ", leaves,
                  " leaves");
  }
  if (o.rate.bits_per_second() < 1'000'000'000 ||
      o.rate.bits_per_second() > 1'600'000'000'000) {
    return refuse("rate is ", o.rate.bits_per_second(),
                  " bits/s; expected 1..1600 Gbps");
  }
  for (const Duration latency : {o.link_latency, o.core_latency}) {
    if (latency < Duration::Nanos(1) || latency > Duration::Seconds(1)) {
      return refuse("a latency is ", latency.nanos(),
                    " ns; expected 1 ns..1 s");
    }
  }
  return absl::OkStatus();
}

Topology::Topology(const TopologyOptions& options)
    : options_(options),
      picos_per_byte_(8 * kPicosPerSecond * options.planes /
                      static_cast<double>(options.rate.bits_per_second())) {
  const int ups = options_.uplinks_per_leaf;
  const int planes = options_.planes;
  const auto per_leaf = static_cast<uint32_t>(options_.hosts_per_leaf);
  const Picos near = PicosOf(options_.link_latency);
  const Picos far = PicosOf(options_.core_latency);
  place_.resize(hosts());
  host_at_.resize(hosts());
  const auto rails = static_cast<uint32_t>(options_.rails);
  for (uint32_t host = 0; host < hosts(); ++host) {
    const uint32_t server = host / rails, rail = host % rails;
    const uint32_t leaf = server / per_leaf * rails + rail;
    place_[host] = rails == 1 ? host : leaf * per_leaf + server % per_leaf;
    host_at_[place_[host]] = host;
  }
  const int cores = options_.tiers == 3 ? options_.cores : 0;
  nodes_.resize(hosts() + static_cast<size_t>(planes) *
                              static_cast<size_t>(leaves() + aggs() + cores));
  for (uint32_t host = 0; host < hosts(); ++host) {
    for (int plane = 0; plane < planes; ++plane) {
      const int leaf = static_cast<int>(place_[host] / per_leaf);
      AddPort(LeafNode(leaf, plane), near, false);
    }
  }
  const int aggs_per_pod = ups;
  const int leaves_per_pod =
      options_.tiers == 3 ? options_.leaves_per_pod : leaves();
  for (int plane = 0; plane < planes; ++plane) {
    for (int leaf = 0; leaf < leaves(); ++leaf) {
      Node& node = nodes_[LeafNode(leaf, plane)];
      node.first_below = static_cast<uint32_t>(leaf) * per_leaf;
      node.places_below = per_leaf;
      node.first_down = static_cast<uint32_t>(ports_.size());
      for (uint32_t i = 0; i < per_leaf; ++i) {
        AddPort(host_at_[node.first_below + i], near, true);
      }
      node.first_up = static_cast<uint32_t>(ports_.size());
      node.ups = static_cast<uint32_t>(ups);
      const int pod = leaf / leaves_per_pod;
      for (int i = 0; i < ups; ++i) {
        AddPort(AggNode(pod * aggs_per_pod + i, plane), near, false);
      }
    }
    for (int agg = 0; agg < aggs(); ++agg) {
      Node& node = nodes_[AggNode(agg, plane)];
      const int pod = agg / aggs_per_pod;
      const auto pod_places = static_cast<uint32_t>(leaves_per_pod) * per_leaf;
      node.first_below = static_cast<uint32_t>(pod) * pod_places;
      node.places_below = pod_places;
      node.first_down = static_cast<uint32_t>(ports_.size());
      node.down_places = per_leaf;
      for (int i = 0; i < leaves_per_pod; ++i) {
        AddPort(LeafNode(pod * leaves_per_pod + i, plane), near, false);
      }
      node.first_up = static_cast<uint32_t>(ports_.size());
      node.ups = static_cast<uint32_t>(cores_per_agg());
      for (int i = 0; i < cores_per_agg(); ++i) {
        AddPort(CoreNode(i * aggs_per_pod + agg % aggs_per_pod, plane), far,
                false);
      }
    }
    for (int core = 0; core < cores; ++core) {
      Node& node = nodes_[CoreNode(core, plane)];
      node.places_below = hosts();
      node.first_down = static_cast<uint32_t>(ports_.size());
      node.down_places = static_cast<uint32_t>(leaves_per_pod) * per_leaf;
      for (int pod = 0; pod < pods(); ++pod) {
        AddPort(AggNode(pod * aggs_per_pod + core % aggs_per_pod, plane), far,
                false);
      }
    }
  }
}

int Topology::Links(uint32_t from, uint32_t to) const {
  const auto per_leaf = static_cast<uint32_t>(options_.hosts_per_leaf);
  const uint32_t a = place_[from] / per_leaf, b = place_[to] / per_leaf;
  if (a == b) return 2;
  if (options_.tiers == 2) return 4;
  const auto per_pod = static_cast<uint32_t>(options_.leaves_per_pod);
  return a / per_pod == b / per_pod ? 4 : 6;
}

Picos Topology::LightPicos(uint32_t from, uint32_t to) const {
  const int links = Links(from, to);
  const Picos near = PicosOf(options_.link_latency);
  if (links < 6) return 2 * links * near;
  return 2 * (4 * near + 2 * PicosOf(options_.core_latency));
}

uint32_t Topology::LeafNode(int leaf, int plane) const {
  const int cores = options_.tiers == 3 ? options_.cores : 0;
  return hosts() +
         static_cast<uint32_t>(plane * (leaves() + aggs() + cores) + leaf);
}

uint32_t Topology::AggNode(int agg, int plane) const {
  return LeafNode(leaves() + agg, plane);
}

uint32_t Topology::CoreNode(int core, int plane) const {
  return LeafNode(leaves() + aggs() + core, plane);
}

uint32_t Topology::AddPort(uint32_t to, int64_t latency_picos, bool to_host) {
  ports_.push_back({to, picos_per_byte_, latency_picos, to_host});
  return static_cast<uint32_t>(ports_.size() - 1);
}

uint32_t Topology::up_port(int leaf, int uplink, int plane) const {
  return nodes_[LeafNode(leaf, plane)].first_up + static_cast<uint32_t>(uplink);
}

uint32_t Topology::down_port(int leaf, int uplink, int plane) const {
  const int per_pod = options_.tiers == 3 ? options_.leaves_per_pod : leaves();
  const int agg = leaf / per_pod * options_.uplinks_per_leaf + uplink;
  return nodes_[AggNode(agg, plane)].first_down +
         static_cast<uint32_t>(leaf % per_pod);
}

uint32_t Topology::core_up_port(int agg, int uplink, int plane) const {
  return nodes_[AggNode(agg, plane)].first_up + static_cast<uint32_t>(uplink);
}

uint32_t Topology::core_down_port(int agg, int uplink, int plane) const {
  const int core =
      uplink * options_.uplinks_per_leaf + agg % options_.uplinks_per_leaf;
  return nodes_[CoreNode(core, plane)].first_down +
         static_cast<uint32_t>(agg / options_.uplinks_per_leaf);
}

}  // namespace hawser::sim
