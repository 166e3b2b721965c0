// One TCP connection of a handshake: frames, whole or not at all.
// Knows: a non-blocking socket.  Never: what the frames say, who waits.
//
// One thread at a time. No call here waits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "transport/wire/handshake.h"

namespace hawser {

class HandshakeStream {
 public:
  explicit HandshakeStream(int fd);  // Owns the descriptor from now on.
  ~HandshakeStream();
  HandshakeStream(const HandshakeStream&) = delete;
  HandshakeStream& operator=(const HandshakeStream&) = delete;

  int fd() const { return fd_; }
  // A far side whose host died is noticed all the same.
  void KeepAlive() const;
  // Whether connect() has come to an end; its errno in `*error`.
  bool Connected(int* error) const;
  // A frame is far smaller than a socket's buffer: all of it goes, or the
  // connection is broken.
  bool Write(std::span<const std::byte> frame) const;
  // Reads what is there. kFrame: header() and body() are whole. kForeign: it
  // does not speak our language. kEnd: closed in an orderly way, on a frame's
  // border.
  enum class Got : uint8_t { kNothing, kFrame, kForeign, kEnd, kBroken };
  Got Read();
  // Whether the far side's system has taken all that was written. Known at the
  // end of file: what it had not by then it will never have.
  bool Taken() const;
  const wire::FrameHeader& header() const { return *header_; }
  std::span<const std::byte> body() const {
    return std::span(bytes_).subspan(wire::kFrameHeaderBytes,
                                     header_->body_bytes);
  }
  void NextFrame();
  // The far side sees a reset, and not an end of file, whoever else has a copy
  // of the descriptor.
  void Abort() const;

 private:
  const int fd_;
  std::array<std::byte, wire::kMaxFrameBytes> bytes_;
  size_t held_ = 0;
  std::optional<wire::FrameHeader> header_;
};

}  // namespace hawser
