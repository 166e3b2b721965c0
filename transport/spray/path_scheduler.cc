#include "transport/spray/path_scheduler.h"

#include <algorithm>

namespace hawser {

void Tell(PathScheduler& scheduler, const Path& path,
          const AckSummary& summary) {
  const auto tell = [&](PathFeedback feedback, uint32_t packets) {
    if (packets == 0) return;
    scheduler.OnFeedback(path.id(), feedback, packets,
                         path.network_rtt().latest());
  };
  // Marks are counted by themselves, and may be heard of late.
  tell(PathFeedback::kGood,
       summary.acked_packets -
           std::min(summary.acked_packets, summary.marked_packets));
  tell(PathFeedback::kMarked, summary.marked_packets);
  tell(summary.silent ? PathFeedback::kSilent : PathFeedback::kLost,
       summary.lost_packets);
}

}  // namespace hawser
