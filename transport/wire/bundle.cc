#include "transport/wire/bundle.h"

#include <algorithm>
#include <cstring>

#include "transport/base/check.h"
#include "transport/wire/bytes.h"

namespace hawser::wire {

BundleReader::BundleReader(std::span<const std::byte> datagram,
                           size_t rest_bytes)
    : left_(datagram),
      rest_bytes_(rest_bytes),
      bundle_(datagram.size() > kBundlePrefixBytes &&
              datagram.front() == kBundleMagic) {
  if (bundle_) left_ = left_.subspan(kBundlePrefixBytes);
}

std::optional<std::span<const std::byte>> BundleReader::Next() {
  if (left_.empty()) return std::nullopt;
  std::span<const std::byte> packet = left_;
  if (bundle_ && left_.size() >= kBundleLengthBytes) {
    const size_t length = Load<uint16_t>(left_.data());
    const auto after = left_.subspan(kBundleLengthBytes);
    if (length <= after.size()) {
      packet = after.first(length);
    } else if (length == after.size() + rest_bytes_) {
      packet = after;
    }
  }
  left_ = {packet.data() + packet.size(), left_.data() + left_.size()};
  return packet;
}

size_t BundleWriter::SizeWith(size_t packet_bytes) const {
  if (packets_ == 0) return packet_bytes;
  const size_t turning =
      packets_ == 1 ? kBundlePrefixBytes + kBundleLengthBytes : 0;
  return size_ + turning + kBundleLengthBytes + packet_bytes;
}

void BundleWriter::Append(std::span<const std::byte> head,
                          std::span<const std::byte> tail,
                          size_t borrowed_bytes) {
  const size_t packet_bytes = head.size() + tail.size() + borrowed_bytes;
  HAWSER_CHECK(SizeWith(packet_bytes) - borrowed_bytes <= buffer_.size());
  if (packets_ == 1) {
    constexpr size_t kShift = kBundlePrefixBytes + kBundleLengthBytes;
    HAWSER_CHECK(size_ <= kMaxBundledBytes);
    std::memmove(buffer_.data() + kShift, buffer_.data(), size_);
    buffer_[0] = kBundleMagic;
    Store<uint16_t>(buffer_.data() + kBundlePrefixBytes,
                    static_cast<uint16_t>(size_));
    size_ += kShift;
  }
  if (packets_ > 0) {
    HAWSER_CHECK(packet_bytes <= kMaxBundledBytes);
    Store<uint16_t>(buffer_.data() + size_,
                    static_cast<uint16_t>(packet_bytes));
    size_ += kBundleLengthBytes;
  }
  for (const auto bytes : {head, tail}) {
    std::copy(bytes.begin(), bytes.end(), buffer_.data() + size_);
    size_ += bytes.size();
  }
  ++packets_;
}

}  // namespace hawser::wire
