// The sending half of a flow: messages in, cargo out. Messages meet their
// grants in order; their bytes may leave and be settled in any order.
// Knows: messages, grants, bytes.  Never: paths, numbers, time.
//
// Message m is the m-th request submitted. It may leave once the receiver's
// m-th receive was granted. A message larger than its grant is not sent: one
// empty cargo tells the receiver its size, and both requests end kTruncated.
// Every cut lies on a multiple of kLineBytes from the start of the message.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "transport/base/ids.h"
#include "transport/base/memory.h"
#include "transport/base/ring.h"
#include "transport/message/request.h"
#include "transport/wire/header.h"

namespace hawser {

class SendFlow {
 public:
  // Messages whose fate is open, at most. A request beyond is refused by
  // `full`, and waits in its ring.
  static constexpr uint32_t kMaxOpenMessages = 64;
  // Grants may run ahead of messages: by those a receiver may have open
  // (kMaxOpenMessages) after all those that were sent but not yet settled.
  static constexpr uint32_t kMaxGrants = 2 * kMaxOpenMessages;

  SendFlow(FlowId ours, FlowId theirs);

  // A. What is.
  FlowId id() const { return ours_; }
  FlowId far_id() const { return theirs_; }
  bool full() const { return messages_.full(); }  // OnSubmitted must wait.
  bool ready() const;    // Next() would return something.
  bool idle() const;     // No request is open.
  uint32_t message_bytes(MessageId message) const;

  // B. What happened.
  void OnConnected(FlowId theirs) { theirs_ = theirs; }
  void OnSubmitted(Request* request);
  // False: a grant outside of the window, which no honest receiver sends.
  bool OnGrant(MessageId message, const wire::Grant& grant);
  void OnSettled(const wire::Cargo& cargo, bool delivered);
  // Every request is done and says why; later ones are done at once.
  void OnFailed(Request::Outcome why);

  // C. What next. Lost bytes before new ones, older messages before younger;
  // at most `max_bytes` (a multiple of kLineBytes, > 0) of payload.
  std::optional<wire::Cargo> Next(uint32_t max_bytes);
  MemorySlice Payload(const wire::Cargo& cargo) const;

 private:
  struct Message {
    Request* request = nullptr;
    uint32_t bytes = 0;         // Its length; 0 also when truncated.
    uint32_t sent_bytes = 0;    // Cut off so far, first copies.
    uint32_t settled_bytes = 0;
    bool empty_sent = false;    // The one cargo of an empty message is out...
    bool empty_settled = false;  // ...and has arrived.
    bool granted = false;
    bool truncated = false;
    bool done = false;
  };
  Message* Find(MessageId message);
  const Message* Find(MessageId message) const;
  bool HasUnsent(const Message& message) const;
  void FinishIfComplete(Message& message);

  FlowId ours_, theirs_;
  Ring<Message> messages_;         // Index == MessageId, while it fits 32 bits.
  std::vector<uint32_t> granted_capacity_;  // Ring of kMaxGrants, by id.
  std::vector<bool> granted_;               // The same.
  uint64_t next_unsent_ = 0;       // The oldest message with unsent bytes.
  std::vector<wire::Cargo> lost_;  // To be sent again, oldest last.
  bool failed_ = false;
  Request::Outcome failure_ = Request::Outcome::kOk;
};

}  // namespace hawser
