// What tests of the engine room share: endpoints of one process that meet over
// loopback.
// Knows: endpoints, handles.  Never: NCCL.
#pragma once

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/engine/endpoint.h"
#include "transport/engine/rendezvous.h"

namespace hawser {

using Clock = std::chrono::steady_clock;

inline double MillisSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin)
      .count();
}

// Asks until it is so. The limit only tells slow from never.
template <class Condition>
bool Until(Condition condition, double limit_ms = 60'000) {
  const auto begin = Clock::now();
  while (!condition()) {
    if (MillisSince(begin) > limit_ms) return false;
    sched_yield();
  }
  return true;
}

// Lets real time pass, where time itself is what a test is about: what a
// process does while nobody asks anything of it.
inline void StayAway(int millis) { poll(nullptr, 0, millis); }

// Processor time of this whole process.
inline double CpuMillis() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto millis = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e3 +
           static_cast<double>(time.tv_usec) / 1e3;
  };
  return millis(usage.ru_utime) + millis(usage.ru_stime);
}

// Lines that an endpoint wrote.
struct Lines {
  std::mutex mutex;
  std::vector<std::string> lines;

  LogSink sink() {
    return [this](LogLevel, const std::string& line) {
      std::lock_guard<std::mutex> lock(mutex);
      lines.push_back(line);
    };
  }
  std::vector<std::string> Take() {
    std::lock_guard<std::mutex> lock(mutex);
    return std::exchange(lines, {});
  }
};

inline std::vector<Interface> Loopback() {
  auto found = FindInterfaces("=lo", AddressFamily::kIpv4);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? *found : std::vector<Interface>();
}

inline std::unique_ptr<Endpoint> MakeEndpoint(const Config& config = {},
                                              LogSink log = {}) {
  auto endpoint = Endpoint::Create(config, Loopback(), std::move(log));
  EXPECT_TRUE(endpoint.ok()) << endpoint.status();
  return endpoint.ok() ? *std::move(endpoint) : nullptr;
}

inline std::unique_ptr<Listener> MakeListener(Endpoint& endpoint) {
  auto listener = Listener::Create(endpoint);
  EXPECT_TRUE(listener.ok()) << listener.status();
  return listener.ok() ? *std::move(listener) : nullptr;
}

// Both halves of a flow.
struct Flow {
  std::unique_ptr<FlowEnd> send, receive;
};

inline Flow ConnectTo(Endpoint& from, Listener& to) {
  Flow flow;
  auto connector = Connector::Create(from, to.handle());
  EXPECT_TRUE(connector.ok()) << connector.status();
  if (!connector.ok()) return flow;
  EXPECT_TRUE(Until([&] {
    if (!flow.send) {
      auto made = (*connector)->Connect();
      EXPECT_TRUE(made.ok()) << made.status();
      if (!made.ok()) return true;
      flow.send = *std::move(made);
      // Its end of file is the last word of the handshake.
      if (flow.send) connector->reset();
    }
    auto made = to.Accept();
    EXPECT_TRUE(made.ok()) << made.status();
    if (!made.ok()) return true;
    if (*made) flow.receive = *std::move(made);
    return flow.send && flow.receive;
  }));
  return flow;
}

inline Flow ConnectTo(Endpoint& from, Endpoint& to) {
  const auto listener = MakeListener(to);
  return ConnectTo(from, *listener);
}

struct Asked {
  FlowEnd* flow = nullptr;
  Request* request = nullptr;
  bool done = false;
  Request::Outcome outcome = Request::Outcome::kOk;
  uint32_t bytes_moved = 0;

  bool Test() {
    done = done || flow->Test(request, &outcome, &bytes_moved);
    return done;
  }
  bool Finish(double limit_ms = 60'000) {
    return Until([&] { return Test(); }, limit_ms);
  }
  // And it ended well.
  bool Succeed() { return Finish() && outcome == Request::Outcome::kOk; }
};

inline Asked Ask(FlowEnd& flow, void* memory, size_t bytes) {
  Asked asked = {&flow};
  EXPECT_TRUE(Until([&] {
    asked.request = flow.Submit(
        {static_cast<std::byte*>(memory), static_cast<uint32_t>(bytes), 0});
    return asked.request != nullptr;
  }));
  return asked;
}

// One message, checked whole.
inline void Exchange(const Flow& flow, size_t bytes, uint8_t seed = 1) {
  std::vector<uint8_t> out(bytes), in(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    out[i] = static_cast<uint8_t>(seed + i * 7 + i / 251);
  }
  Asked receive = Ask(*flow.receive, in.data(), bytes);
  Asked send = Ask(*flow.send, out.data(), bytes);
  ASSERT_TRUE(receive.Succeed());
  ASSERT_TRUE(send.Succeed());
  ASSERT_EQ(in, out);
}

}  // namespace hawser
