#include "tools/hawser_perf/lane.h"

#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/random.h"

namespace hawser::perf {
namespace {

static_assert(kDepthMax == RequestQueue::kSlots);

constexpr size_t kPageBytes = 4096;
constexpr size_t kLineBytes = 64;
// Odd, and with bits all over, so that no two places of a message are alike.
constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;

constexpr size_t RoundUp(size_t size, size_t unit) {
  return (size + unit - 1) / unit * unit;
}

// What the system could give without swapping; no limit if it does not say.
uint64_t AvailableBytes() {
  unsigned long long kib = 0;
  bool found = false;
  if (std::FILE* file = std::fopen("/proc/meminfo", "re")) {
    char line[128];
    while (!found && std::fgets(line, sizeof(line), file) != nullptr) {
      found = std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1;
    }
    std::fclose(file);
  }
  return found ? uint64_t{kib} << 10 : UINT64_MAX;
}

}  // namespace

void FillPattern(uint64_t number, std::byte* bytes, size_t size) {
  uint64_t word = Mix64(number + 1);
  size_t at = 0;
  for (; at + sizeof(word) <= size; at += sizeof(word), word += kStep) {
    std::memcpy(bytes + at, &word, sizeof(word));
  }
  std::memcpy(bytes + at, &word, size - at);
}

bool IsPattern(uint64_t number, const std::byte* bytes, size_t size) {
  uint64_t word = Mix64(number + 1);
  uint64_t difference = 0;
  size_t at = 0;
  for (; at + sizeof(word) <= size; at += sizeof(word), word += kStep) {
    uint64_t found;
    std::memcpy(&found, bytes + at, sizeof(found));
    difference |= found ^ word;
  }
  return difference == 0 && std::memcmp(bytes + at, &word, size - at) == 0;
}

Lane::Lane(Direction direction, int index, const Plan& plan)
    : direction_(direction),
      index_(index),
      size_bytes_(static_cast<uint32_t>(plan.size_bytes)),
      depth_(static_cast<uint64_t>(plan.depth)),
      stride_(RoundUp(plan.size_bytes, kLineBytes)),
      verify_(plan.verify) {}

absl::StatusOr<std::unique_ptr<Lane>> Lane::Make(Direction direction, int index,
                                                 const Plan& plan) {
  auto lane = std::unique_ptr<Lane>(new Lane(direction, index, plan));
  const size_t size = RoundUp(lane->stride_ * lane->depth_, kPageBytes);
  // The system promises more than it has, and ends who takes it at its word.
  // Half is left to others; lanes before this one have touched all of theirs.
  void* bytes = size <= AvailableBytes() / 2
                    ? std::aligned_alloc(kPageBytes, size)
                    : nullptr;
  if (bytes == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "there is no memory for the buffers of flow ", index, ", ", size >> 20,
        " MiB; expected less of --size, --flows or "
        "--depth"));
  }
  std::memset(bytes, 0x5a, size);
  lane->bytes_.reset(static_cast<std::byte*>(bytes));
  return lane;
}

Lane::~Lane() {
  if (key_ != 0) flow_->Unregister(key_);
}

void Lane::Open(std::unique_ptr<FlowEnd> flow) {
  flow_ = std::move(flow);
  const uint64_t bytes = stride_ * depth_;
  key_ = flow_->Register({bytes_.get(), bytes});
}

bool Lane::Post() {
  if (posted_ - done_ == depth_) return false;
  std::byte* const bytes = buffer(posted_);
  if (verify_ && direction_ == Direction::kSend) {
    FillPattern(posted_, bytes, size_bytes_);
  }
  Request* const request =
      flow_->Submit({bytes, size_bytes_, key_}, /*watched=*/false);
  if (request == nullptr) return false;
  requests_[posted_ % depth_] = request;
  ++posted_;
  return true;
}

Lane::Fate Lane::TestOldest() {
  if (posted_ == done_) return Fate::kOpen;
  Request::Outcome outcome;
  uint32_t bytes_moved;
  if (!flow_->Test(requests_[done_ % depth_], &outcome, &bytes_moved)) {
    return Fate::kOpen;
  }
  if (outcome != Request::Outcome::kOk || bytes_moved != size_bytes_) {
    return Fail(outcome, bytes_moved);
  }
  if (verify_ && direction_ == Direction::kReceive) {
    std::byte* const bytes = buffer(done_);
    wrong_ += IsPattern(done_, bytes, size_bytes_) ? 0 : 1;
    // Nothing old may pass the next time.
    std::memset(bytes, 0, size_bytes_);
  }
  ++done_;
  return Fate::kDone;
}

Lane::Fate Lane::Fail(Request::Outcome outcome, uint32_t bytes_moved) {
  bool first;
  const std::string why =
      outcome == Request::Outcome::kOk
          ? absl::StrCat("done with ", bytes_moved, " bytes, not ", size_bytes_)
      : outcome == Request::Outcome::kTruncated
          ? std::string("the message is larger than its buffer")
          : flow_->Failure(&first);
  failure_ = absl::UnavailableError(
      absl::StrCat(direction_ == Direction::kSend ? "send " : "receive ", done_,
                   " of flow ", index_, ": ", why));
  return Fate::kFailed;
}

}  // namespace hawser::perf
