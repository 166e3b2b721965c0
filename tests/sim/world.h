// Hosts on a simulated network, and applications that check themselves.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gtest/gtest.h"
#include "transport/sim/simulator.h"

namespace hawser::sim {

// Bytes of a message where its size is of no matter.
inline constexpr uint32_t kMessage = 256 * 1024;

using Outcome = Request::Outcome;

inline constexpr std::byte kUntouched{0xc5};
inline constexpr std::byte kScribble{0x3a};  // Over what was received,
inline constexpr std::byte kSpent{0x5c};     // and over what was sent.

// Eight paths over one plane, and an RTT of about 20 us.
inline HostOptions UsualHost() {
  HostOptions host;
  host.config.paths = 8;
  host.config.rto_min_us = 500;
  host.config.ack_delay_us = 10;
  host.config.target_delay_us = 50;
  host.config.peer_timeout_ms = 1000;
  host.config.window_bytes = 64 * 1024;
  host.config.packet_bytes = 1408;
  host.datapath.entropies = 8;
  host.datapath.max_packet_bytes = 1472;
  return host;
}

class World {
 public:
  explicit World(int hosts = 2, const HostOptions& options = UsualHost(),
                 uint64_t seed = 1)
      : sim(seed) {
    for (int h = 0; h < hosts; ++h) sim.AddHost(options);
    for (int from = 0; from < hosts; ++from) {
      for (int to = 0; to < hosts; ++to) {
        sim.ForEachLink(from, to, [](LinkModel& link) {
          link.delay = Duration::Micros(10);
          link.rate = Rate::GigabitsPerSecond(10);
          link.queue_bytes = 256 * 1024;
        });
      }
    }
  }

  LinkModel& link(int from, int to, int entropy, int plane = 0) {
    return sim.network().link({from, to, plane, entropy});
  }
  LinkCounts counts(int from, int to, int entropy, int plane = 0) {
    return sim.network().counts({from, to, plane, entropy});
  }
  void ForBoth(int a, int b, const std::function<void(LinkModel&)>& change) {
    sim.ForEachLink(a, b, change);
    sim.ForEachLink(b, a, change);
  }
  // What host `at` thinks of host `other`, found by its name.
  const Peer& peer(int at, int other) {
    const std::string name = "host" + std::to_string(other);
    for (const auto& peer : sim.engine(at).peers()) {
      if (peer->name == name) return *peer;
    }
    ADD_FAILURE() << "host " << at << " does not know " << name;
    std::abort();
  }
  const Path& path(int at, int other, int p) {
    return peer(at, other).paths[static_cast<size_t>(p)];
  }
  const EngineMetrics& metrics(int host) { return sim.engine(host).metrics(); }
  uint64_t suspected(int at, int other) {
    uint64_t sum = 0;
    for (const Path& path : peer(at, other).paths) {
      sum += path.counts().times_suspect;
    }
    return sum;
  }
  // Lets time pass.
  void Wait(Duration time) {
    (void)sim.RunUntil([] { return false; }, time);
  }

  Simulator sim;
};

// A flow with an application at either end, which keep it full until all
// messages have been sent and received.
class Stream {
 public:
  Stream(World& world, int from, int to, int messages, uint32_t bytes,
         std::optional<uint32_t> capacity = std::nullopt)
      : sim_(world.sim), flow_(world.sim.Connect(from, to)) {
    Random random(Mix64(static_cast<uint64_t>(from * 1000 + to)));
    pattern_.resize(bytes + kShifts);
    for (std::byte& b : pattern_) b = static_cast<std::byte>(random.Next());
    for (size_t m = 0; m < static_cast<size_t>(messages); ++m) {
      const auto content = Content(m);
      sent_.emplace_back(content.begin(), content.end());
      received_.emplace_back(capacity.value_or(bytes), kUntouched);
    }
    sends.outcomes.resize(sent_.size());
    receives.outcomes.resize(sent_.size());
    scribbled_.resize(sent_.size());
  }

  struct End {
    size_t posted = 0, done = 0;
    bool may_post = true;
    size_t most_posted = SIZE_MAX;  // Until this is raised.
    bool closed = false;
    struct Open {
      Request* request;
      size_t message;
    };
    std::vector<Open> open;
    std::vector<std::optional<Outcome>> outcomes;
    Time last_done;  // When the latest of them ended.
    bool All(Outcome outcome) const {
      return std::all_of(outcomes.begin(), outcomes.end(),
                         [&](const auto& one) { return one == outcome; });
    }
    size_t Count(Outcome outcome) const {
      return static_cast<size_t>(
          std::count(outcomes.begin(), outcomes.end(), outcome));
    }
  };
  End sends, receives;
  bool watched = true;  // Of every receive that is yet to be posted.

