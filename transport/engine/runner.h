// Runner: gives an engine its turns, and knows how to wait.
// Knows: a thread, a lock, how to sleep and be woken.  Never: what a turn does.
//
// An engine has one turn at a time, and whoever holds the lock takes it: the
// runner's own thread, or, where assisting is allowed, an application thread
// that asks for the fate of a request and has nothing better to do. While the
// application assists, the thread keeps out of its way and only looks in now
// and then; when the application turns to other work, the thread takes
// over. On few cores this saves two wake-ups per message.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/engine/config.h"
#include "transport/engine/engine.h"

namespace hawser {

class Runner {
 public:
  // Owns the planes and the engine. SystemError if the thread or its wake-up
  // descriptor cannot be had.
  static absl::StatusOr<std::unique_ptr<Runner>> Start(
      const Config& config, const wire::EndpointIdentity& identity,
      uint16_t index, std::vector<std::unique_ptr<Datapath>> planes,
      uint64_t seed);
  // Lingers: serves peers that may still need an ack for what they sent, for
  // at most kLingerMost, says goodbye, and joins the thread.
  ~Runner();

  // Any thread, after mail was written: rings the engine's inbox, and sees to
  // it that somebody looks soon.
  void Ring(InboxEntry* entry);
  // Any thread: ends the thread's sleep.
  void Wake();
  // Any thread. Takes a turn if nobody else does and assisting is allowed.
  void Assist();

  // Any thread: `function(engine, now)` under the turn.
  template <class Function>
  auto WithTurn(Function function) {
    waiting_.fetch_add(1, std::memory_order_relaxed);
    std::lock_guard<std::mutex> lock(turn_);
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    return function(*engine_);
  }

 private:
  enum class Poll : uint8_t { kAdaptive, kBusy, kEvent };

  Runner(const Config& config, std::vector<std::unique_ptr<Datapath>> planes);
  void Loop();
  void Sleep(Time until, bool watch_planes);
  void Linger();
  bool assisted(Time now) const;

  // How long the thread stays away after an assisted turn.
  static constexpr Duration kAssistedFor = Duration::Micros(500);
  // Peers are given this much silence as proof that they have all they need.
  static constexpr Duration kLingerQuiet = Duration::Millis(10);
  static constexpr Duration kLingerMost = Duration::Millis(300);

  const Poll poll_;
  const Duration spin_;
  const bool may_assist_;
  const int core_;
  std::vector<std::unique_ptr<Datapath>> planes_;
  std::unique_ptr<Engine> engine_;
  std::mutex turn_;
  std::atomic<int> waiting_{0};      // For the turn, other than by trying.
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> assisted_at_;  // Nanoseconds on the engine's clock.
  int event_fd_ = -1;
  std::thread thread_;
};

}  // namespace hawser
