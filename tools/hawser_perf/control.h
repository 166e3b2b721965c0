// The control line: a TCP connection on which two sides of a test agree, one
// JSON document to a line.
// Knows: sockets, lines, patience.  Never: what a line says.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/time.h"

namespace hawser::perf {

class ControlLine {
 public:
  // Unavailable if nobody listens there. Waits for at most kConnectMost.
  static absl::StatusOr<std::unique_ptr<ControlLine>> Connect(
      const std::string& host, int port);
  // Owns `fd`, which is connected.
  explicit ControlLine(int fd);
  ~ControlLine();
  ControlLine(const ControlLine&) = delete;
  ControlLine& operator=(const ControlLine&) = delete;

  const std::string& far() const { return far_; }  // "192.0.2.1:18515"
  int fd() const { return fd_; }

  // Waits while the far side is slow to read, for at most kWriteMost.
  absl::Status Write(const nlohmann::json& document);
  // A document, if a whole line is there. Aborted: the far side closed the
  // line, or broke it. InvalidArgument: it does not speak our language.
  absl::StatusOr<std::optional<nlohmann::json>> TryRead();
  // The same, waiting for it. DeadlineExceeded when `patience` is over.
  absl::StatusOr<nlohmann::json> Read(Duration patience);

 private:
  static constexpr Duration kConnectMost = Duration::Seconds(10);
  static constexpr Duration kWriteMost = Duration::Seconds(10);
  // A report on a day with 256 paths; no stranger may make us hold more.
  static constexpr size_t kLineMost = size_t{256} << 20;

  const int fd_;
  std::string far_;
  std::string held_;     // Read, and not yet a line.
  size_t searched_ = 0;  // Of held_: no end of a line is in there.
};

// Where control lines arrive.
class ControlDoor {
 public:
  // `address` empty: every address of this host. Port 0: a free one.
  static absl::StatusOr<std::unique_ptr<ControlDoor>> Open(
      const std::string& address, int port);
  ~ControlDoor();
  ControlDoor(const ControlDoor&) = delete;
  ControlDoor& operator=(const ControlDoor&) = delete;

  std::string where() const;  // "0.0.0.0:18515"
  // The next one, or null if none came in time.
  std::unique_ptr<ControlLine> Accept(Duration patience);

 private:
  explicit ControlDoor(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace hawser::perf
