// Connecting as NCCL does it: from one thread, in a spin, several at once.
#include <algorithm>

#include "tests/nccl/rank.h"

namespace hawser {
namespace {

using ::testing::HasSubstr;

class ConnectTest : public ::testing::Test {
 protected:
  void SetUp() override { LogBook::Clear(); }
};

// One side of one connection under way, as NCCL's service thread keeps it.
struct Under {
  Rank* from;
  Rank* to;
  Handle handle = {};
  void* listen = nullptr;
  void* send = nullptr;
  void* receive = nullptr;
};

TEST_F(ConnectTest, BothDirectionsInterleavedOnOneThread) {
  Rank a, b;
  std::vector<Under> under = {{&a, &b}, {&b, &a}, {&a, &b}, {&b, &a}};
  for (Under& one : under) {
    ASSERT_EQ(
        one.to->api.listen(one.to->context, 0, one.handle.data(), &one.listen),
        Result::kSuccess);
    ASSERT_NE(one.listen, nullptr);
  }
  // Nobody has connected yet: no answer, and no error.
  for (Under& one : under) {
    void* comm = &one;
    ASSERT_EQ(one.to->api.accept(one.listen, &comm), Result::kSuccess);
    ASSERT_EQ(comm, nullptr);
  }
  std::vector<double> calls_ms;
  ASSERT_TRUE(Until([&] {
    bool all = true;
    for (Under& one : under) {
      if (one.send == nullptr) {
        void* comm = &one;  // Must be overwritten.
        const auto begin = Clock::now();
        const Result result = one.from->api.connect(one.from->context, 0,
                                                    one.handle.data(), &comm);
        calls_ms.push_back(MillisSince(begin));
        EXPECT_EQ(result, Result::kSuccess);
        one.send = comm;
      }
      if (one.receive == nullptr) {
        void* comm = &one;
        const auto begin = Clock::now();
        const Result result = one.to->api.accept(one.listen, &comm);
        calls_ms.push_back(MillisSince(begin));
        EXPECT_EQ(result, Result::kSuccess);
        one.receive = comm;
      }
      all &= one.send != nullptr && one.receive != nullptr;
    }
    return all;
  }));
  // Whoever waits for the other side in here waits for itself. On a machine
  // that has other things to do any call may take long, but not most of them.
  ASSERT_GT(calls_ms.size(), 8u);
  std::sort(calls_ms.begin(), calls_ms.end());
  EXPECT_LT(calls_ms[calls_ms.size() / 2], 100);
  for (Under& one : under) {
    Link link = {&one.from->api, &one.to->api, one.send, one.receive};
    Exchange(link, 5000);
    EXPECT_EQ(one.to->api.close_listen(one.listen), Result::kSuccess);
    link.Close();
  }
}

TEST_F(ConnectTest, ConnectorComesLongBeforeAccept) {
  Rank a, b;
  Handle handle;
  void* listen = nullptr;
  ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
            Result::kSuccess);
  void* send = nullptr;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(a.api.connect(a.context, 0, handle.data(), &send),
              Result::kSuccess);
    ASSERT_EQ(send, nullptr);
  }
  void* receive = nullptr;
  ASSERT_TRUE(Until([&] {
    if (send == nullptr) {
      EXPECT_EQ(a.api.connect(a.context, 0, handle.data(), &send),
                Result::kSuccess);
    }
    EXPECT_EQ(b.api.accept(listen, &receive), Result::kSuccess);
    return send != nullptr && receive != nullptr;
  }));
  Link link = {&a.api, &b.api, send, receive};
  Exchange(link, 1000);
  EXPECT_EQ(b.api.close_listen(listen), Result::kSuccess);
  link.Close();
}

