// What each path carried, as the plugin tells it when it is finalized.
// Knows: the plugin's statistics document.  Never: how a path works.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hawser::bench {

// Where our plugin writes its document; other plugins do not know it.
inline constexpr char kStatsVariable[] = "HAWSER_STATS_FILE";

// Where such documents may lie for a moment: TMPDIR, or /tmp.
std::string TemporaryFolder();

// One path from one rank to one peer.
struct PathRow {
  int rank = 0;
  std::string peer;  // A rank, or the name of a process that is none.
  int64_t path = 0;
  std::string plane;
  std::string state;
  uint64_t bytes_sent = 0, bytes_delivered = 0;
  uint64_t packets_sent = 0, packets_lost = 0, packets_resent = 0;
  uint64_t packets_spurious = 0, ecn_marked = 0, times_suspect = 0;
  double rtt_us = 0, window_bytes = 0;
  double share = 0;  // Of the bytes delivered to this peer.
};

// `documents` by rank; what is empty or not understood gives no rows.
std::vector<PathRow> ReadPaths(const std::vector<std::string>& documents);

void PrintPaths(const std::vector<PathRow>& rows);

}  // namespace hawser::bench
