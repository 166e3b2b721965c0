// The scenarios that have a name: the field's own (S1 to S8, by the numbers
// that docs/scenarios.md gives them), and those of larger networks and faults.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "transport/sim/fabric/scenario.h"

namespace hawser::sim {
namespace {

std::string FatTree128(const std::string& rate) {
  return absl::StrCat(
      R"("topology": {"tiers": 3, "hosts": 128, "hosts_per_leaf": 4,)",
      R"( "uplinks_per_leaf": 4, "leaves_per_pod": 4, "cores": 16,)",
      R"( "rate": ")", rate, R"("})");
}

std::string FatTree1024(const std::string& rate) {
  return absl::StrCat(
      R"("topology": {"tiers": 3, "hosts": 1024, "hosts_per_leaf": 8,)",
      R"( "uplinks_per_leaf": 8, "leaves_per_pod": 8, "cores": 64,)",
      R"( "rate": ")", rate, R"("})");
}

// As many uplinks as hosts.
std::string LeafSpine(int hosts, int per_leaf, int planes) {
  return absl::StrCat(R"("topology": {"tiers": 2, "hosts": )", hosts,
                      R"(, "hosts_per_leaf": )", per_leaf,
                      R"(, "uplinks_per_leaf": )", per_leaf, R"(, "planes": )",
                      planes, R"(, "rate": "400 Gbps"})");
}

std::string Send(const std::string& kind, const std::string& size,
                 const std::string& more = "") {
  return absl::StrCat(R"("workload": [{"kind": ")", kind, R"(", "size": ")",
                      size, R"(")", more, "}]");
}

// The links of every leaf to the first `spines` spines, both ways.
std::string SlowSpines(int spines) {
  std::vector<std::string> links;
  for (int spine = 0; spine < spines; ++spine) {
    for (const char* kind : {"up", "down"}) {
      links.push_back(absl::StrCat(R"({"kind": ")", kind, R"(", "uplink": )",
                                   spine, R"(, "share": 0.25})"));
    }
  }
  return absl::StrCat(R"("links": [)", absl::StrJoin(links, ", "), "]");
}

// Every link of plane 0 between leaves and spines loses all; hosts do not know.
std::string DeadPlane() {
  std::vector<std::string> links;
  for (const char* kind : {"up", "down"}) {
    links.push_back(absl::StrCat(
        R"({"kind": ")", kind, R"(", "uplink": -1, "plane": 0, "share": 0})"));
  }
  return absl::StrCat(R"("links": [)", absl::StrJoin(links, ", "), "]");
}

std::string Described(const std::vector<std::string>& parts) {
  return absl::StrCat("{", absl::StrJoin(parts, ",\n "), "}");
}