TEST_F(ConnectTest, OneListenCommAcceptsSeveral) {
  Rank a, b, c;
  Handle handle;
  void* listen = nullptr;
  ASSERT_EQ(c.api.listen(c.context, 0, handle.data(), &listen),
            Result::kSuccess);
  // Six connectors at once, of two ranks, each with its own copy of the handle.
  constexpr int kComms = 6;
  std::array<Handle, kComms> handles;
  handles.fill(handle);
  std::array<void*, kComms> sends = {};
  std::vector<void*> receives;
  ASSERT_TRUE(Until([&] {
    bool all = true;
    for (int i = 0; i < kComms; ++i) {
      Rank& from = i % 2 == 0 ? a : b;
      if (sends[i] == nullptr) {
        EXPECT_EQ(
            from.api.connect(from.context, 0, handles[i].data(), &sends[i]),
            Result::kSuccess);
      }
      all &= sends[i] != nullptr;
    }
    void* receive = nullptr;
    EXPECT_EQ(c.api.accept(listen, &receive), Result::kSuccess);
    if (receive != nullptr) receives.push_back(receive);
    return all && receives.size() == kComms;
  }));
  // Which of them was accepted first is nobody's business: each says who it
  // is. So one buffer is posted to each, and they are matched by content.
  std::array<int, kComms> got = {};
  std::vector<Pending> pending;
  for (int i = 0; i < kComms; ++i) {
    pending.push_back(
        Receive({nullptr, &c.api, nullptr, receives[i]}, &got[i], sizeof(int)));
  }
  std::array<int, kComms> sent;
  for (int i = 0; i < kComms; ++i) {
    sent[i] = 100 + i;
    const Link link = {i % 2 == 0 ? &a.api : &b.api, nullptr, sends[i]};
    pending.push_back(Send(link, &sent[i], sizeof(int)));
  }
  for (Pending& one : pending) EXPECT_TRUE(one.Finish());
  EXPECT_THAT(got, testing::UnorderedElementsAreArray(sent));
  for (int i = 0; i < kComms; ++i) {
    EXPECT_EQ(c.api.close_receive(receives[i]), Result::kSuccess);
    EXPECT_EQ((i % 2 == 0 ? a : b).api.close_send(sends[i]), Result::kSuccess);
  }
  EXPECT_EQ(c.api.close_listen(listen), Result::kSuccess);
}

TEST_F(ConnectTest, SameHandleAgainAfterSuccess) {
  Rank a, b;
  Handle handle;
  void* listen = nullptr;
  ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
            Result::kSuccess);
  std::vector<Link> links;
  for (int i = 0; i < 3; ++i) {
    Link link = {&a.api, &b.api};
    ASSERT_TRUE(Until([&] {
      if (link.send == nullptr) {
        EXPECT_EQ(a.api.connect(a.context, 0, handle.data(), &link.send),
                  Result::kSuccess);
      }
      if (link.receive == nullptr) {
        EXPECT_EQ(b.api.accept(listen, &link.receive), Result::kSuccess);
      }
      return link.send != nullptr && link.receive != nullptr;
    }));
    Exchange(link, 100 + i);
    links.push_back(link);
  }
  EXPECT_EQ(b.api.close_listen(listen), Result::kSuccess);
  for (Link& link : links) link.Close();
}

// A handle that was left in the middle, and comes again in another life: what
// it notes must not be taken for what now stands at that address.
TEST_F(ConnectTest, NoteOfAnEarlierLife) {
  Rank b;
  Handle handle;
  void* listen = nullptr;
  ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
            Result::kSuccess);
  const Environment environment;
  Library library;
  const Api api = library.Newest();
  Link link = {&api, &b.api};
  for (int life = 0; life < 5; ++life) {
    void* context;
    ASSERT_EQ(api.init(&context), Result::kSuccess);
    std::vector<void*> listeners;  // Likely to stand where it stood.
    for (int i = 0; i < 20; ++i) {
      Handle other;
      void* comm;
      ASSERT_EQ(api.listen(context, 0, other.data(), &comm), Result::kSuccess);
      listeners.push_back(comm);
    }
    ASSERT_EQ(api.connect(context, 0, handle.data(), &link.send),
              Result::kSuccess);
    ASSERT_EQ(link.send, nullptr);
    for (void* comm : listeners) api.close_listen(comm);
    ASSERT_EQ(api.finalize(context), Result::kSuccess);
  }
  void* context;
  ASSERT_EQ(api.init(&context), Result::kSuccess);
  ASSERT_TRUE(Until([&] {
    if (link.send == nullptr) {
      EXPECT_EQ(api.connect(context, 0, handle.data(), &link.send),
                Result::kSuccess);
    }
    if (link.receive == nullptr) {
      EXPECT_EQ(b.api.accept(listen, &link.receive), Result::kSuccess);
    }
    return link.send != nullptr && link.receive != nullptr;
  }));
  Exchange(link, 10);
  link.Close();
  EXPECT_EQ(b.api.close_listen(listen), Result::kSuccess);
  EXPECT_EQ(api.finalize(context), Result::kSuccess);
}

