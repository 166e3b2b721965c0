#include "transport/sim/fabric/experiment.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace hawser::sim {
namespace {

constexpr uint32_t kPacketBytes = 4150;  // Full, on the wire...
constexpr uint32_t kHeaderBytes = 64;    // ...of which header; and an ack.

double MicrosPerByte(const TopologyOptions& topology) {
  return 8e6 / static_cast<double>(topology.rate.bits_per_second());
}

// With nothing in the queues, over the longest way there is.
double BaseRttMicros(const Topology& topology) {
  const TopologyOptions& options = topology.options();
  const int links = options.tiers == 3 ? 6 : 4;
  const double light =
      static_cast<double>(topology.LightPicos(0, topology.hosts() - 1)) / 1e6;
  return light + links * (kPacketBytes + kHeaderBytes) *
                     MicrosPerByte(options) * options.planes;
}

double WireBytes(uint64_t bytes) {
  const uint64_t payload = kPacketBytes - kHeaderBytes;
  return static_cast<double>(bytes +
                             (bytes + payload - 1) / payload * kHeaderBytes);
}

Workload MakeWorkload(const Scenario& scenario) {
  Workload workload;
  const auto hosts = static_cast<uint32_t>(scenario.topology.hosts);
  for (const WorkloadPart& part : scenario.workload) {
    const size_t before = workload.messages.size();
    const auto groups = static_cast<uint32_t>(part.groups);
    if (part.kind == "one") {
      workload.Add(0, hosts - 1, part.bytes);
    } else if (part.kind == "permutation") {
      AddPermutation(workload, hosts, part.bytes, part.seed);
    } else if (part.kind == "shift") {
      AddShift(workload, hosts,
               part.by > 0 ? static_cast<uint32_t>(part.by) : hosts / 2,
               part.bytes);
    } else if (part.kind == "incast") {
      AddIncast(workload, hosts, static_cast<uint32_t>(part.senders),
                part.bytes);
    } else if (part.kind == "all_to_all") {
      AddAllToAll(workload, hosts, groups, static_cast<uint32_t>(part.window),
                  part.bytes);
    } else if (part.kind == "rings") {
      AddRings(workload, hosts, groups, part.bytes);
    } else {
      AddButterfly(workload, hosts, part.bytes,
                   part.kind == "halving_doubling");
    }
    if (part.share < 1) {
      Random random(part.seed);
      std::vector<MessagePlan> kept;
      for (size_t m = before; m < workload.messages.size(); ++m) {
        if (random.Chance(part.share)) kept.push_back(workload.messages[m]);
      }
      workload.messages.resize(before);
      workload.messages.insert(workload.messages.end(), kept.begin(),
                               kept.end());
    }
    for (size_t m = before; m < workload.messages.size(); ++m) {
      workload.messages[m].background = part.background;
      workload.messages[m].victim = part.victim;
    }
  }
  // Whoever takes part in what is done to the victims is none.
  std::vector<bool> sends(hosts), receives(hosts);
  for (const MessagePlan& message : workload.messages) {
    if (message.victim) continue;
    sends[message.from] = receives[message.to] = true;
  }
  for (MessagePlan& message : workload.messages) {
    message.victim &= !sends[message.from] && !receives[message.to];
  }
  return workload;
}

// Every port that a fault strikes.
std::vector<uint32_t> PortsOf(const LinkFault& fault,
                              const Topology& topology) {
  std::vector<uint32_t> ports;
  const bool core = fault.kind.starts_with("core");
  const int places = core ? topology.aggs() : topology.leaves();
  const int uplinks =
      core ? topology.cores_per_agg() : topology.options().uplinks_per_leaf;
  for (int at = 0; at < places; ++at) {
    if (fault.at >= 0 && at != fault.at) continue;
    for (int uplink = 0; uplink < uplinks; ++uplink) {
      if (fault.uplink >= 0 && uplink != fault.uplink) continue;
      for (int plane = 0; plane < topology.options().planes; ++plane) {
        if (fault.plane >= 0 && plane != fault.plane) continue;
        ports.push_back(fault.kind == "up" ? topology.up_port(at, uplink, plane)
                        : fault.kind == "down"
                            ? topology.down_port(at, uplink, plane)
                        : fault.kind == "core_up"
                            ? topology.core_up_port(at, uplink, plane)
                            : topology.core_down_port(at, uplink, plane));
      }
    }
  }
  return ports;
}

// How many times longer it takes where a leaf's, or a pod's, uplinks carry less
// than its hosts: of the worst of them, in the worse direction.
double Narrowness(const Scenario& scenario, const Topology& topology,
                  bool with_faults) {
  const TopologyOptions& options = scenario.topology;
  std::vector<double> share(topology.ports().size(), 1.0);
  for (const LinkFault& fault : scenario.links) {
    if (!with_faults || fault.from > Duration()) continue;
    for (const uint32_t port : PortsOf(fault, topology)) {
      share[port] = fault.share;
    }
  }
  double narrowest = 1;
  const auto judge = [&](double hosts, double up, double down) {
    narrowest = std::max(narrowest, hosts / std::max(std::min(up, down), 1e-9));
  };
  const auto sum = [&](int from, int to, int uplinks, auto port_of) {
    double links = 0;
    for (int at = from; at < to; ++at) {
      for (int uplink = 0; uplink < uplinks; ++uplink) {
        for (int plane = 0; plane < options.planes; ++plane) {
          links += share[port_of(at, uplink, plane)] / options.planes;
        }
      }
    }
    return links;
  };
  for (int leaf = 0; leaf < topology.leaves(); ++leaf) {
    judge(
        options.hosts_per_leaf,
        sum(leaf, leaf + 1, options.uplinks_per_leaf,
            [&](int a, int u, int p) { return topology.up_port(a, u, p); }),
        sum(leaf, leaf + 1, options.uplinks_per_leaf,
            [&](int a, int u, int p) { return topology.down_port(a, u, p); }));
  }
  if (options.tiers == 2) return narrowest;
  const int aggs = options.uplinks_per_leaf;
  for (int pod = 0; pod < topology.pods(); ++pod) {
    judge(options.hosts_per_leaf * options.leaves_per_pod,
          sum(pod * aggs, (pod + 1) * aggs, topology.cores_per_agg(),
              [&](int a, int u, int p) {
                return topology.core_up_port(a, u, p);
              }),
          sum(pod * aggs, (pod + 1) * aggs, topology.cores_per_agg(),
              [&](int a, int u, int p) {
                return topology.core_down_port(a, u, p);
              }));
  }
  return narrowest;
}

}  // namespace