std::vector<NamedScenario> MakeScenarios() {
  const std::string permutation = "permutation";
  return {
      {"s1", "permutation, 128 hosts, 2 MB at 100G",
       Described({FatTree128("100 Gbps"), Send(permutation, "2 MB")})},
      {"s2", "permutation, 128 hosts, 8 MB at 400G",
       Described({FatTree128("400 Gbps"), Send(permutation, "8 MB")})},
      {"s3", "permutation, 1,024 hosts, 2 MB at 400G",
       Described({FatTree1024("400 Gbps"), Send(permutation, "2 MB")})},
      {"s4", "incast 32:1, 2 MB at 100G",
       Described({FatTree128("100 Gbps"),
                  Send("incast", "2 MB", R"(, "senders": 32)")})},
      {"s4_64", "incast 64:1, 2 MB at 100G",
       Described({FatTree128("100 Gbps"),
                  Send("incast", "2 MB", R"(, "senders": 64)")})},
      {"s4_400", "incast 32:1, 2 MB at 400G",
       Described({FatTree128("400 Gbps"),
                  Send("incast", "2 MB", R"(, "senders": 32)")})},
      {"s5", "shift by 64 of 128 hosts, 8:1 oversubscribed, 2 MB at 100G",
       Described({R"("topology": {"tiers": 3, "hosts": 128,)"
                  R"( "hosts_per_leaf": 4, "uplinks_per_leaf": 1,)"
                  R"( "leaves_per_pod": 4, "cores": 2, "rate": "100 Gbps"})",
                  Send("shift", "2 MB")})},
      {"s6_0", "permutation, leaf-spine, 128 hosts, 8 MB at 400G",
       Described({LeafSpine(128, 16, 1), Send(permutation, "8 MB")})},
      {"s6_1", "the same, 1 of 16 spines at 25%",
       Described(
           {LeafSpine(128, 16, 1), SlowSpines(1), Send(permutation, "8 MB")})},
      {"s6_4", "the same, 4 of 16 spines at 25%",
       Described(
           {LeafSpine(128, 16, 1), SlowSpines(4), Send(permutation, "8 MB")})},
      {"s8_butterfly", "butterfly, 128 hosts, 2 MB a step at 400G",
       Described({FatTree128("400 Gbps"), Send("butterfly", "2 MB")})},
      {"s8_rings", "8 rings of 16, 256 KB a step at 400G",
       Described({FatTree128("400 Gbps"),
                  Send("rings", "256 KB", R"(, "groups": 8)")})},
      {"s8_all_to_all", "8 groups of 16, 2 MB, one at a time, at 400G",
       Described({FatTree128("400 Gbps"),
                  Send("all_to_all", "2 MB", R"(, "groups": 8)")})},
      {"all_to_all_4", "128 hosts, 256 KB, four at a time, at 400G",
       Described({FatTree128("400 Gbps"),
                  Send("all_to_all", "256 KB", R"(, "window": 4)")})},
      {"perm1024", "permutation, 1,024 hosts, 2 MB at 100G",
       Described({FatTree1024("100 Gbps"), Send(permutation, "2 MB")})},
      {"perm1024_slow", "the same, the 8 core links to one agg at 25%",
       Described({FatTree1024("100 Gbps"),
                  R"("links": [{"kind": "core_down", "at": 0, "uplink": -1,)"
                  R"( "share": 0.25}])",
                  Send(permutation, "2 MB")})},
      {"perm8192", "permutation, leaf-spine, 8,192 hosts, 4 MB at 400G",
       Described({LeafSpine(8192, 64, 1), Send(permutation, "4 MB")})},
      {"perm8192_slow", "the same, one uplink of each leaf at 25%",
       Described(
           {LeafSpine(8192, 64, 1), SlowSpines(1), Send(permutation, "4 MB")})},
      {"long", "permutation, 128 hosts, 64 MB at 400G",
       Described({FatTree128("400 Gbps"), Send(permutation, "64 MB")})},
      {"incast15", "incast 15:1, 2 MB at 100G",
       Described({FatTree1024("100 Gbps"),
                  Send("incast", "2 MB", R"(, "senders": 15)")})},
      {"incast127", "incast 127:1, 2 MB at 100G",
       Described({FatTree1024("100 Gbps"),
                  Send("incast", "2 MB", R"(, "senders": 127)")})},
      {"incast1023", "incast 1023:1, 100 KB at 100G",
       Described({FatTree1024("100 Gbps"),
                  Send("incast", "100 KB", R"(, "senders": 1023)")})},
      {"victim", "incast 15:1 beside a permutation, 2 MB at 100G",
       Described({FatTree1024("100 Gbps"),
                  R"("workload": [{"kind": "permutation", "size": "2 MB",)"
                  R"( "victim": true},)"
                  R"( {"kind": "incast", "senders": 15, "size": "2 MB"}])"})},
      {"background", "permutation, and a tenth of it on one route each, 100G",
       Described({FatTree1024("100 Gbps"),
                  R"("workload": [{"kind": "permutation", "size": "2 MB"},)"
                  R"( {"kind": "permutation", "seed": 2, "share": 0.1,)"
                  R"( "size": "200 KB", "background": true}])"})},
      {"loss_1e3", "permutation, 128 hosts, 64 MB at 400G, 0.1% lost",
       Described({FatTree128("400 Gbps"), R"("loss": 0.001)",
                  Send(permutation, "64 MB")})},
      {"loss_1e2", "permutation, 128 hosts, 64 MB at 400G, 1% lost",
       Described({FatTree128("400 Gbps"), R"("loss": 0.01)",
                  Send(permutation, "64 MB")})},
      {"black", "permutation, 128 hosts, 8 MB at 100G, a core link dies",
       Described({FatTree128("100 Gbps"),
                  R"("links": [{"kind": "core_down", "at": 0, "uplink": 0,)"
                  R"( "share": 0, "from": "50 us"},)"
                  R"( {"kind": "core_up", "at": 0, "uplink": 0,)"
                  R"( "share": 0, "from": "50 us"}])",
                  Send(permutation, "8 MB")})},
      {"planes", "permutation, 128 hosts of 4 planes, 8 MB at 400G",
       Described({LeafSpine(128, 16, 4), Send(permutation, "8 MB")})},
      {"planes_dead", "the same with 64 MB, one plane dark",
       Described(
           {LeafSpine(128, 16, 4), DeadPlane(), Send(permutation, "64 MB")})},
      {"rails", "all-to-all of 8 servers of 8 NICs each, on 8 rails",
       Described({R"("topology": {"tiers": 2, "hosts": 64,)"
                  R"( "hosts_per_leaf": 8, "uplinks_per_leaf": 8, "rails": 8,)"
                  R"( "rate": "400 Gbps"})",
                  Send("all_to_all", "1 MB", R"(, "window": 4)")})},
      {"tornado", "shift by half of 1,024 hosts, 2 MB at 100G",
       Described({FatTree1024("100 Gbps"), Send("shift", "2 MB")})},
      {"halving", "halving-doubling all-reduce of 64 MB, 128 hosts at 400G",
       Described({FatTree128("400 Gbps"), Send("halving_doubling", "64 MB")})},
      {"two_sites", "shift between two sites 50 km apart, 64 MB at 100G",
       Described({R"("topology": {"tiers": 3, "hosts": 64,)"
                  R"( "hosts_per_leaf": 8, "uplinks_per_leaf": 8,)"
                  R"( "leaves_per_pod": 4, "cores": 64, "rate": "100 Gbps",)"
                  R"( "core_latency": "125 us"})",
                  Send("shift", "64 MB")})},
  };
}

}  // namespace

std::span<const NamedScenario> NamedScenarios() {
  static const std::vector<NamedScenario>& scenarios =
      *new std::vector<NamedScenario>(MakeScenarios());
  return scenarios;
}

}  // namespace hawser::sim
