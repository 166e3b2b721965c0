// Why bits and a heap: Next is asked for every packet, and must not look at
// messages that have nothing to say. Which messages may leave is one word, a
// bit per slot of the window, so the oldest is found with a rotation and a
// count of zeros; and a grant that is late holds up its own message and no
// other. What was lost waits in a heap by message and offset, because a dead
// path gives back everything it had at once, in any order relative to other
// paths, and a sorted list would then be shifted once per cargo.
//
// Message ids wrap at 2^32 and indexes do not: an id is read as the index
// nearest to the window, by signed distance (RFC 1982).
#include "transport/message/send_flow.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "transport/base/check.h"
#include "transport/base/copy_lines.h"

namespace hawser {
namespace {

// Cargos of one path's full window, which a dead path gives back; more than
// that is rare enough to pay for growing. Most flows never lose one, and need
// no room for it.
constexpr size_t kLostAtFirst = 256;

constexpr uint64_t Bit(uint64_t index) {
  return uint64_t{1} << (index % SendFlow::kMaxOpenMessages);
}

uint32_t RoundUpToLine(uint32_t bytes) {
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

// The order of the heap: the greatest is the oldest. Lost cargos never overlap.
bool IsYounger(const wire::Cargo& a, const wire::Cargo& b) {
  if (a.message != b.message) return Before(b.message, a.message);
  return a.offset > b.offset;
}

}  // namespace

SendFlow::SendFlow(FlowId id, MessageId first)
    : id_(id), first_(first), messages_(kMaxOpenMessages) {}

bool SendFlow::ready() const { return sendable_ != 0 || !lost_.empty(); }

// The front is open or there is none: what is done leaves from there.
bool SendFlow::idle() const { return messages_.empty(); }

bool SendFlow::IsLast(const wire::Cargo& cargo) const {
  const Message* message = Find(cargo.message);
  HAWSER_CHECK(message != nullptr);
  return !message->truncated && cargo.offset + cargo.length == message->bytes;
}

void SendFlow::OnSubmitted(Request* request) {
  if (failed_) {
    request->Finish(failure_, 0);
    return;
  }
  const uint64_t index =
      messages_.Push({.request = request, .bytes = request->memory.length});
  if (granted_[index % kMaxGrants]) Admit(index);
}

bool SendFlow::OnGrant(const wire::Cargo& granted, const wire::Grant& grant) {
  bool good = true;
  for (uint32_t i = 0; i <= granted.length; ++i) {
    good &= OnGrant(MessageId{granted.message.value + i}, grant);
  }
  return good;
}

bool SendFlow::OnGrant(MessageId message, const wire::Grant& grant) {
  if (failed_) return true;
  const int64_t ahead = Ahead(message);
  // An old grant that comes twice is no news; one from before the first
  // message is no grant of ours.
  if (ahead < 0) return messages_.begin() >= static_cast<uint64_t>(-ahead);
  if (ahead >= kMaxGrants) return false;
  const uint64_t index = messages_.begin() + static_cast<uint64_t>(ahead);
  wire::Grant& known = grants_[index % kMaxGrants];
  if (!granted_[index % kMaxGrants]) {
    granted_[index % kMaxGrants] = true;
    known = grant;
    if (messages_.contains(index)) Admit(index);
    return true;
  }
  // It may have overtaken one that admits more.
  if (grant.admitted_bytes <= known.admitted_bytes) return true;
  known.admitted_bytes = grant.admitted_bytes;
  if (!messages_.contains(index)) return true;
  Message& admitted = messages_[index];
  admitted.admitted_bytes = grant.admitted_bytes;
  if (admitted.request != nullptr &&
      admitted.sent_bytes <
          std::min(admitted.admitted_bytes, admitted.bytes_to_send)) {
    sendable_ |= Bit(index);
  }
  return true;
}

void SendFlow::OnSettled(const wire::Cargo& cargo, bool delivered) {
  Message* message = Find(cargo.message);
  if (message == nullptr) return;  // It failed while this was on its way.
  HAWSER_CHECK(message->settled_bytes + uint64_t{cargo.length} <=
               message->sent_bytes);
  if (!delivered) {
    if (lost_.capacity() == 0) lost_.reserve(kLostAtFirst);
    lost_.push_back(cargo);
    std::push_heap(lost_.begin(), lost_.end(), IsYounger);
    return;
  }
  message->settled_bytes += cargo.length;
  // An empty message has one cargo, and this was it.
  if (message->settled_bytes == message->bytes_to_send) Finish(*message);
}

void SendFlow::OnReceived(MessageId first_open) {
  while (!messages_.empty() && Before(IdOf(messages_.begin()), first_open)) {
    Message& message = messages_.front();
    sendable_ &= ~Bit(messages_.begin());
    std::erase_if(lost_, [&](const wire::Cargo& cargo) {
      return cargo.message == IdOf(messages_.begin());
    });
    std::make_heap(lost_.begin(), lost_.end(), IsYounger);
    Finish(message);
  }
}

void SendFlow::OnFailed(Request::Outcome why) {
  if (failed_) return;  // The first reason is the true one.
  failed_ = true;
  failure_ = why;
  while (!messages_.empty()) {
    const Message message = messages_.Pop();
    if (message.request != nullptr) message.request->Finish(why, 0);
  }
  sendable_ = 0;
  lost_.clear();
}

std::optional<wire::Cargo> SendFlow::Next(uint32_t max_bytes,
                                          bool short_first) {
  HAWSER_CHECK(max_bytes > 0 && max_bytes % wire::kCutBytes == 0);
  if (!lost_.empty()) return NextLost(max_bytes);
  if (sendable_ != 0) return NextNew(max_bytes, short_first);
  return std::nullopt;
}

RemoteSlice SendFlow::NextTarget() const {
  if (!lost_.empty() || sendable_ == 0) return {};
  const Message& message = messages_[OldestSendable()];
  // Both NICs must reach their memory.
  if (message.target.key == 0 || message.request->memory.key == 0) return {};
  return {message.target.address + message.sent_bytes, message.target.key};
}

RemoteSlice SendFlow::Target(const wire::Cargo& cargo) const {
  const Message* message = Find(cargo.message);
  HAWSER_CHECK(message != nullptr);
  if (message->target.key == 0) return {};
  return {message->target.address + cargo.offset, message->target.key};
}

MemorySlice SendFlow::Payload(const wire::Cargo& cargo) const {
  const Message* message = Find(cargo.message);
  HAWSER_CHECK(message != nullptr);
  HAWSER_CHECK(cargo.offset + uint64_t{cargo.length} <= message->sent_bytes);
  const MemorySlice& memory = message->request->memory;
  return {.data = memory.data + cargo.offset,
          .length = cargo.length,
          .key = memory.key};
}

MessageId SendFlow::IdOf(uint64_t index) const {
  return {first_.value + static_cast<uint32_t>(index)};
}

int64_t SendFlow::Ahead(MessageId message) const {
  return static_cast<int32_t>(message.value - IdOf(messages_.begin()).value);
}

SendFlow::Message* SendFlow::Find(MessageId message) {
  return const_cast<Message*>(std::as_const(*this).Find(message));
}

const SendFlow::Message* SendFlow::Find(MessageId message) const {
  // A message behind the window becomes an index beyond any window.
  const uint64_t index =
      messages_.begin() + static_cast<uint64_t>(Ahead(message));
  if (!messages_.contains(index)) return nullptr;
  const Message& found = messages_[index];
  return found.request == nullptr ? nullptr : &found;
}

// A message and its grant have met. What has no bytes to send needs none of
// them admitted.
void SendFlow::Admit(uint64_t index) {
  Message& message = messages_[index];
  const wire::Grant& grant = grants_[index % kMaxGrants];
  message.truncated = message.bytes > grant.capacity_bytes;
  message.target = grant.target;
  message.bytes_to_send = message.truncated ? 0 : message.bytes;
  message.admitted_bytes = grant.admitted_bytes;
  if (message.bytes_to_send == 0 || message.admitted_bytes > 0) {
    sendable_ |= Bit(index);
  }
}

void SendFlow::Finish(Message& message) {
  if (message.truncated) {
    message.request->Finish(Request::Outcome::kTruncated, 0);
  } else {
    message.request->Finish(Request::Outcome::kOk, message.bytes);
  }
  message.request = nullptr;
  while (!messages_.empty() && messages_.front().request == nullptr) {
    // The slot now stands for the message kMaxGrants later.
    granted_[messages_.begin() % kMaxGrants] = false;
    messages_.Pop();
  }
}

// A NIC that places bytes holds no word back, so that nobody may split a line
// of such a message (message/assembly.h).
uint32_t SendFlow::CutOf(const Message& message, uint32_t max_bytes) {
  return message.target.key == 0 || max_bytes < kLineBytes
             ? max_bytes
             : max_bytes / kLineBytes * kLineBytes;
}

wire::Cargo SendFlow::NextLost(uint32_t max_bytes) {
  wire::Cargo& oldest = lost_.front();
  wire::Cargo cargo = oldest;
  cargo.resend = true;
  max_bytes = CutOf(*Find(cargo.message), max_bytes);
  if (cargo.length > max_bytes) {
    // The rest is older than all others still: it keeps its place on top.
    cargo.length = max_bytes;
    oldest.offset += max_bytes;
    oldest.length -= max_bytes;
    return cargo;
  }
  std::pop_heap(lost_.begin(), lost_.end(), IsYounger);
  lost_.pop_back();
  return cargo;
}

uint64_t SendFlow::OldestSendable() const {
  // Turned so that bit 0 is the oldest message.
  const int turn = static_cast<int>(messages_.begin() % kMaxOpenMessages);
  return messages_.begin() +
         static_cast<uint64_t>(std::countr_zero(std::rotr(sendable_, turn)));
}

wire::Cargo SendFlow::NextNew(uint32_t max_bytes, bool short_first) {
  const uint64_t index = OldestSendable();
  Message& message = messages_[index];
  max_bytes = CutOf(message, max_bytes);
  wire::Cargo cargo;
  cargo.kind = wire::CargoKind::kData;
  cargo.flow = id_;
  cargo.message = IdOf(index);
  cargo.offset = message.sent_bytes;
  const uint32_t left = message.bytes_to_send - message.sent_bytes;
  cargo.length = std::min(max_bytes, left);
  if (short_first && message.sent_bytes == 0 && left % max_bytes != 0) {
    cargo.length = std::min(cargo.length, RoundUpToLine(left % max_bytes));
  }
  message.sent_bytes += cargo.length;
  if (message.sent_bytes >=
      std::min(message.admitted_bytes, message.bytes_to_send)) {
    sendable_ &= ~Bit(index);
  }
  return cargo;
}

}  // namespace hawser