double IdealMicros(const Scenario& scenario, const Topology& topology,
                   const Workload& workload, bool with_faults) {
  const double per_byte = MicrosPerByte(scenario.topology);
  const double per_plane_byte = per_byte * scenario.topology.planes;
  const double narrowness = Narrowness(scenario, topology, with_faults);
  // All but the serialisation of the message itself.
  const auto rest = [&](const MessagePlan& message) {
    const int links = topology.Links(message.from, message.to);
    return (links - 1) * kPacketBytes * per_plane_byte +
           static_cast<double>(topology.LightPicos(message.from, message.to)) /
               1e6 +
           links * kHeaderBytes * per_plane_byte;
  };
  const auto& messages = workload.messages;
  std::vector<double> done(messages.size(), 0), in(topology.hosts(), 0),
      out(topology.hosts(), 0);
  std::vector<uint32_t> waits(messages.size());
  std::vector<uint32_t> ready;
  double longest = 0, latest_rest = 0;
  for (uint32_t m = 0; m < messages.size(); ++m) {
    waits[m] = messages[m].waits_for;
    if (waits[m] == 0) ready.push_back(m);
    if (messages[m].background) continue;
    in[messages[m].to] += WireBytes(messages[m].bytes);
    out[messages[m].from] += WireBytes(messages[m].bytes);
    latest_rest = std::max(latest_rest, rest(messages[m]));
  }
  while (!ready.empty()) {
    const uint32_t m = ready.back();
    ready.pop_back();
    done[m] += WireBytes(messages[m].bytes) * per_byte * narrowness +
               rest(messages[m]);
    if (!messages[m].background) longest = std::max(longest, done[m]);
    for (const uint32_t next : messages[m].followers) {
      done[next] = std::max(done[next], done[m]);
      if (--waits[next] == 0) ready.push_back(next);
    }
  }
  const double busiest = std::max(*std::max_element(in.begin(), in.end()),
                                  *std::max_element(out.begin(), out.end()));
  return std::max(longest, busiest * per_byte * narrowness + latest_rest);
}

