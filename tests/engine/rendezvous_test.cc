// The listener's port is open to whoever can reach it. Strangers here are plain
// sockets that say what no peer of ours would.
#include "transport/engine/rendezvous.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "tests/engine/doors.h"
#include "tests/engine/loopback.h"
#include "transport/wire/handshake.h"

namespace hawser {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// As docs/wire.md draws it.
uint64_t NonceOf(const ListenHandle& handle) {
  uint64_t nonce;
  std::memcpy(&nonce, handle.data() + 24, sizeof nonce);
  return nonce;
}

// A plain TCP connection to a listener.
class Stranger {
 public:
  explicit Stranger(const ListenHandle& handle) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = PortOf(handle);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~Stranger() { Leave(); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  void Say(std::span<const std::byte> bytes) {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void Say(const std::string& text) {
    Say(std::as_bytes(std::span(text.data(), text.size())));
  }
  // Reads what has come. False when the far side has closed.
  bool Listen() {
    std::array<std::byte, 4096> bytes;
    while (true) {
      const ssize_t got = recv(fd_, bytes.data(), bytes.size(), 0);
      if (got > 0) {
        heard.insert(heard.end(), bytes.begin(), bytes.begin() + got);
        continue;
      }
      return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
  }
  void Leave() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  // As a process does that is killed with bytes unread.
  void Break() {
    const linger now = {1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    Leave();
  }
  // The frame in `heard`, if it is one.
  std::string Refusal() const {
    const std::span<const std::byte> all(heard);
    if (all.size() < wire::kFrameHeaderBytes) return "(nothing)";
    const auto header =
        wire::DecodeFrameHeader(all.first(wire::kFrameHeaderBytes));
    if (!header) return "(no frame)";
    const auto reason =
        wire::DecodeRefusal(*header, all.subspan(wire::kFrameHeaderBytes));
    return reason.value_or("(no refusal)");
  }
  std::vector<std::byte> heard;

 private:
  int fd_ = -1;
};

class RendezvousTest : public ::testing::Test {
 protected:
  RendezvousTest() {
    config_.handshake_timeout_ms = 200;
    there_ = MakeEndpoint(config_, log_.sink());
    here_ = MakeEndpoint();
    listener_ = MakeListener(*there_);
  }
  // Nobody is let in.
  void AcceptNobody() {
    auto flow = listener_->Accept();
    ASSERT_TRUE(flow.ok()) << flow.status();
    ASSERT_EQ(*flow, nullptr);
  }
  // Serves until the far side has had enough of the stranger.
  void ServeToTheEnd(Stranger& stranger) {
    EXPECT_TRUE(Until([&] {
      AcceptNobody();
      return !stranger.Listen();
    }));
  }
  wire::Introduction Hello() const {
    wire::Introduction hello;
    hello.listener_nonce = NonceOf(listener_->handle());
    hello.identity = {123, 456};
    hello.datapath = "udp";
    hello.paths = 4;
    hello.host = "stranger:1";
    // An address of the same kind as our own.
    auto draft = here_->OpenFlow(Direction::kSend, 0, {77, 88}, 0);
    EXPECT_TRUE(draft.ok());
    hello.planes = draft->introduction.planes;
    return hello;
  }
  static std::vector<std::byte> Frame(const wire::Introduction& words) {
    return wire::EncodeIntroduction(wire::FrameKind::kHello, words);
  }
  // Whoever has been here, the next one is served.
  void ServesOthers() {
    Flow flow = ConnectTo(*here_, *listener_);
    ASSERT_TRUE(flow.send && flow.receive);
    Exchange(flow, 1000);
  }

  Config config_;
  Lines log_;
  std::unique_ptr<Endpoint> there_, here_;
  std::unique_ptr<Listener> listener_;
};

TEST_F(RendezvousTest, Meet) { ServesOthers(); }

TEST_F(RendezvousTest, SpeaksHttp) {
  Stranger stranger(listener_->handle());
  stranger.Say("GET / HTTP/1.1\r\nHost: hawser\r\n\r\n");
  ServeToTheEnd(stranger);
  EXPECT_TRUE(stranger.heard.empty());
  EXPECT_THAT(log_.Take(), Each(HasSubstr("does not speak Hawser")));
  ServesOthers();
}

TEST_F(RendezvousTest, SpeaksNonsense) {
  std::mt19937 random(7);
  for (int i = 0; i < 50; ++i) {
    Stranger stranger(listener_->handle());
    std::vector<std::byte> bytes(1 + random() % 3000);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    stranger.Say(bytes);
    if (bytes.size() < wire::kFrameHeaderBytes) stranger.Leave();
    ServeToTheEnd(stranger);
    EXPECT_TRUE(stranger.heard.empty());
  }
  ServesOthers();
}

TEST_F(RendezvousTest, SaysNothing) {
  const int before = OpenDescriptors();
  Stranger stranger(listener_->handle());
  AcceptNobody();
  const auto begin = Clock::now();
  ServeToTheEnd(stranger);
  EXPECT_GT(MillisSince(begin), 100);
  EXPECT_LT(MillisSince(begin), 5000);
  EXPECT_EQ(OpenDescriptors(), before + 1);  // The stranger's own.
  EXPECT_THAT(log_.Take(), Each(HasSubstr("no hello in time")));
  ServesOthers();
}

TEST_F(RendezvousTest, SaysHalfAHello) {
  const std::vector<std::byte> frame = Frame(Hello());
  for (const size_t cut : {size_t{1}, wire::kFrameHeaderBytes - 1,
                           wire::kFrameHeaderBytes, frame.size() - 1}) {
    const int before = OpenDescriptors();
    {
      // One that goes on waiting, one that gives up.
      Stranger waits(listener_->handle()), leaves(listener_->handle());
      waits.Say(std::span(frame).first(cut));
      leaves.Say(std::span(frame).first(cut));
      leaves.Leave();
      ServeToTheEnd(waits);
    }
    AcceptNobody();
    EXPECT_EQ(OpenDescriptors(), before);
  }
  ServesOthers();
}

TEST_F(RendezvousTest, SaysItByteByByte) {
  Stranger stranger(listener_->handle());
  for (const std::byte byte : Frame(Hello())) {
    stranger.Say(std::span(&byte, 1));
    AcceptNobody();
  }
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    EXPECT_TRUE(stranger.Listen());
    return !stranger.heard.empty();
  }));
  // Having read the welcome, it leaves: that is how a flow is made.
  stranger.Leave();
  std::unique_ptr<FlowEnd> flow;
  EXPECT_TRUE(Until([&] {
    auto made = listener_->Accept();
    EXPECT_TRUE(made.ok());
    flow = *std::move(made);
    return flow != nullptr;
  }));
}

struct Refused {
  const char* name;
  void (*spoil)(wire::Introduction& hello);
  void (*patch)(std::vector<std::byte>& frame);
  const char* reason;
};

class RefusedTest : public RendezvousTest,
                    public ::testing::WithParamInterface<Refused> {};

TEST_P(RefusedTest, WithTheReason) {
  wire::Introduction hello = Hello();
  if (GetParam().spoil != nullptr) GetParam().spoil(hello);
  std::vector<std::byte> frame = Frame(hello);
  if (GetParam().patch != nullptr) GetParam().patch(frame);
  const size_t peers = there_->Report().size();
  Stranger stranger(listener_->handle());
  stranger.Say(frame);
  ServeToTheEnd(stranger);
  EXPECT_THAT(stranger.Refusal(), HasSubstr(GetParam().reason));
  EXPECT_THAT(log_.Take(), Each(HasSubstr(GetParam().reason)));
  // Nothing of it is kept.
  EXPECT_EQ(there_->Report().size(), peers);
  ServesOthers();
}
INSTANTIATE_TEST_SUITE_P(
    Reasons, RefusedTest,
    ::testing::Values(
        Refused{"Nonce",
                [](wire::Introduction& hello) { ++hello.listener_nonce; },
                nullptr, "does not know the handle of any listener"},
        Refused{"Version", nullptr,
                [](std::vector<std::byte>& frame) { frame[4] ^= std::byte{6}; },
                "version"},
        Refused{"Datapath",
                [](wire::Introduction& hello) { hello.datapath = "verbs"; },
                nullptr, "expected the same HAWSER_DATAPATH"},
        Refused{
            "Corrupted", nullptr,
            [](std::vector<std::byte>& frame) { frame.back() ^= std::byte{1}; },
            "one intact hello"},
        Refused{"NoHello", nullptr,
                [](std::vector<std::byte>& frame) { frame[6] = std::byte{2}; },
                "one intact hello"}),
    [](const auto& refused) { return refused.param.name; });

TEST_F(RendezvousTest, FrameIsTooLong) {
  std::vector<std::byte> frame = Frame(Hello());
  const uint32_t bytes = 1 << 20;
  std::memcpy(&frame[8], &bytes, sizeof bytes);
  Stranger stranger(listener_->handle());
  stranger.Say(frame);
  ServeToTheEnd(stranger);
  EXPECT_TRUE(stranger.heard.empty());
  ServesOthers();
}

TEST_F(RendezvousTest, SaysHelloTwice) {
  const std::vector<std::byte> frame = Frame(Hello());
  Stranger stranger(listener_->handle());
  stranger.Say(frame);
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    EXPECT_TRUE(stranger.Listen());
    return !stranger.heard.empty();
  }));
  stranger.heard.clear();
  stranger.Say(frame);
  ServeToTheEnd(stranger);
  EXPECT_THAT(stranger.Refusal(), HasSubstr("one intact hello"));
  ServesOthers();
}

