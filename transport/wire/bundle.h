// Several small packets in one datagram.
// Knows: lengths.  Never: what the packets say.
//
// A message of a few bytes is one packet, but it rarely travels alone: the ack
// for what came before and the grant for what comes next go the same way at the
// same moment, and each datagram costs a pass through the system on both sides.
// So small packets to one peer under one entropy leave as a bundle:
//
//   offset  size  field
//   0       1     kBundleMagic
//   1       2     length of the first packet, little-endian
//   3       n     the first packet, whole
//   ...           length and packet again, to the end of the datagram
//
// Each packet carries its own check; the lengths need none, because a wrong
// one makes packets that do not pass theirs. (RFC 9000, section 12.2, coalesces
// packets for the same reason.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace hawser::wire {

inline constexpr std::byte kBundleMagic{0xb7};
inline constexpr size_t kBundlePrefixBytes = 1;
inline constexpr size_t kBundleLengthBytes = 2;  // Before each packet.
inline constexpr size_t kMaxBundledBytes = 0xffff;

// Walks the packets of a datagram; one that is no bundle is one packet. What
// is left when lengths and bytes do not agree is handed out as it is, for the
// packet decoder to refuse.
class BundleReader {
 public:
  // `rest_bytes` of the datagram are not at hand: the last packet ends with
  // them, and is handed out without.
  explicit BundleReader(std::span<const std::byte> datagram,
                        size_t rest_bytes = 0);
  bool at_last() const { return left_.empty(); }  // Next gave it out.
  std::optional<std::span<const std::byte>> Next();

 private:
  std::span<const std::byte> left_;
  size_t rest_bytes_;
  bool bundle_ = false;
};

// Builds a datagram in a buffer of the caller's. A packet alone is written as
// it is; the second one turns the datagram into a bundle.
class BundleWriter {
 public:
  explicit BundleWriter(std::span<std::byte> buffer) : buffer_(buffer) {}

  size_t size() const { return size_; }
  // Bytes of the datagram if a packet of so many bytes came next.
  size_t SizeWith(size_t packet_bytes) const;
  // The next packet is `head`, then `tail`, which are copied, then
  // `borrowed_bytes` that follow this buffer: no packet may come after those.
  void Append(std::span<const std::byte> head, std::span<const std::byte> tail,
              size_t borrowed_bytes);
  void Clear() { size_ = 0, packets_ = 0; }

 private:
  std::span<std::byte> buffer_;
  size_t size_ = 0;
  size_t packets_ = 0;
};

}  // namespace hawser::wire
