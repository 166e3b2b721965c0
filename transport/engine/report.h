// What the paths of an endpoint did, copied out for humans and programs.
// Knows: names, states, counts.  Never: the objects that they are read from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/path/path_state.h"

namespace hawser {

// Where a path leaves: through which plane, and under which entropy.
struct PathPlace {
  uint16_t plane = 0;
  uint16_t entropy = 0;
};

struct PathReport {
  PathId path;
  PathPlace place;
  std::string plane;  // The interface's name.
  PathState state = PathState::kOpen;
  PathCounts counts;
  Duration rtt;  // Smoothed, network part; 0: no sample.
  uint32_t window_bytes = 0;
};

// kNew: known by its identity; may send to us. kOpen: we may send to it.
// kLeaving: it said goodbye; what is still open has a moment to settle.
enum class PeerState : uint8_t { kNew, kOpen, kLeaving, kLost };

struct PeerReport {
  std::string name;
  uint16_t engine = 0;
  PeerState state = PeerState::kNew;
  std::vector<PathReport> paths;  // Of a lost peer: as it left them.
};

}  // namespace hawser
