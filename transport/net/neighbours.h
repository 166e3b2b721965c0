// Which Ethernet address an IP address on our link has: ARP (RFC 826) and
// neighbour discovery (RFC 4861).
// Knows: questions, answers, when to ask again.  Never: a clock, a port.
//
// Only addresses that were asked for are learnt, so a storm of others' packets
// leaves no trace. What is known stays in use while it is asked for anew: a
// neighbour that went silent is for those to notice who speak with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/base/ring.h"
#include "transport/base/time.h"
#include "transport/net/address.h"
#include "transport/net/frame.h"

namespace hawser {

class Neighbours {
 public:
  static constexpr size_t kMaxFrameBytes = 96;

  Neighbours(const MacAddress& mac, uint16_t vlan, const IpAddress& ip);

  // One that is to be found, at once; it stays. Returns its index, the same one
  // for the same address.
  size_t Add(const IpAddress& ip, Time now);
  // The same, and nobody need be asked.
  size_t AddKnown(const IpAddress& ip, const MacAddress& mac);

  // nullptr: not yet.
  const MacAddress* Find(size_t index) const;
  // It did not answer for as long as is usual to wait. It is still asked.
  bool silent(size_t index) const { return entries_[index].silent; }
  uint64_t changes() const { return changes_; }  // Grows with each news.

  // Everybody may have changed: they are all asked now.
  void AskAgain(Time now);

  // It answers a question, which may have been another's on this host: an ARP
  // reply, a neighbour advertisement.
  static bool IsAnswer(const ParsedFrame& frame);
  // An ARP packet or neighbour message that arrived.
  void OnFrame(const ParsedFrame& frame, Time now);
  // Writes what is to be sent next, and returns its size; 0: nothing, until
  // deadline(). `out` has kMaxFrameBytes.
  size_t TakeFrame(Time now, std::span<std::byte> out);
  Time deadline() const;

 private:
  // At first as often as a fast network deserves, at last as RFC 4861 has it
  // (RETRANS_TIMER, section 10).
  static constexpr Duration kFirstPause = Duration::Millis(10);
  static constexpr Duration kLongestPause = Duration::Seconds(1);
  // MAX_MULTICAST_SOLICIT times RETRANS_TIMER.
  static constexpr Duration kPatience = Duration::Seconds(3);
  // As long as Linux believes an answer, roughly.
  static constexpr Duration kFresh = Duration::Seconds(30);
  // Whoever finds no place asks again.
  static constexpr size_t kAnswers = 16;

  struct Entry {
    IpAddress ip;
    MacAddress mac;
    bool known = false;
    bool fixed = false;  // By whoever set us up.
    bool silent = false;
    Time ask_at;
    Time silent_at;
    Duration pause;
  };
  struct Answer {
    IpAddress ip;  // Of length 0: nobody has an address yet; told to all.
    MacAddress mac;
  };

  void Ask(Entry& entry, Time now);
  void OnArp(std::span<const std::byte> packet, Time now);
  void OnNeighbour(const ParsedFrame& frame, Time now);
  void Learn(const IpAddress& ip, const MacAddress& mac, Time now);
  size_t WriteArp(unsigned operation, const MacAddress& to_mac,
                  const IpAddress& to, std::span<std::byte> out) const;
  size_t WriteQuestion(const Entry& entry, std::span<std::byte> out) const;
  size_t WriteAnswer(const Answer& answer, std::span<std::byte> out) const;
  size_t WriteNeighbour(unsigned type, unsigned flags, const IpAddress& target,
                        const IpAddress& to, const MacAddress& to_mac,
                        std::span<std::byte> out) const;

  const MacAddress mac_;
  const uint16_t vlan_;
  const IpAddress ip_;
  std::vector<Entry> entries_;
  Ring<Answer> answers_{kAnswers};
  uint64_t changes_ = 0;
};

}  // namespace hawser
