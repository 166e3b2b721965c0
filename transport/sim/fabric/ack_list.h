// AckList: the acks of one packet, each as long as what it says.
// Knows: words of acks.  Never: what they settle.
// An ack in hand has room for the longest there is; most have one word. Many
// thousands are on their way at once, so there they are kept as they travel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport/sim/fabric/fetch.h"
#include "transport/wire/header.h"

namespace hawser::sim {

class AckList {
 public:
  size_t size() const { return acks_.size(); }
  PathId path(size_t i) const { return acks_[i].path; }
  PacketNumber largest(size_t i) const { return acks_[i].largest; }
  size_t words() const { return acks_.size() + more_.size(); }
  wire::Ack operator[](size_t i) const {
    const Short& from = acks_[i];
    wire::Ack ack;
    ack.path = from.path;
    ack.largest = from.largest;
    ack.held = from.held;
    ack.ecn_marked = from.ecn_marked;
    ack.words = from.words;
    ack.arrived[0] = from.arrived;
    for (uint32_t w = 1; w < from.words; ++w) {
      ack.arrived[w] = more_[from.more + w - 1];
    }
    return ack;
  }

  void Add(const wire::Ack& ack) {
    acks_.push_back({ack.path, ack.ecn_marked, ack.words,
                     static_cast<uint32_t>(more_.size()), ack.largest, ack.held,
                     ack.arrived[0]});
    more_.insert(more_.end(), ack.arrived + 1, ack.arrived + ack.words);
  }
  // The first `count` of `other`.
  void Copy(const AckList& other, size_t count) {
    const size_t words =
        count < other.size() ? other.acks_[count].more : other.more_.size();
    acks_.assign(other.acks_.begin(),
                 other.acks_.begin() + static_cast<std::ptrdiff_t>(count));
    more_.assign(other.more_.begin(),
                 other.more_.begin() + static_cast<std::ptrdiff_t>(words));
  }
  void Fetch() const { sim::Fetch(acks_.data(), acks_.size()); }
  void Clear() {
    acks_.clear();
    more_.clear();
  }

 private:
  struct Short {
    PathId path;
    uint16_t ecn_marked;
    uint8_t words;
    uint32_t more;  // Where its second word is, if it has one.
    PacketNumber largest;
    Duration held;
    uint64_t arrived;
  };
  std::vector<Short> acks_;
  std::vector<uint64_t> more_;
};

}  // namespace hawser::sim