TEST_F(ConnectTest, ListenerIsGone) {
  Rank a, b;
  Handle handle;
  void* listen = nullptr;
  ASSERT_EQ(b.api.listen(b.context, 0, handle.data(), &listen),
            Result::kSuccess);
  // First one that has begun, then one that comes late.
  Handle late = handle;
  void* send = &handle;
  ASSERT_EQ(a.api.connect(a.context, 0, handle.data(), &send),
            Result::kSuccess);
  ASSERT_EQ(send, nullptr);
  ASSERT_EQ(b.api.close_listen(listen), Result::kSuccess);
  for (Handle* one : {&handle, &late}) {
    Result result = Result::kSuccess;
    ASSERT_TRUE(Until([&] {
      send = &handle;
      result = a.api.connect(a.context, 0, one->data(), &send);
      return result != Result::kSuccess;
    }));
    EXPECT_EQ(result, Result::kRemoteError);
    EXPECT_EQ(send, nullptr);
    EXPECT_EQ(a.api.close_send(send), Result::kSuccess);
  }
  EXPECT_THAT(LogBook::Warnings(),
              testing::Each(HasSubstr("127.0.0.1")));  // Who it was.
}

TEST_F(ConnectTest, NotAHandle) {
  Rank a;
  Handle handle;
  for (const int fill : {0, 0xff, 0x55}) {
    handle.fill(static_cast<char>(fill));
    void* send = &handle;
    EXPECT_EQ(a.api.connect(a.context, 0, handle.data(), &send),
              Result::kInvalidArgument);
    EXPECT_EQ(send, nullptr);
  }
  EXPECT_THAT(LogBook::Warnings(), testing::Each(HasSubstr("handle")));
}

TEST_F(ConnectTest, NoSuchDevice) {
  Rank a;
  Handle handle = {};
  void* comm = &handle;
  EXPECT_EQ(a.api.listen(a.context, 1, handle.data(), &comm),
            Result::kInvalidArgument);
  EXPECT_EQ(comm, nullptr);
  EXPECT_EQ(a.api.connect(a.context, -1, handle.data(), &comm),
            Result::kInvalidArgument);
  EXPECT_THAT(LogBook::Warnings(), testing::Each(HasSubstr("expected 0..0")));
}

TEST_F(ConnectTest, NoContextYet) {
  const Environment environment;
  Library library;
  const Api api = library.Newest();
  void* context = nullptr;
  Handle handle = {};
  void* comm = &handle;
  // So that there is somebody to tell.
  ASSERT_EQ(api.init(&context), Result::kSuccess);
  ASSERT_EQ(api.finalize(context), Result::kSuccess);
  EXPECT_EQ(api.listen(context, 0, handle.data(), &comm),
            Result::kInvalidUsage);
  EXPECT_EQ(comm, nullptr);
  EXPECT_THAT(LogBook::Warnings(),
              testing::ElementsAre(HasSubstr("there are no devices")));
}

// NCCL gives up: neither the listener nor the connector is closed by it.
TEST_F(ConnectTest, FinalizeReapsWhatIsHalfOpen) {
  const Environment environment;
  Rank far;
  Handle far_handle;
  void* far_listen = nullptr;
  ASSERT_EQ(far.api.listen(far.context, 0, far_handle.data(), &far_listen),
            Result::kSuccess);
  Library library;
  const Api api = library.Newest();
  const int descriptors = OpenDescriptors();
  const int threads = Threads();
  for (int life = 0; life < 3; ++life) {
    void* context;
    ASSERT_EQ(api.init(&context), Result::kSuccess);
    for (int i = 0; i < 5; ++i) {
      Handle handle;
      void* listen = nullptr;
      ASSERT_EQ(api.listen(context, 0, handle.data(), &listen),
                Result::kSuccess);
      // One that is served on neither side, one that is half served.
      void* send = nullptr;
      ASSERT_EQ(api.connect(context, 0, handle.data(), &send),
                Result::kSuccess);
      void* receive = nullptr;
      ASSERT_EQ(api.accept(listen, &receive), Result::kSuccess);
      Handle to_far = far_handle;
      ASSERT_EQ(api.connect(context, 0, to_far.data(), &send),
                Result::kSuccess);
      ASSERT_EQ(far.api.accept(far_listen, &receive), Result::kSuccess);
      ASSERT_EQ(receive, nullptr);
    }
    ASSERT_EQ(api.finalize(context), Result::kSuccess);
    EXPECT_TRUE(ThreadsBecome(threads));
    // The far side learns of it the next time it looks.
    EXPECT_TRUE(Until([&] {
      void* receive = nullptr;
      EXPECT_EQ(far.api.accept(far_listen, &receive), Result::kSuccess);
      EXPECT_EQ(receive, nullptr);
      return OpenDescriptors() == descriptors;
    }));
  }
  EXPECT_EQ(far.api.close_listen(far_listen), Result::kSuccess);
}

