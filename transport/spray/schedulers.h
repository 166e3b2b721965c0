// Every scheduler, by its name.
// Knows: names.  Never: how one of them picks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "transport/spray/path_scheduler.h"

namespace hawser {

// "adaptive", "weave", ...
std::span<const std::string_view> SchedulerNames();

// For `paths` paths. nullptr: no such name.
std::unique_ptr<PathScheduler> MakeScheduler(std::string_view name,
                                             uint16_t paths, uint64_t seed);

}  // namespace hawser
