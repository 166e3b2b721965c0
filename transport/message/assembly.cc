// Why words wait instead of messages being cut at lines: a packet of 1500 bytes
// loses 2% to such a cut, and a word waits only where a packet comes before the
// one in front of it, which is once per gap.
#include "transport/message/assembly.h"

#include <algorithm>
#include <cstring>

#include "transport/base/copy_lines.h"
#include "transport/wire/header.h"

namespace hawser {
namespace {

constexpr uint32_t kWordBytes = 8;
constexpr uint32_t kWordAt = kLineBytes - kWordBytes;  // In its line.
static_assert(kLineBytes % wire::kCutBytes == 0 &&
              wire::kCutBytes % kWordBytes == 0);

}  // namespace

bool Assembly::Add(std::byte* memory, uint32_t offset, uint32_t length,
                   const std::byte* bytes) {
  if (arrived_.Add(offset, offset + length) == 0) return false;
  const uint32_t line = offset / kLineBytes * kLineBytes;
  const bool home = bytes == nullptr || bytes == memory + offset;
  uint32_t copied = home ? length : 0;
  // It begins within a line, and has the end of it.
  if (copied == 0 && offset != line && offset - line + length >= kLineBytes &&
      !IsHere(line)) {
    const uint32_t before = line + kWordAt - offset;
    CopyLines(memory + offset, bytes, before);
    LastWord last{line, 0};
    std::memcpy(&last.word, bytes + before, kWordBytes);
    waiting_.push_back(last);
    copied = before + kWordBytes;
  }
  if (copied < length) {
    CopyLines(memory + offset + copied, bytes + copied, length - copied);
  }
  if (!waiting_.empty()) {
    std::erase_if(waiting_, [&](const LastWord& last) {
      if (last.line < line || last.line >= offset + length ||
          !IsHere(last.line)) {
        return false;
      }
      CopyLines(memory + last.line + kWordAt,
                reinterpret_cast<const std::byte*>(&last.word), kWordBytes);
      return true;
    });
  }
  return true;
}

void Assembly::Clear() {
  arrived_.Clear();
  waiting_.clear();
}

bool Assembly::IsHere(uint32_t line) const {
  return arrived_.Covers(line, line + kWordAt);
}

}  // namespace hawser
