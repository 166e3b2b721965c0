#include "transport/engine/reception.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include <set>

#include "tests/engine/doors.h"
#include "tests/engine/loopback.h"

namespace hawser {
namespace {

// A plain TCP connection to a port of this host; -1 if it is refused.
int Knock(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = port;
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return fd;
  close(fd);
  return -1;
}

std::unique_ptr<FlowEnd> AcceptOnce(Listener& listener) {
  auto made = listener.Accept();
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : nullptr;
}

TEST(Reception, Enter__a_thousand_listeners_share_a_port) {
  const auto endpoint = MakeEndpoint();
  const int before = OpenDescriptors();
  std::vector<std::unique_ptr<Listener>> listeners;
  std::set<uint16_t> ports;
  for (int i = 0; i < 1000; ++i) {
    listeners.push_back(MakeListener(*endpoint));
    ports.insert(PortOf(listeners.back()->handle()));
  }
  EXPECT_EQ(ports.size(), 1u);
  EXPECT_EQ(OpenDescriptors(), before + 2);  // The door, and the watch.
  listeners.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(Reception, Leave__the_last_one_closes_the_doors) {
  const auto endpoint = MakeEndpoint();
  auto one = MakeListener(*endpoint), other = MakeListener(*endpoint);
  const uint16_t port = PortOf(one->handle());
  one.reset();
  const int fd = Knock(port);
  EXPECT_GE(fd, 0);
  other.reset();
  char byte;
  EXPECT_EQ(recv(fd, &byte, 1, 0), -1);  // Reset, and not kept waiting.
  EXPECT_EQ(Knock(port), -1);
  close(fd);
  // And they open again.
  other = MakeListener(*endpoint);
  const auto from = MakeEndpoint();
  Exchange(ConnectTo(*from, *other), 1000);
}

TEST(Reception, Accept__each_guest_reaches_its_own_listener) {
  constexpr size_t kListeners = 20;
  const auto from = MakeEndpoint(), to = MakeEndpoint();
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<std::unique_ptr<Connector>> connectors;
  std::vector<Flow> flows(kListeners);
  for (size_t i = 0; i < kListeners; ++i) {
    listeners.push_back(MakeListener(*to));
    auto connector = Connector::Create(*from, listeners.back()->handle());
    ASSERT_TRUE(connector.ok()) << connector.status();
    connectors.push_back(*std::move(connector));
  }
  // The first listener is asked for as long as there is anything to do. What
  // is not its own it keeps for the others.
  EXPECT_TRUE(Until([&] {
    size_t made = 0;
    for (size_t i = 0; i < kListeners; ++i) {
      if (!flows[i].send) {
        auto flow = connectors[i]->Connect();
        EXPECT_TRUE(flow.ok()) << flow.status();
        if (!flow.ok()) return true;
        flows[i].send = *std::move(flow);
        if (flows[i].send) connectors[i].reset();
      }
      made += flows[i].send != nullptr;
    }
    if (!flows[0].receive) flows[0].receive = AcceptOnce(*listeners[0]);
    return made == kListeners && flows[0].receive;
  }));
  for (size_t i = kListeners - 1; i > 0; --i) {
    EXPECT_TRUE(Until([&] {
      flows[i].receive = AcceptOnce(*listeners[i]);
      return flows[i].receive != nullptr;
    }));
  }
  for (size_t i = 0; i < kListeners; ++i) {
    Exchange(flows[i], 100 + i, static_cast<uint8_t>(i));
  }
}

TEST(Reception, Leave__guests_of_others_stay) {
  const auto from = MakeEndpoint(), to = MakeEndpoint();
  const auto stays = MakeListener(*to);
  auto goes = MakeListener(*to);
  auto connector = Connector::Create(*from, stays->handle());
  ASSERT_TRUE(connector.ok()) << connector.status();
  EXPECT_TRUE(Until([&] {  // Until it has been welcomed.
    EXPECT_TRUE((*connector)->Connect().ok());
    EXPECT_EQ(AcceptOnce(*goes), nullptr);
    return !to->Report().empty();
  }));
  goes.reset();
  Flow flow;
  EXPECT_TRUE(Until([&] {
    if (!flow.send) {
      auto made = (*connector)->Connect();
      EXPECT_TRUE(made.ok()) << made.status();
      if (!made.ok()) return true;
      flow.send = *std::move(made);
      if (flow.send) connector->reset();
    }
    flow.receive = AcceptOnce(*stays);
    return flow.receive != nullptr;
  }));
  ASSERT_TRUE(flow.send && flow.receive);
  Exchange(flow, 1000);
}

// More than are listened to, and for longer than it takes to say a word: each
// who comes makes the oldest go, so the last one is heard.
TEST(Reception, Accept__the_oldest_silent_one_gives_way) {
  constexpr size_t kStrangers = 4096 + 8;
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit before = limit;
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_cur < 2 * kStrangers + 100) {
    GTEST_SKIP() << "this process may have " << limit.rlim_cur
                 << " descriptors only";
  }
  Config patient;
  patient.handshake_timeout_ms = 3'600'000;
  const auto from = MakeEndpoint(), to = MakeEndpoint(patient);
  const auto listener = MakeListener(*to);
  std::vector<int> strangers;
  for (size_t i = 0; i < kStrangers; ++i) {
    strangers.push_back(Knock(PortOf(listener->handle())));
    ASSERT_GE(strangers.back(), 0);
    EXPECT_EQ(AcceptOnce(*listener), nullptr);
  }
  EXPECT_TRUE(Until([&] {
    EXPECT_EQ(AcceptOnce(*listener), nullptr);
    char byte;
    return recv(strangers[7], &byte, 1, MSG_DONTWAIT) == 0;
  }));
  Exchange(ConnectTo(*from, *listener), 1000);
  for (const int fd : strangers) close(fd);
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace hawser
