#include "transport/sim/fabric/policy.h"

#include "transport/congestion/dctcp.h"
#include "transport/congestion/fixed_window.h"
#include "transport/congestion/nscc.h"
#include "transport/congestion/swift.h"

namespace hawser::sim {

std::span<const std::string_view> CongestionNames() {
  static constexpr std::string_view kNames[] = {"nscc", "dctcp", "swift",
                                                "fixed_window"};
  return kNames;
}

std::unique_ptr<CongestionControl> MakeCongestion(std::string_view name,
                                                  const PathFacts& facts) {
  if (name == "nscc") {
    Nscc::Parameters parameters;
    parameters.packet_bytes = facts.packet_bytes;
    parameters.base_rtt = facts.base_rtt;
    parameters.bdp_bytes = facts.bdp_bytes;
    parameters.losses_are_congestion = facts.trimming;
    parameters.target_share = facts.trimming ? 0.75 : 1.0;
    // What has arrived waits in the receiver for half of an ack, on the mean.
    parameters.window_bdps +=
        (facts.ack_packets - 1) / 2 * facts.packet_bytes / facts.bdp_bytes;
    return std::make_unique<Nscc>(parameters);
  }
  const uint32_t window_bytes = facts.bdp_bytes * 3 / 2;
  if (name == "dctcp") {
    return std::make_unique<Dctcp>(
        Dctcp::Parameters{facts.packet_bytes, window_bytes});
  }
  if (name == "swift") {
    Swift::Parameters parameters;
    parameters.packet_bytes = facts.packet_bytes;
    parameters.initial_window_bytes = window_bytes;
    parameters.max_window_bytes = window_bytes;
    // What kmin to kmax of queue add, on the mean, and as much again for a
    // window of next to nothing.
    parameters.target_delay = facts.base_rtt / 2;
    parameters.scaling_delay = facts.base_rtt;
    return std::make_unique<Swift>(parameters);
  }
  if (name == "fixed_window") {
    return std::make_unique<FixedWindow>(window_bytes);
  }
  return nullptr;
}

}  // namespace hawser::sim