// It is killed at one moment or the other: nobody is let in, nothing stays.
TEST_F(RendezvousTest, VanishesAfterHello) {
  const int before = OpenDescriptors();
  for (const bool breaks : {false, true}) {
    Stranger stranger(listener_->handle());
    stranger.Say(Frame(Hello()));
    // Before the welcome is written.
    breaks ? stranger.Break() : stranger.Leave();
    EXPECT_TRUE(Until([&] {
      AcceptNobody();
      return OpenDescriptors() == before;
    }));
  }
  ServesOthers();
}

TEST_F(RendezvousTest, VanishesAfterWelcome) {
  const int before = OpenDescriptors();
  Stranger stranger(listener_->handle());
  stranger.Say(Frame(Hello()));
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    EXPECT_TRUE(stranger.Listen());
    return !stranger.heard.empty();
  }));
  stranger.Break();
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    return OpenDescriptors() == before;
  }));
  ServesOthers();
}

// A rank whose progress thread is busy elsewhere has its welcome unread for
// long, and then takes the flow for made.
TEST_F(RendezvousTest, ComesBackLateForItsWelcome) {
  Stranger stranger(listener_->handle());
  stranger.Say(Frame(Hello()));
  const auto begin = Clock::now();
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    return MillisSince(begin) > 2.0 * config_.handshake_timeout_ms;
  }));
  ServesOthers();
  EXPECT_TRUE(stranger.Listen());
  EXPECT_FALSE(stranger.heard.empty());
  stranger.Leave();
  EXPECT_TRUE(Until([&] {
    auto flow = listener_->Accept();
    return flow.ok() && *flow != nullptr;
  }));
  EXPECT_THAT(log_.Take(), IsEmpty());
}

