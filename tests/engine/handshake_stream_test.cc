#include "transport/engine/handshake_stream.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/engine/loopback.h"

namespace hawser {
namespace {

using Got = HandshakeStream::Got;

// Both ends of one TCP connection of this host: a stream, and a plain socket.
class HandshakeStreamTest : public ::testing::Test {
 protected:
  HandshakeStreamTest() {
    const int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    socklen_t length = sizeof address;
    auto* where = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(door, where, length), 0);
    EXPECT_EQ(listen(door, 1), 0);
    EXPECT_EQ(getsockname(door, where, &length), 0);
    far_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(far_, where, length), 0);
    const int fd =
        accept4(door, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    EXPECT_GE(fd, 0);
    stream_ = std::make_unique<HandshakeStream>(fd);
    close(door);
  }
  ~HandshakeStreamTest() override { Leave(); }
  void Leave() {
    if (far_ >= 0) close(std::exchange(far_, -1));
  }
  void Say(std::span<const std::byte> bytes) const {
    EXPECT_EQ(send(far_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // What the next call says that does not say "nothing yet".
  Got Next() {
    Got got = Got::kNothing;
    EXPECT_TRUE(Until([&] {
      got = stream_->Read();
      return got != Got::kNothing;
    }));
    return got;
  }

  int far_ = -1;
  std::unique_ptr<HandshakeStream> stream_;
};

TEST_F(HandshakeStreamTest, Read__frames_whole_and_one_by_one) {
  EXPECT_EQ(stream_->Read(), Got::kNothing);
  const auto one = wire::EncodeRefusal("one");
  const auto two = wire::EncodeRefusal("and another");
  Say(one);
  Say(two);
  for (const char* reason : {"one", "and another"}) {
    ASSERT_EQ(Next(), Got::kFrame);
    EXPECT_EQ(wire::DecodeRefusal(stream_->header(), stream_->body()), reason);
    stream_->NextFrame();
  }
  EXPECT_EQ(stream_->Read(), Got::kNothing);
}

TEST_F(HandshakeStreamTest, Read__an_end_on_a_border_is_an_end) {
  Say(wire::EncodeRefusal("one"));
  Leave();
  ASSERT_EQ(Next(), Got::kFrame);
  stream_->NextFrame();
  EXPECT_EQ(Next(), Got::kEnd);
}

TEST_F(HandshakeStreamTest, Read__an_end_within_a_frame_is_a_break) {
  const auto frame = wire::EncodeRefusal("one");
  Say(std::span(frame).first(frame.size() - 1));
  Leave();
  EXPECT_EQ(Next(), Got::kBroken);
}

TEST_F(HandshakeStreamTest, Read__another_language) {
  const std::string words = "GET / HTTP/1.1\r\n\r\n";
  Say(std::as_bytes(std::span(words)));
  EXPECT_EQ(Next(), Got::kForeign);
}

TEST_F(HandshakeStreamTest, Taken__what_was_written_has_arrived) {
  EXPECT_TRUE(stream_->Write(wire::EncodeRefusal("one")));
  EXPECT_TRUE(Until([&] { return stream_->Taken(); }));
}

TEST_F(HandshakeStreamTest, Abort__is_seen_whoever_has_a_copy) {
  const int copy = dup(stream_->fd());
  stream_->Abort();
  stream_.reset();
  char byte;
  EXPECT_EQ(recv(far_, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  close(copy);
}

}  // namespace
}  // namespace hawser
