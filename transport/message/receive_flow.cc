// Why the judge of duplicates sits here: paths deliver what they are given, as
// often as it is sent, and only the flow knows which bytes are still missing.
// Whether a cargo is new is decided by its bytes and not by its packet, so a
// resend may be cut differently from the first copy, and it does not matter
// which of them comes first.
//
// Three places a message can be, told by its signed distance (RFC 1982; ids
// wrap at 2^32) from the oldest open one: behind the window it was done, so
// its cargo is a late copy; in the window it is judged; ahead of it nobody has
// asked for it, so nothing may be kept.
#include "transport/message/receive_flow.h"

#include <algorithm>
#include <bit>

#include "transport/base/check.h"

namespace hawser {
namespace {

constexpr uint64_t Bit(uint64_t index) {
  return uint64_t{1} << (index % ReceiveFlow::kMaxOpenMessages);
}

}  // namespace

ReceiveFlow::ReceiveFlow(FlowId id, MessageId first)
    : id_(id),
      first_(first),
      messages_(kMaxOpenMessages),
      assemblies_(kMaxOpenMessages) {}

bool ReceiveFlow::ready() const {
  return owes_grants() || next_grant_ != admitted_end_;
}

// The front is open or there is none: what is done leaves from there.
bool ReceiveFlow::idle() const { return messages_.empty(); }

bool ReceiveFlow::exposed() const {
  for (uint64_t i = messages_.begin(); i != next_grant_; ++i) {
    const Request* request = messages_[i].request;
    if (request != nullptr && HasTarget(request->memory)) return true;
  }
  return false;
}

void ReceiveFlow::OnPosted(Request* request) {
  if (failed_) {
    request->Finish(failure_, 0);
    return;
  }
  watched_ = request->watched;
  const uint64_t index =
      messages_.Push({.request = request, .bytes = std::nullopt});
  assemblies_[index % kMaxOpenMessages].Clear();
  short_ |= Bit(index);
}

ReceiveFlow::Placed ReceiveFlow::OnData(const wire::Cargo& cargo, bool last,
                                        std::span<const std::byte> payload) {
  if (payload.size() != cargo.length) return Placed::kUnexpected;
  return Take(cargo, last, payload.data());
}

ReceiveFlow::Placed ReceiveFlow::OnPlaced(const wire::Cargo& cargo, bool last) {
  return Take(cargo, last, nullptr);
}

ReceiveFlow::Placed ReceiveFlow::Take(const wire::Cargo& cargo, bool last,
                                      const std::byte* bytes) {
  const int64_t ahead = Ahead(cargo.message);
  if (ahead < 0) {
    // Done, unless it lies before the first message there ever was.
    return messages_.begin() >= static_cast<uint64_t>(-ahead)
               ? Placed::kDuplicate
               : Placed::kUnexpected;
  }
  const uint64_t index = messages_.begin() + static_cast<uint64_t>(ahead);
  if (index >= next_grant_) return Placed::kUnexpected;
  Message& message = messages_[index];
  if (message.request == nullptr) return Placed::kDuplicate;

  Assembly& assembly = assemblies_[index % kMaxOpenMessages];
  if (cargo.length == 0 && !last) {
    // It is larger than its grant.
    if (assembly.end() != 0 || message.carried != 0) return Placed::kUnexpected;
    Finish(index, Request::Outcome::kTruncated, 0);
    return Placed::kNew;
  }
  if (!Fits(cargo, last, message, assembly)) return Placed::kUnexpected;
  if (last) message.bytes = cargo.offset + cargo.length;
  const MemorySlice& memory = message.request->memory;
  if (cargo.length != 0 && bytes != nullptr && IsGpu(memory.key)) {
    if (assembly.Has(cargo.offset, cargo.length)) return Placed::kDuplicate;
    ++message.carried;
    Begin(message);
    return Placed::kCarry;
  }
  if (cargo.length != 0 &&
      !assembly.Add(memory.data, cargo.offset, cargo.length, bytes)) {
    return Placed::kDuplicate;
  }
  Begin(message);
  FinishIfWhole(index);
  return Placed::kNew;
}

bool ReceiveFlow::Fits(const wire::Cargo& cargo, bool last,
                       const Message& message, const Assembly& assembly) {
  const uint32_t capacity = message.request->memory.length;
  const uint64_t end = cargo.offset + uint64_t{cargo.length};
  return end <= message.bytes.value_or(capacity) && end <= capacity &&
         (!last ||
          end >= std::max(assembly.end(), message.bytes.value_or(0))) &&
         (cargo.length != 0 || end == 0);
}

std::span<std::byte> ReceiveFlow::PlaceOf(const wire::Cargo& cargo,
                                          bool last) const {
  const auto index = Find(cargo.message);
  if (!index || *index >= next_grant_ || cargo.length == 0) return {};
  const Message& message = messages_[*index];
  const MemorySlice& memory = message.request->memory;
  const Assembly& assembly = assemblies_[*index % kMaxOpenMessages];
  if (message.request->watched || IsGpu(memory.key) ||
      !Fits(cargo, last, message, assembly) ||
      assembly.Meets(cargo.offset, cargo.offset + cargo.length)) {
    return {};
  }
  return {memory.data + cargo.offset, cargo.length};
}

// Another copy may have come meanwhile, but this one was being written until
// now, and the request has waited for it.
ReceiveFlow::Placed ReceiveFlow::OnCarried(const wire::Cargo& cargo,
                                           bool last) {
  const auto index = Find(cargo.message);
  if (!index) return Placed::kUnexpected;  // It failed.
  HAWSER_CHECK(messages_[*index].carried > 0);
  --messages_[*index].carried;
  const Placed placed = Take(cargo, last, nullptr);
  // kUnexpected: an end has come since that lies before this piece, which is
  // the sender's mistake and no reason to wait for ever.
  if (placed != Placed::kNew) FinishIfWhole(*index);
  return placed;
}

void ReceiveFlow::OnSettled(const wire::Cargo& grant, bool delivered) {
  if (delivered) return;
  for (uint32_t i = 0; i <= grant.length; ++i) {
    // A message that is done had its grant, whatever became of this one.
    const auto index = Find(MessageId{grant.message.value + i});
    if (!index) continue;
    HAWSER_CHECK(*index < next_grant_);
    lost_grants_ |= Bit(*index);
  }
}

void ReceiveFlow::OnFailed(Request::Outcome why) {
  if (failed_) return;  // The first reason is the true one.
  failed_ = true;
  failure_ = why;
  while (!messages_.empty()) {
    const Message message = messages_.Pop();
    if (message.request != nullptr) message.request->Finish(why, 0);
  }
  next_grant_ = admitted_end_ = messages_.end();
  lost_grants_ = raised_grants_ = short_ = 0;
  begun_ = 0;
}

// Posted buffers are often larger than what will come, and then whoever takes
// them at their word admits one message at a time where many would fit. So a
// message is taken to be as long as those before it were, until it is longer.
uint32_t ReceiveFlow::LikelyBytes(uint64_t index) const {
  const Message& message = messages_[index];
  const uint32_t capacity = message.request->memory.length;
  if (message.bytes) return *message.bytes;
  const uint32_t covered =
      assemblies_[index % kMaxOpenMessages].covered_bytes();
  return covered < usual_bytes_ ? std::min(usual_bytes_, capacity) : capacity;
}

uint32_t ReceiveFlow::Admit(uint64_t ahead_bytes) {
  uint32_t raised = 0;
  uint64_t ahead = 0;
  for (uint64_t i = messages_.begin();
       i != messages_.end() && short_ != 0 && ahead < ahead_bytes; ++i) {
    const Message& message = messages_[i];
    if (message.request == nullptr) continue;
    if (ahead_bytes == kNoLimit) {
      if ((short_ & Bit(i)) == 0) continue;
      raised += Raise(i, message.request->memory.length);
      continue;
    }
    const uint32_t likely = LikelyBytes(i);
    const uint32_t covered = assemblies_[i % kMaxOpenMessages].covered_bytes();
    const uint64_t most = std::min<uint64_t>(covered + ahead_bytes - ahead,
                                             std::max(likely, covered));
    if (most == likely || most >= message.admitted_bytes + ahead_bytes / 2) {
      raised += Raise(i, static_cast<uint32_t>(most));
    } else if (i >= admitted_end_) {
      break;
    }
    const uint32_t coming = std::min(message.admitted_bytes, likely);
    ahead += coming - std::min(coming, covered);
  }
  return raised;
}

// Returns 1 if its grant is to be sent again, which none is before it was sent.
uint32_t ReceiveFlow::Raise(uint64_t index, uint32_t admitted_bytes) {
  Message& message = messages_[index];
  admitted_end_ = std::max(admitted_end_, index + 1);
  if (message.request->memory.length <= admitted_bytes) short_ &= ~Bit(index);
  if (admitted_bytes <= message.admitted_bytes) return 0;
  message.admitted_bytes = admitted_bytes;
  if (index >= next_grant_) return 0;
  raised_grants_ |= Bit(index);
  return 1;
}

bool ReceiveFlow::HasTarget(const MemorySlice& memory) {
  return memory.key != 0 &&
         (memory.length >= kLeastPlacedBytes || IsGpu(memory.key));
}

bool ReceiveFlow::Alike(uint64_t a, uint64_t b) const {
  const Message &one = messages_[a], &other = messages_[b];
  return one.request->memory.length == other.request->memory.length &&
         one.admitted_bytes == other.admitted_bytes &&
         !HasTarget(one.request->memory) && !HasTarget(other.request->memory);
}

std::optional<wire::Cargo> ReceiveFlow::Next() {
  uint64_t index = next_grant_;
  uint32_t more = 0;
  const uint64_t again = lost_grants_ | raised_grants_;
  bool resend = false;
  if (again != 0) {
    // Turned so that bit 0 is the oldest message.
    const int turn = static_cast<int>(messages_.begin() % kMaxOpenMessages);
    index = messages_.begin() +
            static_cast<uint64_t>(std::countr_zero(std::rotr(again, turn)));
    resend = (lost_grants_ & Bit(index)) != 0;
    uint64_t end = index;
    do {
      lost_grants_ &= ~Bit(end);
      raised_grants_ &= ~Bit(end);
      ++end;
    } while (end != next_grant_ && (again & Bit(end)) != 0 &&
             Alike(index, end));
    more = static_cast<uint32_t>(end - index - 1);
  } else if (next_grant_ != admitted_end_) {
    while (++next_grant_ != admitted_end_ && Alike(index, next_grant_)) ++more;
  } else {
    return std::nullopt;
  }
  wire::Cargo grant;
  grant.kind = wire::CargoKind::kGrant;
  grant.resend = resend;
  grant.flow = id_;
  grant.message = IdOf(index);
  grant.length = more;
  return grant;
}

// Without a target the host places the bytes.
wire::Grant ReceiveFlow::Describe(const wire::Cargo& grant) const {
  const auto index = Find(grant.message);
  HAWSER_CHECK(index.has_value());
  const Message& message = messages_[*index];
  const MemorySlice& memory = message.request->memory;
  wire::Grant content;
  content.capacity_bytes = memory.length;
  content.admitted_bytes = message.admitted_bytes;
  if (HasTarget(memory)) {
    content.target = {reinterpret_cast<uint64_t>(memory.data), memory.key};
  }
  return content;
}

MemorySlice ReceiveFlow::Place(const wire::Cargo& cargo) const {
  const auto index = Find(cargo.message);
  HAWSER_CHECK(index.has_value());
  const MemorySlice& memory = messages_[*index].request->memory;
  HAWSER_CHECK(cargo.offset + uint64_t{cargo.length} <= memory.length);
  return {memory.data + cargo.offset, cargo.length, memory.key};
}

MessageId ReceiveFlow::IdOf(uint64_t index) const {
  return {first_.value + static_cast<uint32_t>(index)};
}

int64_t ReceiveFlow::Ahead(MessageId message) const {
  return static_cast<int32_t>(message.value - IdOf(messages_.begin()).value);
}

std::optional<uint64_t> ReceiveFlow::Find(MessageId message) const {
  // A message behind the window becomes an index beyond any window.
  const uint64_t index =
      messages_.begin() + static_cast<uint64_t>(Ahead(message));
  if (!messages_.contains(index) || messages_[index].request == nullptr) {
    return std::nullopt;
  }
  return index;
}

void ReceiveFlow::Begin(Message& message) {
  if (message.begun) return;
  message.begun = true;
  ++begun_;
}

void ReceiveFlow::FinishIfWhole(uint64_t index) {
  const Message& message = messages_[index];
  if (message.carried != 0 ||
      message.bytes != assemblies_[index % kMaxOpenMessages].covered_bytes()) {
    return;
  }
  Finish(index, Request::Outcome::kOk, *message.bytes);
}

void ReceiveFlow::Finish(uint64_t index, Request::Outcome how, uint32_t bytes) {
  Message& message = messages_[index];
  message.request->Finish(how, bytes);
  message.request = nullptr;
  if (message.begun) --begun_;
  usual_bytes_ = std::max(bytes, usual_bytes_ / 2);
  lost_grants_ &= ~Bit(index);
  raised_grants_ &= ~Bit(index);
  short_ &= ~Bit(index);
  while (!messages_.empty() && messages_.front().request == nullptr) {
    messages_.Pop();
  }
}

}  // namespace hawser