TEST_F(RendezvousTest, ManySilentOnesAtOnce) {
  const int before = OpenDescriptors();
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (int i = 0; i < 300; ++i) {
    strangers.push_back(std::make_unique<Stranger>(listener_->handle()));
    AcceptNobody();
  }
  // Who comes with the handle gets in.
  EXPECT_LE(OpenDescriptors(), before + 300 + 300);
  ServesOthers();
  for (auto& stranger : strangers) ServeToTheEnd(*stranger);
  strangers.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(RendezvousTest, ManyGuestsAtOnce) {
  constexpr size_t kGuests = 100;
  std::vector<std::unique_ptr<Connector>> connectors;
  for (size_t i = 0; i < kGuests; ++i) {
    auto connector = Connector::Create(*here_, listener_->handle());
    ASSERT_TRUE(connector.ok()) << connector.status();
    connectors.push_back(*std::move(connector));
  }
  std::vector<std::unique_ptr<FlowEnd>> sends, receives;
  EXPECT_TRUE(Until([&] {
    for (auto& connector : connectors) {
      if (!connector) continue;
      auto made = connector->Connect();
      EXPECT_TRUE(made.ok()) << made.status();
      if (!made.ok()) return true;
      if (*made == nullptr) continue;
      sends.push_back(*std::move(made));
      connector.reset();
    }
    auto made = listener_->Accept();
    EXPECT_TRUE(made.ok()) << made.status();
    if (*made != nullptr) receives.push_back(*std::move(made));
    return sends.size() == kGuests && receives.size() == kGuests;
  }));
  // One peer here and one there, whatever the number of flows.
  EXPECT_EQ(here_->Report().size(), 1u);
  EXPECT_EQ(there_->Report().size(), 1u);
}

TEST_F(RendezvousTest, ConnectorGivesUp) {
  const int before = OpenDescriptors();
  for (int calls = 0; calls < 12; ++calls) {
    {
      auto connector = Connector::Create(*here_, listener_->handle());
      ASSERT_TRUE(connector.ok());
      bool made = false;
      for (int i = 0; i < calls && !made; ++i) {
        auto flow = (*connector)->Connect();
        ASSERT_TRUE(flow.ok()) << flow.status();
        made = *flow != nullptr;
        // At each stage, with and without the listener's part.
        if (!made && i % 2 == 1) AcceptNobody();
      }
      if (made) break;
    }
    EXPECT_TRUE(Until([&] {
      AcceptNobody();
      return OpenDescriptors() == before;
    })) << calls;
  }
  ServesOthers();
}

// --- The connector's side --------------------------------------------------

TEST_F(RendezvousTest, RefusalArrivesAsText) {
  ListenHandle handle = listener_->handle();
  handle[24] ^= std::byte{1};  // The nonce.
  auto connector = Connector::Create(*here_, handle);
  ASSERT_TRUE(connector.ok());
  absl::Status status;
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    status = (*connector)->Connect().status();
    return !status.ok();
  }));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(HasSubstr("127.0.0.1:"), HasSubstr("refused"),
                               HasSubstr("does not know")));
  ServesOthers();
}

