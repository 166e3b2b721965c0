#include "transport/spray/schedulers.h"

#include "transport/spray/adaptive.h"
#include "transport/spray/mixed.h"
#include "transport/spray/oblivious.h"
#include "transport/spray/reps.h"
#include "transport/spray/round_robin.h"
#include "transport/spray/two_choices.h"
#include "transport/spray/weave.h"

namespace hawser {

std::span<const std::string_view> SchedulerNames() {
  static constexpr std::string_view kNames[] = {
      "adaptive", "weave",     "reps",        "mixed",
      "bitmap",   "oblivious", "round_robin", "two_choices"};
  return kNames;
}

std::unique_ptr<PathScheduler> MakeScheduler(std::string_view name,
                                             uint16_t paths, uint64_t seed) {
  if (name == "adaptive") return std::make_unique<Adaptive>(paths, seed);
  if (name == "weave") return std::make_unique<Weave>(seed);
  if (name == "reps") return std::make_unique<Reps>(seed);
  if (name == "mixed") return std::make_unique<Mixed>(seed, true);
  if (name == "bitmap") return std::make_unique<Mixed>(seed, false);
  if (name == "oblivious") return std::make_unique<Oblivious>(seed);
  if (name == "round_robin") return std::make_unique<RoundRobin>();
  if (name == "two_choices") return std::make_unique<TwoChoices>(seed);
  return nullptr;
}

}  // namespace hawser
