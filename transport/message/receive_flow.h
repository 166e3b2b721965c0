// The receiving half of a flow: buffers in, grants out, bytes to where they
// belong.
// Knows: messages, buffers, what has arrived.  Never: paths, numbers, time.
//
// Message m is received by the m-th request posted. Copies that come late,
// twice or after the end are ignored here and nowhere else, so that a buffer
// is never touched after its request is done.
//
// A message is granted when some of it is admitted, and again when more is. One
// grant may be of several that are alike.
// Older messages are admitted before younger ones, so whatever the sender can
// go on with is never held up by what it cannot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/base/ids.h"
#include "transport/base/ring.h"
#include "transport/message/assembly.h"
#include "transport/message/request.h"
#include "transport/wire/header.h"

namespace hawser {

class ReceiveFlow {
 public:
  static constexpr uint32_t kMaxOpenMessages = 64;
  static constexpr uint64_t kNoLimit = UINT64_MAX;  // Of Admit.
  // What is smaller travels with its header, which is one packet and not two
  // where packets hold as much. So no NIC need know where it belongs, unless
  // that is in a GPU.
  static constexpr uint32_t kLeastPlacedBytes = 1024;

  // `first` is the id of the first message; both halves must agree on it.
  explicit ReceiveFlow(FlowId id, MessageId first = MessageId{0});

  // A. What is.
  FlowId id() const { return id_; }
  bool full() const { return messages_.full(); }  // OnPosted must wait.
  bool ready() const;  // Next() would return something.
  bool idle() const;   // No request is open.
  // Messages that were granted and have not been received.
  uint64_t granted() const { return next_grant_ - messages_.begin(); }
  // A grant has told where its bytes belong, and a NIC may be putting them
  // there.
  bool exposed() const;
  // Of some message more may be sent than is admitted.
  bool wants_admission() const { return short_ != 0; }
  // A part has come of some message, so its sender has more to send.
  bool receiving() const { return begun_ > 0; }
  // Of some message more is admitted than its sender was told, or what it was
  // told was lost.
  bool owes_grants() const { return (lost_grants_ | raised_grants_) != 0; }
  // All messages before this one have been received whole.
  MessageId first_open() const { return IdOf(messages_.begin()); }
  // Is the memory of the latest receive?
  bool watched() const { return watched_; }
  // Where OnData would copy these bytes to, if whoever has them may put them
  // there itself, in any order: none of them has been here, and nobody looks
  // before the request is done. Else empty.
  std::span<std::byte> PlaceOf(const wire::Cargo& cargo, bool last) const;

  // B. What happened.
  void OnPosted(Request* request);  // None of it is admitted yet.
  // What became of the bytes: placed, or why not. kCarry: they belong where
  // this host cannot write, and a NIC is to put them there.
  enum class Placed : uint8_t { kNew, kDuplicate, kUnexpected, kCarry };
  // `last`: the message ends with these bytes (wire::PacketHeader). They may
  // lie at PlaceOf already.
  Placed OnData(const wire::Cargo& cargo, bool last,
                std::span<const std::byte> payload);
  // The same of bytes that the NIC has put where they belong.
  Placed OnPlaced(const wire::Cargo& cargo, bool last);
  // What was to be carried is there. Until then its request is not done.
  Placed OnCarried(const wire::Cargo& cargo, bool last);
  void OnSettled(const wire::Cargo& grant, bool delivered);
  // Every request is done and says why; later ones are done at once.
  void OnFailed(Request::Outcome why);

  // C. What next.
  // Admits more, until so much is admitted that has not come: of the oldest
  // messages, as long as they are likely to be. Half of it is too little to be
  // told. Returns how many grants are to be sent again.
  uint32_t Admit(uint64_t ahead_bytes);
  std::optional<wire::Cargo> Next();  // A grant, as cargo; old ones first.
  // The content, now, of a grant that Next has just returned.
  wire::Grant Describe(const wire::Cargo& grant) const;
  // Where the bytes of a cargo belong that is to be carried.
  MemorySlice Place(const wire::Cargo& cargo) const;

 private:
  struct Message {
    Request* request = nullptr;     // nullptr: done, and waits for older ones.
    std::optional<uint32_t> bytes;  // Its length, once its end has come.
    uint32_t carried = 0;           // Pieces that a NIC here is putting there.
    uint32_t admitted_bytes = 0;
    bool begun = false;  // A part of it has come.
  };

  MessageId IdOf(uint64_t index) const;
  int64_t Ahead(MessageId message) const;  // Of the oldest open one.
  static bool HasTarget(const MemorySlice& memory);
  // One grant speaks for both.
  bool Alike(uint64_t a, uint64_t b) const;
  // Its index; nullopt: it is not open.
  std::optional<uint64_t> Find(MessageId message) const;
  // What does not fit would be our peer's mistake; the buffer does not pay for
  // it.
  static bool Fits(const wire::Cargo& cargo, bool last, const Message& message,
                   const Assembly& assembly);
  // `bytes`: cargo.length of them; null: they are home.
  Placed Take(const wire::Cargo& cargo, bool last, const std::byte* bytes);
  void Begin(Message& message);
  void FinishIfWhole(uint64_t index);
  void Finish(uint64_t index, Request::Outcome how, uint32_t bytes);
  uint32_t LikelyBytes(uint64_t index) const;
  uint32_t Raise(uint64_t index, uint32_t admitted_bytes);

  FlowId id_;
  MessageId first_;
  Ring<Message> messages_;  // The n-th posted has index n.
  // By slot of messages_, and beside it: an Assembly keeps its memory when its
  // slot is used again.
  std::vector<Assembly> assemblies_;
  uint64_t next_grant_ = 0;    // Index of the oldest message never granted...
  uint64_t admitted_end_ = 0;  // ...and of the oldest never admitted.
  // Bit per slot: to be granted again, because the grant was lost, or because
  // more is admitted by now.
  uint64_t lost_grants_ = 0, raised_grants_ = 0;
  uint64_t short_ = 0;  // Bit per slot: less than its capacity is admitted.
  static_assert(kMaxOpenMessages == 64, "one bit of each");
  static_assert(kMaxOpenMessages == 1 + wire::kMaxMoreGranted);
  uint32_t begun_ = 0;  // Open messages of which a part has come.
  // The messages of late were no longer. 0: none has come.
  uint32_t usual_bytes_ = 0;
  bool watched_ = true;
  bool failed_ = false;
  Request::Outcome failure_ = Request::Outcome::kOk;
};

}  // namespace hawser