// --- Several doors ---------------------------------------------------------

// Two addresses of loopback are as good as two interfaces.
class TwoDoorsTest : public RendezvousTest {
 protected:
  TwoDoorsTest() {
    two_ = Loopback();
    two_.push_back(two_.front());
    inet_pton(AF_INET, "127.0.0.2",
              &reinterpret_cast<sockaddr_in&>(two_.back().address).sin_addr);
    auto endpoint = Endpoint::Create(config_, two_, log_.sink());
    EXPECT_TRUE(endpoint.ok()) << endpoint.status();
    listener_.reset();
    there_ = *std::move(endpoint);
    listener_ = MakeListener(*there_);
    // A port at which nobody listens, at any address, until it is asked to.
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = sizeof closed_;
    closed_.sin_family = AF_INET;
    auto* address = reinterpret_cast<sockaddr*>(&closed_);
    EXPECT_EQ(bind(fd_, address, length), 0);
    EXPECT_EQ(getsockname(fd_, address, &length), 0);
    inet_pton(AF_INET, "127.0.0.1", &closed_.sin_addr);
  }
  ~TwoDoorsTest() override { close(fd_); }
  // The listener's handle with that port for some of its doors.
  ListenHandle HandleWith(std::initializer_list<size_t> closed) const {
    ListenHandle handle = listener_->handle();
    for (const size_t door : closed) {
      std::memcpy(handle.data() + 34 + 20 * door, &closed_.sin_port, 2);
    }
    return handle;
  }
  void Meets(const ListenHandle& handle) {
    auto connector = Connector::Create(*here_, handle);
    ASSERT_TRUE(connector.ok()) << connector.status();
    Flow flow;
    EXPECT_TRUE(Until([&] {
      if (!flow.send) {
        auto made = (*connector)->Connect();
        EXPECT_TRUE(made.ok()) << made.status();
        if (!made.ok()) return true;
        flow.send = *std::move(made);
        if (flow.send) connector->reset();
      }
      auto made = listener_->Accept();
      EXPECT_TRUE(made.ok()) << made.status();
      flow.receive = *std::move(made);
      return flow.receive != nullptr;
    }));
    ASSERT_TRUE(flow.send && flow.receive);
    Exchange(flow, 1000);
  }

  std::vector<Interface> two_;
  int fd_ = -1;
  sockaddr_in closed_ = {};
};

TEST_F(TwoDoorsTest, EitherIsEnough) {
  Meets(listener_->handle());
  Meets(HandleWith({0}));
  Meets(HandleWith({1}));
}

TEST_F(TwoDoorsTest, OneDoesNotAnswer) {
  // Its queue is full, so the system drops what comes.
  ASSERT_EQ(listen(fd_, 0), 0);
  std::vector<int> queue;
  int error = 0;
  while (error == 0) {
    queue.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience = {0, 100'000};
    setsockopt(queue.back(), SOL_SOCKET, SO_SNDTIMEO, &patience,
               sizeof patience);
    if (connect(queue.back(), reinterpret_cast<const sockaddr*>(&closed_),
                sizeof closed_) != 0) {
      error = errno;
    }
  }
  EXPECT_EQ(error, EINPROGRESS);
  Config hasty;
  hasty.handshake_timeout_ms = 400;
  here_ = MakeEndpoint(hasty);
  Meets(HandleWith({0}));
  for (const int fd : queue) close(fd);
}

TEST_F(TwoDoorsTest, BothAreClosed) {
  auto connector = Connector::Create(*here_, HandleWith({0, 1}));
  absl::Status status = connector.status();
  EXPECT_TRUE(Until([&] {
    if (status.ok()) status = (*connector)->Connect().status();
    return !status.ok();
  }));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  const std::string port = std::to_string(ntohs(closed_.sin_port));
  EXPECT_EQ(status.message(), "connect to 127.0.0.1:" + port +
                                  ": Connection refused; connect to "
                                  "127.0.0.2:" +
                                  port + ": Connection refused");
}

// The handle of one endpoint and the port of another.
TEST_F(RendezvousTest, ListenerIsAnother) {
  ListenHandle handle = listener_->handle();
  handle[8] ^= std::byte{1};  // The identity.
  auto connector = Connector::Create(*here_, handle);
  ASSERT_TRUE(connector.ok());
  absl::Status status;
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    status = (*connector)->Connect().status();
    return !status.ok();
  }));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not the one"));
}

