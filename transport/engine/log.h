// Where a line for the operator goes.
// Knows: two levels.  Never: stdout. The application decides what is shown.
#pragma once

#include <functional>
#include <string>

namespace hawser {

enum class LogLevel : unsigned char { kInfo, kWarn };

// May be called from any thread that calls into an Endpoint; never from a
// signal handler, never while packets wait. An empty one is silence.
using LogSink = std::function<void(LogLevel, const std::string&)>;

}  // namespace hawser
