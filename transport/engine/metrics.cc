#include "transport/engine/metrics.h"

#include "absl/strings/str_cat.h"

namespace hawser {

std::span<const MetricRow> EngineMetricRows() {
  static constexpr MetricRow kRows[] = {
      {"turns", &EngineMetrics::turns, "Turns of the engine's loop."},
      {"packets_sent", &EngineMetrics::packets_sent,
       "Numbered packets: every attempt at a cargo, and probes."},
      {"packets_received", &EngineMetrics::packets_received,
       "Numbered packets that arrived for the first time."},
      {"packets_lost", &EngineMetrics::packets_lost,
       "Packets given up: a gap behind a newer arrival, or silence."},
      {"packets_resent", &EngineMetrics::packets_resent,
       "Packets sent that carried a cargo for another time."},
      {"packets_spurious", &EngineMetrics::packets_spurious,
       "Packets given up that had arrived after all."},
      {"packets_duplicate", &EngineMetrics::packets_duplicate,
       "Packets, or their bytes, that had been here before: dropped."},
      {"packets_malformed", &EngineMetrics::packets_malformed,
       "Packets that were not whole, not intact or not ours: dropped."},
      {"packets_foreign", &EngineMetrics::packets_foreign,
       "Packets for a peer that does not exist here: dropped."},
      {"packets_unexpected", &EngineMetrics::packets_unexpected,
       "Intact packets for a flow or message that is not open: dropped."},
      {"acks_sent", &EngineMetrics::acks_sent,
       "Ack packets; each may speak of several paths."},
      {"acks_received", &EngineMetrics::acks_received,
       "Acks, counted per path."},
      {"grants_raised", &EngineMetrics::grants_raised,
       "Grants sent again to admit more of a message: several peers were "
       "sending here, or could have been."},
      {"probes_sent", &EngineMetrics::probes_sent,
       "Packets that only ask for an ack."},
      {"controls_sent", &EngineMetrics::controls_sent,
       "What one plane had to say that another carried."},
      {"controls_received", &EngineMetrics::controls_received,
       "The same, handed to the plane that it was for."},
      {"bytes_delivered", &EngineMetrics::bytes_delivered,
       "Payload that was sent and acked."},
      {"bytes_received", &EngineMetrics::bytes_received,
       "Payload that was placed in receive buffers."},
      {"bytes_placed", &EngineMetrics::bytes_placed,
       "Of those, payload that the NIC or the system put there, and no copy of "
       "ours."},
      {"bytes_carried", &EngineMetrics::bytes_carried,
       "Payload that came to the host and that the NIC then put into a GPU's "
       "memory."},
      {"paths_suspected", &EngineMetrics::paths_suspected,
       "Times a path fell silent and its cargo moved to others."},
      {"paths_reopened", &EngineMetrics::paths_reopened,
       "Times a suspect path answered and was used again."},
      {"paths_buried", &EngineMetrics::paths_buried,
       "Times a path's way was given up, with what may still be on it, for a "
       "new one."},
      {"peers_lost", &EngineMetrics::peers_lost,
       "Peers that were gone while requests were open: not heard for the peer "
       "timeout, or they said goodbye."},
  };
  return kRows;
}

std::string MetricsPage() {
  std::string page =
      "# Metrics\n\n"
      "Counters of one engine: they only grow; take differences. They are "
      "part of the report\nthat `HAWSER_STATS_FILE` asks for. This page is "
      "printed from the table in\n`transport/engine/metrics.cc`; a test keeps "
      "it so.\n\n| counter | what it counts |\n|---|---|\n";
  for (const MetricRow& row : EngineMetricRows()) {
    absl::StrAppend(&page, "| `", row.name, "` | ", row.help, " |\n");
  }
  return page;
}

}  // namespace hawser
