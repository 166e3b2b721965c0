// The receiving half of a flow: buffers in, grants out, bytes to where they
// belong.
// Knows: messages, buffers, what has arrived.  Never: paths, numbers, time.
//
// Message m is received by the m-th request posted. Copies that come late,
// twice or after the end are ignored here and nowhere else, so that a buffer
// is never touched after its request is done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/base/ids.h"
#include "transport/base/ring.h"
#include "transport/message/range_set.h"
#include "transport/message/request.h"
#include "transport/wire/header.h"

namespace hawser {

class RecvFlow {
 public:
  static constexpr uint32_t kMaxOpenMessages = 64;

  RecvFlow(FlowId ours, FlowId theirs);

  // A. What is.
  FlowId id() const { return ours_; }
  FlowId far_id() const { return theirs_; }
  bool full() const { return messages_.full(); }  // OnPosted must wait.
  bool ready() const;  // Next() would return something.
  bool idle() const;   // No request is open.

  // B. What happened.
  void OnPosted(Request* request);
  // What became of the bytes: placed, or why not.
  enum class Placed : uint8_t { kNew, kDuplicate, kUnexpected };
  Placed OnData(const wire::Cargo& cargo, uint32_t message_bytes,
                std::span<const std::byte> payload);
  void OnSettled(const wire::Cargo& grant, bool delivered);
  // Every request is done and says why; later ones are done at once.
  void OnFailed(Request::Outcome why);

  // C. What next.
  std::optional<wire::Cargo> Next();                     // A grant, as cargo.
  wire::Grant Describe(const wire::Cargo& grant) const;  // Its content, now.

 private:
  struct Message {
    Request* request = nullptr;
    RangeSet arrived;
    bool done = false;
  };
  Message* Find(MessageId message);

  FlowId ours_, theirs_;
  Ring<Message> messages_;         // Index == MessageId, while it fits 32 bits.
  uint64_t next_grant_ = 0;        // The oldest message never granted.
  std::vector<MessageId> lost_grants_;
  bool failed_ = false;
  Request::Outcome failure_ = Request::Outcome::kOk;
};

}  // namespace hawser