// One communicator is given up; the others go on.
TEST_F(ConnectTest, FinalizeReapsItsOwnContextOnly) {
  Rank far;
  Handle far_handle;
  void* far_listen = nullptr;
  ASSERT_EQ(far.api.listen(far.context, 0, far_handle.data(), &far_listen),
            Result::kSuccess);
  const Environment environment;
  Library library;
  const Api api = library.Newest();
  void *stays = nullptr, *goes = nullptr;
  ASSERT_EQ(api.init(&stays), Result::kSuccess);
  Handle kept_handle;
  void *kept_listen = nullptr, *kept_send = nullptr, *none = nullptr;
  ASSERT_EQ(api.listen(stays, 0, kept_handle.data(), &kept_listen),
            Result::kSuccess);
  ASSERT_EQ(api.connect(stays, 0, kept_handle.data(), &kept_send),
            Result::kSuccess);
  // Its guest is let in, so that no descriptor comes later.
  const int without_guest = OpenDescriptors();
  ASSERT_TRUE(Until([&] {
    EXPECT_EQ(api.accept(kept_listen, &none), Result::kSuccess);
    return OpenDescriptors() == without_guest + 1;
  }));
  const int descriptors = OpenDescriptors();
  ASSERT_EQ(api.init(&goes), Result::kSuccess);
  for (int i = 0; i < 5; ++i) {
    Handle handle, to_far = far_handle;
    void *listen = nullptr, *send = nullptr;
    ASSERT_EQ(api.listen(goes, 0, handle.data(), &listen), Result::kSuccess);
    ASSERT_EQ(api.connect(goes, 0, handle.data(), &send), Result::kSuccess);
    ASSERT_EQ(api.connect(goes, 0, to_far.data(), &send), Result::kSuccess);
    ASSERT_EQ(far.api.accept(far_listen, &none), Result::kSuccess);
  }
  // One that is established stays, whatever becomes of its context.
  Link link = Connect(api, goes, api, goes);
  EXPECT_GT(OpenDescriptors(), descriptors + 10);
  ASSERT_EQ(api.finalize(goes), Result::kSuccess);
  EXPECT_TRUE(Until([&] {
    EXPECT_EQ(far.api.accept(far_listen, &none), Result::kSuccess);
    EXPECT_EQ(none, nullptr);
    return OpenDescriptors() == descriptors;
  }));
  Exchange(link, 1000);
  link.Close();
  // What was half open in the other context comes to its end.
  Link kept = {&api, &api};
  ASSERT_TRUE(Until([&] {
    if (kept.send == nullptr) {
      EXPECT_EQ(api.connect(stays, 0, kept_handle.data(), &kept.send),
                Result::kSuccess);
    }
    if (kept.receive == nullptr) {
      EXPECT_EQ(api.accept(kept_listen, &kept.receive), Result::kSuccess);
    }
    return kept.send != nullptr && kept.receive != nullptr;
  }));
  Exchange(kept, 1000);
  kept.Close();
  EXPECT_EQ(api.close_listen(kept_listen), Result::kSuccess);
  EXPECT_EQ(far.api.close_listen(far_listen), Result::kSuccess);
  EXPECT_EQ(api.finalize(stays), Result::kSuccess);
}

TEST_F(ConnectTest, IpVersion6) {
  const Variables six = {{"HAWSER_SOCKET_FAMILY", "AF_INET6"}};
  {
    const Environment environment(six);
    Library library;
    const Api api = library.Newest();
    void* context;
    if (api.init(&context) != Result::kSuccess) {
      GTEST_SKIP() << "loopback has no IPv6 address here";
    }
    EXPECT_EQ(api.finalize(context), Result::kSuccess);
  }
  Rank a(six), b(six);
  Link link = Connect(a, b);
  for (const size_t bytes : {0u, 1u, 5000u, 3'000'000u}) Exchange(link, bytes);
  link.Close();
}

// The side that asks for fewer paths decides.
TEST_F(ConnectTest, DifferentNumbersOfPaths) {
  Rank few(Variables{{"HAWSER_PATHS", "3"}}),
      many(Variables{{"HAWSER_PATHS", "40"}}),
      one(Variables{{"HAWSER_PATHS", "1"}});
  for (Rank* a : {&few, &many, &one}) {
    for (Rank* b : {&few, &many, &one}) {
      Link link = Connect(*a, *b);
      Exchange(link, 2'000'000);
      link.Close();
    }
  }
}

TEST_F(ConnectTest, DifferentNumbersOfEngines) {
  Rank a(Variables{{"HAWSER_ENGINES", "3"}}),
      b(Variables{{"HAWSER_ENGINES", "2"}});
  std::vector<Link> links;
  for (int i = 0; i < 6; ++i) {
    links.push_back(Connect(a, b));
    links.push_back(Connect(b, a));
  }
  for (Link& link : links) Exchange(link, 300'000);
  for (Link& link : links) link.Close();
}

}  // namespace
}  // namespace hawser
