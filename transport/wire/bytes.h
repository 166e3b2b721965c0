// Little-endian integers into and out of bytes, never beyond their end.
// Knows: a span, and how far one has come in it.  Never: what the bytes mean.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "transport/base/check.h"

namespace hawser::wire {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian: Load and Store would have to swap");

template <class Int>
inline Int Load(const std::byte* at) {
  Int value;
  std::memcpy(&value, at, sizeof(Int));
  return value;
}

template <class Int>
inline void Store(std::byte* at, std::type_identity_t<Int> value) {
  std::memcpy(at, &value, sizeof(Int));
}

// Writes one after the other. Running out of room is our own bug: whoever
// writes knows the size beforehand.
class Writer {
 public:
  explicit Writer(std::span<std::byte> out)
      : begin_(out.data()), at_(begin_), end_(begin_ + out.size()) {}

  size_t written() const { return static_cast<size_t>(at_ - begin_); }
  size_t room() const { return static_cast<size_t>(end_ - at_); }

  template <class Int>
  void Put(std::type_identity_t<Int> value) {
    HAWSER_CHECK(room() >= sizeof(Int));
    Store<Int>(at_, value);
    at_ += sizeof(Int);
  }
  void PutBytes(std::span<const std::byte> bytes) {
    HAWSER_CHECK(room() >= bytes.size());
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }

 private:
  std::byte* begin_;
  std::byte* at_;
  std::byte* end_;
};

// Reads one after the other. Running out of bytes is the sender's fault: what
// is missing reads as zero, and `whole` is false from then on, so that it need
// be asked only once, at the end.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in)
      : at_(in.data()), end_(at_ + in.size()) {}

  bool whole() const { return whole_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }

  template <class Int>
  Int Take() {
    if (left() < sizeof(Int)) {
      Fail();
      return 0;
    }
    const Int value = Load<Int>(at_);
    at_ += sizeof(Int);
    return value;
  }
  // Empty if there are fewer than `count`.
  std::span<const std::byte> TakeBytes(size_t count) {
    if (left() < count) {
      Fail();
      return {};
    }
    const std::span<const std::byte> bytes(at_, count);
    at_ += count;
    return bytes;
  }

 private:
  void Fail() {
    at_ = end_;
    whole_ = false;
  }

  const std::byte* at_;
  const std::byte* end_;
  bool whole_ = true;
};

}  // namespace hawser::wire