Experiment::Experiment(const Scenario& scenario, uint64_t seed)
    : scenario_(scenario),
      seed_(seed),
      workload_(MakeWorkload(scenario)),
      topology_(scenario.topology) {
  const double rtt_us = BaseRttMicros(topology_);
  const double bdp = rtt_us / MicrosPerByte(scenario.topology);
  const double plane_bdp = bdp / scenario.topology.planes;
  const auto depth = [&](const QueueDepth& queue) {
    if (queue.bdps == 0) return queue.bytes;
    // What more would hold nobody can fill.
    constexpr uint32_t kMostPackets = UINT32_MAX / kPacketBytes;
    return static_cast<uint32_t>(std::min<double>(
               std::ceil(queue.bdps * plane_bdp / kPacketBytes),
               kMostPackets)) *
           kPacketBytes;
  };
  facts_ = {kPacketBytes, Duration::Nanos(static_cast<int64_t>(rtt_us * 1000)),
            static_cast<uint32_t>(bdp), scenario.trimming};
  FabricOptions options;
  options.packet_bytes = kPacketBytes;
  options.control_bytes = kHeaderBytes;
  options.queue_bytes = depth(scenario.limit);
  options.kmin_bytes = depth(scenario.kmin);
  options.kmax_bytes = depth(scenario.kmax);
  options.trimming = scenario.trimming;
  options.marks_last_hop = scenario.marks_last_hop;
  options.loss = scenario.loss;
  fabric_ = std::make_unique<Fabric>(topology_, options, Mix64(seed));
  for (const LinkFault& fault : scenario.links) {
    for (const uint32_t port : PortsOf(fault, topology_)) {
      fabric_->Schedule({PicosOf(fault.from), port, fault.share});
      if (fault.until < Duration::Max()) {
        fabric_->Schedule({PicosOf(fault.until), port, 1});
      }
    }
  }
  progress_ = std::make_unique<Progress>(workload_);
  if (scenario.hosts == "reference") {
    ReferenceOptions hosts;
    hosts.scheduler = scenario.scheduler;
    hosts.congestion = scenario.congestion;
    hosts.paths = static_cast<uint32_t>(scenario.paths);
    hosts.facts = facts_;
    // The model's: 15 us and six full queues.
    hosts.rto = static_cast<Picos>(
        (15 + 6 * options.queue_bytes * MicrosPerByte(scenario.topology)) *
        1e6);
    reference_ = std::make_unique<ReferenceEdge>(*fabric_, *progress_, hosts,
                                                 Mix64(seed + 1));
    reference_->Start();
  } else {
    PathEdgeOptions hosts;
    hosts.scheduler = scenario.scheduler;
    hosts.congestion = scenario.congestion;
    hosts.paths = static_cast<uint32_t>(scenario.paths);
    hosts.ack_every = static_cast<uint32_t>(scenario.ack_every_packets);
    hosts.ack_delay = scenario.ack_delay;
    hosts.admission = scenario.admission;
    hosts.facts = facts_;
    hosts.path.ack_delay = hosts.ack_delay;
    // Two round trips, so that a queue is no silence.
    hosts.path.rto_min = 2 * facts_.base_rtt;
    hosts.path.rto_initial = 10 * facts_.base_rtt;
    hosts.path.probe_pause_max = Duration::Millis(1);
    paths_ = std::make_unique<PathEdge>(*fabric_, *progress_, hosts,
                                        Mix64(seed + 1));
    paths_->Start();
  }
}

