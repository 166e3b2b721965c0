// What one test is: what both sides must agree upon before it begins.
// Knows: sizes, counts, directions, their limits.  Never: who measures, how.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hawser::perf {

// Of the language on the control line. Greater: the other side is newer.
inline constexpr int kControlVersion = 1;

inline constexpr uint64_t kSizeMax = uint64_t{1} << 30;
inline constexpr int kFlowsMax = 1024;
inline constexpr int kDepthMax = 32;  // RequestQueue::kSlots.
inline constexpr double kDurationMin = 0.05, kDurationMax = 24 * 60 * 60;
// Of buffers on each side. A client must not be able to bring a server down.
inline constexpr uint64_t kMemoryMax = uint64_t{8} << 30;

struct Plan {
  uint64_t size_bytes = 1 << 20;
  double duration_s = 10;
  int flows = 1;          // In each direction.
  int depth = 8;          // Messages of each flow that are outstanding.
  bool forward = true;    // The client sends.
  bool backward = false;  // The server sends.
  bool latency = false;   // One message back and forth.
  bool verify = false;
  bool blocking = false;  // An idle loop sleeps.
};

// InvalidArgument, in the words of the command line.
absl::Status CheckPlan(const Plan& plan);

nlohmann::json ToJson(const Plan& plan);
absl::StatusOr<Plan> PlanFromJson(const nlohmann::json& json);

// "1 flow, 8 messages of 1048576 bytes outstanding, 10 s"
std::string Describe(const Plan& plan);

}  // namespace hawser::perf
