// The Internet checksum (RFC 1071), in parts.
// Knows: ones' complement sums.  Never: which header they stand in.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace hawser {

// A sum over 16-bit words as they lie in memory, not folded yet. The sum does
// not care about byte order (RFC 1071, section 2, B), so nobody swaps. No
// packet is large enough to lose a carry.
struct ChecksumPart {
  uint64_t sum = 0;
};

namespace checksum {
inline constexpr size_t kBlockBytes = 64;
uint64_t SumOfBlocks(const std::byte* at, size_t blocks);
}  // namespace checksum

inline ChecksumPart SumOf(std::span<const std::byte> bytes) {
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  uint64_t sum = 0;
  if (left >= checksum::kBlockBytes) {
    sum = checksum::SumOfBlocks(at, left / checksum::kBlockBytes);
    at += left / checksum::kBlockBytes * checksum::kBlockBytes;
    left %= checksum::kBlockBytes;
  }
  uint32_t word = 0;
  for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
    std::memcpy(&word, at, sizeof word);
    sum += word;
  }
  if (left > 0) {
    word = 0;
    std::memcpy(&word, at, left);
    sum += word;
  }
  return {sum};
}

inline ChecksumPart operator+(ChecksumPart a, ChecksumPart b) {
  const uint64_t sum = a.sum + b.sum;
  return {sum + (sum < a.sum)};
}

// Of bytes that follow an odd number of others: they change places in their
// words (the same, B).
inline ChecksumPart AfterOdd(ChecksumPart part) {
  uint64_t sum = (part.sum >> 32) + (part.sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return {(sum << 8 | sum >> 8) & 0xffff};
}

// As it stands in a header: complemented, and in memory's order. 0xffff or 0
// where the bytes add up to nothing.
inline uint16_t Fold(ChecksumPart part) {
  uint64_t sum = (part.sum >> 32) + (part.sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<uint16_t>(~sum);
}

// One word in network order.
inline ChecksumPart SumOfWord(uint16_t host_order) {
  if constexpr (std::endian::native == std::endian::little) {
    host_order = static_cast<uint16_t>(host_order << 8 | host_order >> 8);
  }
  return {host_order};
}

}  // namespace hawser
