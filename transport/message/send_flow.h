// The sending half of a flow: messages in, cargo out. Messages meet their
// grants in order; their bytes may leave and be settled in any order.
// Knows: messages, grants, bytes.  Never: paths, numbers, time.
//
// Message m is the m-th request submitted. It may leave once the receiver's
// m-th receive was granted, as far as it is admitted; a packet that admission
// reaches into leaves whole. A message larger than its grant is not sent: one
// empty cargo tells the receiver its size, and both requests end kTruncated.
// Every cut lies on a multiple of wire::kCutBytes from the start of the
// message; of kLineBytes where the far NIC may place some of its bytes.
#pragma once

#include <array>
#include <bitset>
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

  // `first` is the id of the first message; both halves must agree on it.
  explicit SendFlow(FlowId id, MessageId first = MessageId{0});

  // A. What is.
  FlowId id() const { return id_; }
  bool full() const { return messages_.full(); }  // OnSubmitted must wait.
  bool ready() const;  // Next() would return something.
  bool idle() const;   // No request is open.
  // An open message ends with these bytes of it, and not because it is larger
  // than its grant.
  bool IsLast(const wire::Cargo& cargo) const;
  bool open(MessageId message) const { return Find(message) != nullptr; }
  // Where there the bytes of a cargo of an open message belong; key == 0: only
  // the far host can put them there.
  RemoteSlice Target(const wire::Cargo& cargo) const;

  // B. What happened.
  void OnSubmitted(Request* request);
  // One that comes again may admit more, and never admits less. False: some of
  // it is outside of the window, which no honest receiver sends.
  bool OnGrant(const wire::Cargo& granted, const wire::Grant& grant);
  void OnSettled(const wire::Cargo& cargo, bool delivered);
  // The receiver has all messages before `first_open`, whatever acks are still
  // on their way.
  void OnReceived(MessageId first_open);
  // Every request is done and says why; later ones are done at once.
  void OnFailed(Request::Outcome why);

  // C. What next. Lost bytes before new ones, older messages before younger;
  // at most `max_bytes` (a multiple of wire::kCutBytes, > 0) of payload.
  // `short_first`: of a message that takes several packets, the one with less
  // than that is the first, not the last.
  std::optional<wire::Cargo> Next(uint32_t max_bytes, bool short_first = false);
  // The Target of what Next would return if that is a first copy.
  RemoteSlice NextTarget() const;
  // Of a cargo whose fate is open.
  MemorySlice Payload(const wire::Cargo& cargo) const;

 private:
  struct Message {
    Request* request = nullptr;  // nullptr: done, and waits for older ones.
    uint32_t bytes = 0;          // Its true length...
    uint32_t bytes_to_send = 0;  // ...and what of it travels: 0 if truncated.
    uint32_t sent_bytes = 0;     // Cut off so far, first copies.
    uint32_t settled_bytes = 0;
    uint32_t admitted_bytes = 0;
    bool truncated = false;
    RemoteSlice target = {};
  };

  MessageId IdOf(uint64_t index) const;
  int64_t Ahead(MessageId message) const;  // Of the oldest open one.
  Message* Find(MessageId message);        // nullptr: not open.
  const Message* Find(MessageId message) const;
  bool OnGrant(MessageId message, const wire::Grant& grant);
  void Admit(uint64_t index);
  void Finish(Message& message);
  static uint32_t CutOf(const Message& message, uint32_t max_bytes);
  wire::Cargo NextLost(uint32_t max_bytes);
  wire::Cargo NextNew(uint32_t max_bytes, bool short_first);
  uint64_t OldestSendable() const;

  FlowId id_;
  MessageId first_;
  Ring<Message> messages_;  // The n-th submitted has index n.
  // Bit per slot of messages_: granted, and not all that is admitted has left.
  uint64_t sendable_ = 0;
  static_assert(kMaxOpenMessages == 64, "one bit of sendable_ each");
  // Both by index modulo kMaxGrants, from messages_.begin() on.
  std::bitset<kMaxGrants> granted_;
  std::array<wire::Grant, kMaxGrants> grants_ = {};
  std::vector<wire::Cargo> lost_;  // To be sent again; a heap, oldest on top.
  bool failed_ = false;
  Request::Outcome failure_ = Request::Outcome::kOk;
};

}  // namespace hawser