TEST_F(RendezvousTest, NotAHandle) {
  ListenHandle handle = {};
  EXPECT_EQ(Connector::Create(*here_, handle).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      Connector::Create(*here_, std::span(handle).first(10)).status().code(),
      absl::StatusCode::kInvalidArgument);
  handle = listener_->handle();
  handle[4] ^= std::byte{8};  // The version.
  const absl::Status status = Connector::Create(*here_, handle).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("version"));
}

TEST_F(RendezvousTest, ListenerGoes) {
  for (const int calls : {0, 1, 3}) {
    auto connector = Connector::Create(*here_, listener_->handle());
    ASSERT_TRUE(connector.ok());
    for (int i = 0; i < calls; ++i) {
      ASSERT_TRUE((*connector)->Connect().ok());
    }
    listener_.reset();
    absl::Status status;
    EXPECT_TRUE(Until([&] {
      status = (*connector)->Connect().status();
      return !status.ok();
    }));
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    listener_ = MakeListener(*there_);
  }
}

// Its endpoint has another one, at the same door.
TEST_F(RendezvousTest, ListenerGoesAndAnotherStays) {
  auto listener = MakeListener(*there_);
  auto connector = Connector::Create(*here_, listener->handle());
  ASSERT_TRUE(connector.ok());
  listener.reset();
  absl::Status status;
  EXPECT_TRUE(Until([&] {
    AcceptNobody();
    status = (*connector)->Connect().status();
    return !status.ok();
  }));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not know"));
  ServesOthers();
}

// Something else that listens, with what it says to a hello.
struct Impostor {
  const char* name;
  std::vector<std::byte> (*answer)();
  absl::StatusCode code;
  const char* reason;
};

std::vector<std::byte> Bytes(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

class ImpostorTest : public RendezvousTest,
                     public ::testing::WithParamInterface<Impostor> {};

TEST_P(ImpostorTest, IsSeenThrough) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ListenHandle handle = listener_->handle();
  std::memcpy(handle.data() + 34, &address.sin_port, 2);
  auto connector = Connector::Create(*here_, handle);
  ASSERT_TRUE(connector.ok());
  const int guest = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_GE(guest, 0);
  // Its hello is out before the answer comes.
  std::byte first;
  EXPECT_TRUE(Until([&] {
    EXPECT_TRUE((*connector)->Connect().ok());
    return recv(guest, &first, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
  }));
  std::array<std::byte, 4096> hello;
  EXPECT_GT(recv(guest, hello.data(), hello.size(), 0), 0);
  const std::vector<std::byte> answer = GetParam().answer();
  EXPECT_EQ(send(guest, answer.data(), answer.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(answer.size()));
  close(guest);
  absl::Status status;
  EXPECT_TRUE(Until([&] {
    status = (*connector)->Connect().status();
    return !status.ok();
  }));
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().reason));
  close(fd);
}
INSTANTIATE_TEST_SUITE_P(
    Answers, ImpostorTest,
    ::testing::Values(
        Impostor{"Nothing", [] { return std::vector<std::byte>(); },
                 absl::StatusCode::kUnavailable, "went away"},
        Impostor{"Half", [] { return Bytes("HAWS"); },
                 absl::StatusCode::kUnavailable, "went away"},
        Impostor{"Http", [] { return Bytes("HTTP/1.1 400 Bad Request\r\n"); },
                 absl::StatusCode::kUnavailable, "does not speak Hawser"},
        Impostor{"Refusal", [] { return wire::EncodeRefusal("not today"); },
                 absl::StatusCode::kFailedPrecondition, "refused: not today"},
        Impostor{"Corrupted",
                 [] {
                   auto frame = wire::EncodeRefusal("not today");
                   frame.back() ^= std::byte{1};
                   return frame;
                 },
                 absl::StatusCode::kUnavailable, "neither welcome"}),
    [](const auto& impostor) { return impostor.param.name; });

}  // namespace
}  // namespace hawser