  const SimFlow& flow() const { return flow_; }
  size_t messages() const { return sent_.size(); }
  const std::vector<std::byte>& received(size_t m) const {
    return received_[m];
  }

  // Posts what fits and tests what is open. True: nothing is left to do.
  bool Step() {
    Post();
    Test();
    return finished(sends) && finished(receives);
  }
  void CloseSender() { Close(sends, flow_.send, flow_.from); }
  void CloseReceiver() { Close(receives, flow_.receive, flow_.to); }

  // All buffers that were done, or whose flow was closed, are as they were
  // left: nothing was written after that.
  void ExpectUntouched() const {
    for (size_t m = 0; m < received_.size(); ++m) {
      if (!scribbled_[m]) continue;
      EXPECT_TRUE(std::all_of(received_[m].begin(), received_[m].end(),
                              [](std::byte b) { return b == kScribble; }))
          << "message " << m;
    }
  }
  void ExpectAllOk() const {
    EXPECT_TRUE(sends.All(Outcome::kOk));
    EXPECT_TRUE(receives.All(Outcome::kOk));
    ExpectUntouched();
  }

 private:
  // Each message is another part of one pattern.
  static constexpr size_t kShifts = 4096;
  std::span<const std::byte> Content(size_t m) const {
    return std::span(pattern_).subspan(m % kShifts, pattern_.size() - kShifts);
  }
  bool finished(const End& end) const {
    return end.closed || end.done == sent_.size();
  }
  void Post() {
    while (sends.may_post && !sends.closed &&
           sends.posted < std::min(sends.most_posted, sent_.size())) {
      Request* request = sim_.Send(flow_, sent_[sends.posted]);
      if (request == nullptr) break;
      sends.open.push_back({request, sends.posted++});
    }
    while (receives.may_post && !receives.closed &&
           receives.posted < std::min(receives.most_posted, sent_.size())) {
      Request* request =
          sim_.Receive(flow_, received_[receives.posted], watched);
      if (request == nullptr) break;
      receives.open.push_back({request, receives.posted++});
    }
  }
  void Test() {
    TestEnd(sends,
            [&](size_t m, Outcome, uint32_t) { Scribble(sent_[m], kSpent); });
    TestEnd(receives, [&](size_t m, Outcome outcome, uint32_t bytes) {
      if (outcome == Outcome::kOk) {
        const auto content = Content(m);
        EXPECT_EQ(bytes, content.size());
        EXPECT_TRUE(
            std::equal(content.begin(), content.end(), received_[m].begin()))
            << "message " << m;
        EXPECT_TRUE(std::all_of(
            received_[m].begin() + static_cast<ptrdiff_t>(content.size()),
            received_[m].end(), [](std::byte b) { return b == kUntouched; }))
            << "beyond message " << m;
      }
      Scribble(received_[m], kScribble);
      scribbled_[m] = true;
    });
  }
  template <class OnDone>
  void TestEnd(End& end, OnDone on_done) {
    if (end.closed) return;
    for (size_t i = 0; i < end.open.size();) {
      Outcome outcome;
      uint32_t bytes = 0;
      const End::Open open = end.open[i];
      if (!RequestQueue::Test(open.request, &outcome, &bytes)) {
        ++i;
        continue;
      }
      end.open.erase(end.open.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_FALSE(end.outcomes[open.message].has_value());
      end.outcomes[open.message] = outcome;
      ++end.done;
      end.last_done = sim_.now();
      on_done(open.message, outcome, bytes);
    }
  }
  void Close(End& end, FlowRecord* record, int host) {
    Test();
    sim_.Close(record, host);
    end.closed = true;
    if (&end == &sends) {
      for (auto& message : sent_) Scribble(message, kSpent);
      return;
    }
    for (size_t m = 0; m < received_.size(); ++m) {
      Scribble(received_[m], kScribble);
      scribbled_[m] = true;
    }
  }
  static void Scribble(std::vector<std::byte>& bytes, std::byte over) {
    std::fill(bytes.begin(), bytes.end(), over);
  }

  Simulator& sim_;
  SimFlow flow_;
  std::vector<std::byte> pattern_;
  std::vector<std::vector<std::byte>> sent_, received_;
  std::vector<bool> scribbled_;  // Of the received ones.
};

// True if all of them come to an end within `limit`.
inline bool Finish(World& world, const std::vector<Stream*>& streams,
                   Duration limit = Duration::Seconds(20)) {
  return world.sim.RunUntil(
      [&] {
        bool all = true;
        for (Stream* stream : streams) all &= stream->Step();
        return all;
      },
      limit);
}

}  // namespace hawser::sim
