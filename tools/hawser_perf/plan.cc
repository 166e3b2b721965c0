#include "tools/hawser_perf/plan.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hawser::perf {
namespace {

using nlohmann::json;

}  // namespace

absl::Status CheckPlan(const Plan& plan) {
  const auto refuse = [](const auto&... words) {
    return absl::InvalidArgumentError(absl::StrCat(words...));
  };
  if (plan.size_bytes < 1 || plan.size_bytes > kSizeMax) {
    return refuse("--size: ", plan.size_bytes, " is not a size from 1 to ",
                  kSizeMax);
  }
  // Written so that a NaN is refused too.
  if (!(plan.duration_s >= kDurationMin && plan.duration_s <= kDurationMax)) {
    return refuse("--duration: ", plan.duration_s, " is not from ",
                  kDurationMin, " to ", kDurationMax, " seconds");
  }
  if (plan.flows < 1 || plan.flows > kFlowsMax) {
    return refuse("--flows: ", plan.flows, " is not a number from 1 to ",
                  kFlowsMax);
  }
  if (plan.depth < 1 || plan.depth > kDepthMax) {
    return refuse("--depth: ", plan.depth, " is not a number from 1 to ",
                  kDepthMax);
  }
  if (!plan.forward && !plan.backward) return refuse("no direction is chosen");
  if (plan.latency && (plan.flows != 1 || !plan.forward || !plan.backward)) {
    return refuse("--latency: one message goes back and forth on one flow");
  }
  // No product of what was checked above overflows.
  const uint64_t directions = plan.forward && plan.backward ? 2 : 1;
  const uint64_t bytes = plan.size_bytes * static_cast<uint64_t>(plan.flows) *
                         static_cast<uint64_t>(plan.depth) * directions;
  if (bytes > kMemoryMax) {
    return refuse("--size, --flows, --depth: the buffers would take ",
                  bytes >> 20, " MiB on each side; ", kMemoryMax >> 20,
                  " are allowed");
  }
  return absl::OkStatus();
}

json ToJson(const Plan& plan) {
  return {{"size_bytes", plan.size_bytes}, {"duration_s", plan.duration_s},
          {"flows", plan.flows},           {"depth", plan.depth},
          {"forward", plan.forward},       {"backward", plan.backward},
          {"latency", plan.latency},       {"verify", plan.verify},
          {"blocking", plan.blocking}};
}

absl::StatusOr<Plan> PlanFromJson(const json& document) {
  Plan plan;
  try {
    document.at("size_bytes").get_to(plan.size_bytes);
    document.at("duration_s").get_to(plan.duration_s);
    document.at("flows").get_to(plan.flows);
    document.at("depth").get_to(plan.depth);
    document.at("forward").get_to(plan.forward);
    document.at("backward").get_to(plan.backward);
    document.at("latency").get_to(plan.latency);
    document.at("verify").get_to(plan.verify);
    document.at("blocking").get_to(plan.blocking);
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("this is no plan of a test: ", error.what()));
  }
  if (absl::Status good = CheckPlan(plan); !good.ok()) return good;
  return plan;
}

std::string Describe(const Plan& plan) {
  const char* ways = !plan.backward  ? "client -> server"
                     : !plan.forward ? "server -> client"
                                     : "both ways";
  std::string text =
      plan.latency
          ? absl::StrFormat("ping-pong of %u bytes", plan.size_bytes)
          : absl::StrFormat(
                "%d flow%s%s, %d message%s of %u bytes outstanding%s, %s",
                plan.flows, plan.flows == 1 ? "" : "s",
                plan.forward && plan.backward ? " each way" : "", plan.depth,
                plan.depth == 1 ? "" : "s", plan.size_bytes,
                plan.flows == 1 ? "" : " on each", ways);
  absl::StrAppend(&text, ", ", plan.duration_s, " s",
                  plan.verify ? ", verified" : "",
                  plan.blocking ? ", blocking" : "");
  return text;
}

}  // namespace hawser::perf
