// One flow and its messages: buffers that are posted, tested oldest first, and
// posted again.
// Knows: a FlowEnd, buffers, patterns.  Never: the time, other lanes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/hawser_perf/plan.h"
#include "transport/engine/endpoint.h"

namespace hawser::perf {

// What message `number` carries where bytes are verified.
void FillPattern(uint64_t number, std::byte* bytes, size_t size);
bool IsPattern(uint64_t number, const std::byte* bytes, size_t size);

class Lane {
 public:
  // `index`: of this flow among those of its direction. Every page of the
  // buffers is touched. ResourceExhausted: this host has no memory for them.
  static absl::StatusOr<std::unique_ptr<Lane>> Make(Direction direction,
                                                    int index,
                                                    const Plan& plan);

  ~Lane();

  Direction direction() const { return direction_; }
  bool open() const { return flow_ != nullptr; }
  // Registers the buffers with it.
  void Open(std::unique_ptr<FlowEnd> flow);

  uint64_t posted() const { return posted_; }
  uint64_t done() const { return done_; }    // Of those posted.
  uint64_t wrong() const { return wrong_; }  // Of those done.

  // Posts the next message. False: all slots are taken.
  bool Post();
  enum class Fate : uint8_t { kOpen, kDone, kFailed };
  // Of the oldest that is posted; kOpen if none is.
  Fate TestOldest();
  void Await(Time until) { flow_->Await(until); }
  // Why it failed.
  const absl::Status& failure() const { return failure_; }

 private:
  struct FreeBytes {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::byte* buffer(uint64_t number) const {
    return bytes_.get() + number % depth_ * stride_;
  }
  Lane(Direction direction, int index, const Plan& plan);
  Fate Fail(Request::Outcome outcome, uint32_t bytes_moved);

  const Direction direction_;
  const int index_;
  const uint32_t size_bytes_;
  const uint64_t depth_;
  const size_t stride_;  // From buffer to buffer.
  const bool verify_;
  std::unique_ptr<std::byte, FreeBytes> bytes_;
  // Behind the buffers, so that it goes before them.
  std::unique_ptr<FlowEnd> flow_;
  uint32_t key_ = 0;  // Of all buffers; 0: the datapath takes any memory.
  std::array<Request*, kDepthMax> requests_{};
  uint64_t posted_ = 0, done_ = 0, wrong_ = 0;
  absl::Status failure_;
};

}  // namespace hawser::perf