double Experiment::done_share() const {
  uint64_t done = 0;
  for (uint32_t m = 0; m < workload_.messages.size(); ++m) {
    done += progress_->finished_at(m) != kNeverPicos;
  }
  return static_cast<double>(done) /
         static_cast<double>(workload_.messages.size());
}

void Experiment::RunFor(Duration time) {
  const Picos limit = PicosOf(scenario_.limit_time);
  const Picos until = time < Duration::Max()
                          ? std::min(limit, fabric_->now() + PicosOf(time))
                          : limit;
  const bool done =
      paths_ ? fabric_->Run(*paths_, until) : fabric_->Run(*reference_, until);
  over_ = done || fabric_->now() < until || fabric_->now() > limit;
}

ExperimentResult Experiment::result() const {
  ExperimentResult result;
  result.seed = seed_;
  std::vector<double> times;
  double sum = 0;
  for (uint32_t m = 0; m < workload_.messages.size(); ++m) {
    const MessagePlan& message = workload_.messages[m];
    if (message.background) continue;
    ++result.messages;
    if (progress_->finished_at(m) == kNeverPicos) {
      ++result.unfinished;
      continue;
    }
    const double us = static_cast<double>(progress_->finished_at(m)) / 1e6;
    if (message.victim) {
      result.victim_tail_us = std::max(result.victim_tail_us, us);
    }
    times.push_back(us);
    sum += us;
  }
  result.finished = result.unfinished == 0;
  if (!times.empty()) {
    std::sort(times.begin(), times.end());
    result.tail_us = times.back();
    result.p99_us = times[(times.size() * 99 + 99) / 100 - 1];
    result.mean_us = sum / static_cast<double>(times.size());
  }
  result.ideal_us = IdealMicros(scenario_, topology_, workload_, false);
  result.bound_us = IdealMicros(scenario_, topology_, workload_, true);
  uint64_t data_bytes = 0, resent_bytes = 0, ack_bytes = 0;
  if (paths_) {
    const PathEdgeCounts counts = paths_->counts();
    result.data_packets = counts.packets;
    result.resent_packets = counts.resent;
    result.spurious_packets = counts.spurious;
    result.suspects = counts.suspects;
    result.probes = counts.probes;
    result.recovery_us = static_cast<double>(counts.longest_recovery) / 1e6;
    data_bytes = counts.data_bytes;
    resent_bytes = counts.resent_bytes;
    ack_bytes = counts.ack_bytes;
  } else {
    const EdgeCounts& counts = reference_->counts();
    result.data_packets = counts.packets;
    result.resent_packets = counts.resent;
    data_bytes = counts.data_bytes;
    resent_bytes = counts.resent_bytes;
    ack_bytes = counts.acks * kHeaderBytes;
  }
  const auto share = [&](uint64_t part, uint64_t whole) {
    return whole == 0 ? 0
                      : static_cast<double>(part) / static_cast<double>(whole);
  };
  const FabricCounts& fabric = fabric_->counts();
  result.resent_share = share(resent_bytes, data_bytes);
  result.ack_share = share(ack_bytes, data_bytes);
  result.marked_share = share(fabric.marked, result.data_packets);
  result.dropped = fabric.dropped;
  result.trimmed = fabric.trimmed;
  result.queue_mean_packets =
      share(fabric.queue_sum_bytes, fabric.queue_samples) / kPacketBytes;
  result.queue_peak_packets =
      static_cast<double>(fabric.queue_peak_bytes) / kPacketBytes;
  result.hops = fabric.hops;
  result.events = fabric_->events();
  return result;
}

}  // namespace hawser::sim
