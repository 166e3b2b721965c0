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
    // Who begins with a full window and lives for a dozen round trips cannot
    // wait until an average that begins at 1 has sunk.
    return std::make_unique<Dctcp>(
        Dctcp::Parameters{facts.packet_bytes, window_bytes, 0});
  }
  if (name == "swift") {
    Swift::Parameters parameters;
    parameters.packet_bytes = facts.packet_bytes;
    parameters.initial_window_bytes = window_bytes;
    parameters.max_window_bytes = window_bytes;
    // As much queue as NSCC is aimed at. (Swift's own fabric: a target of 25 us
    // where the round trip takes some 10, section 3.5.)
    parameters.base_rtt = facts.base_rtt;
    parameters.target_delay = facts.base_rtt;
    parameters.scaling_delay = facts.base_rtt;
    return std::make_unique<Swift>(parameters);
  }
  if (name == "fixed_window") {
    return std::make_unique<FixedWindow>(window_bytes);
  }
  return nullptr;
}

}  // namespace hawser::sim
