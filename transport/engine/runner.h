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

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/engine/config.h"
#include "transport/engine/engine.h"
#include "transport/engine/naps.h"

namespace hawser {

class Runner {
 public:
  // Owns the planes and the engine. ResourceExhausted if the thread or its
  // wake-up descriptor cannot be had; InvalidArgument if it cannot be pinned.
  static absl::StatusOr<std::unique_ptr<Runner>> Start(
      const Config& config, const wire::EndpointIdentity& identity,
      uint16_t index, std::vector<std::unique_ptr<Datapath>> planes,
      uint64_t seed);
  ~Runner();  // Leaves, and joins the thread.

  // Any thread. The runner's own thread lingers: it serves peers that may
  // still need an ack for what they sent, for at most kLingerMost; then it
  // says goodbye and ends, and nobody takes a turn any more.
  void Leave();
  void Join();  // One thread, after Leave(): awaits that end.

  // Any thread, after mail was written: rings the engine's inbox, and sees to
  // it that somebody looks soon.
  void Ring(InboxEntry* entry);
  // Any thread, after a WithTurn() that gave the engine something to do.
  void Wake();
  // Any thread. Takes a turn if nobody else does and assisting is allowed.
  void Assist();
  // Any thread. The same, and then sleeps until there may be cause for another
  // one, or until `until`.
  void Await(Time until);

  // Any thread: for what may be asked of planes without the turn.
  std::span<Datapath* const> planes() const { return engine_->planes(); }

  // Any thread: `function(engine)` under the turn.
  template <class Function>
  auto WithTurn(Function function) {
    waiting_.fetch_add(1, std::memory_order_relaxed);
    std::lock_guard<std::mutex> lock(turn_);
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    // The thread may be about to sleep on what was due before this.
    look_again_.store(true, std::memory_order_seq_cst);
    return function(*engine_);
  }

 private:
  enum class Poll : uint8_t { kAdaptive, kBusy, kEvent };

  Runner(const Config& config, std::vector<std::unique_ptr<Datapath>> planes);
  void Loop();
  // A turn for somebody else; nullopt: not now.
  std::optional<Engine::Turn> TakeTurn(bool before_sleep);
  void AwaitPlanes();    // Under the turn, before a sleep that watches them.
  void Nap(Time until);  // While others assist.
  void Sleep(Time until, bool watch_planes);
  void Linger();
  bool assisted(Time now) const;
  Time assisted_until() const;
  bool sleeps_beyond(Time time) const;
  bool full() const;  // Some plane takes nothing now.

  // Peers are given this much silence as proof that they have all they need.
  static constexpr Duration kLingerQuiet = Duration::Millis(10);
  static constexpr Duration kLingerMost = Duration::Millis(300);
  // How long a goodbye waits for room; then peers find out by themselves.
  static constexpr Duration kGoodbyeMost = Duration::Millis(100);

  const Poll poll_;
  const Duration spin_;
  const bool may_assist_;
  std::vector<std::unique_ptr<Datapath>> planes_;
  std::unique_ptr<Engine> engine_;
  std::mutex turn_;
  bool ended_ = false;           // Under the turn: there are no more turns.
  std::atomic<int> waiting_{0};  // For the turn, other than by trying.
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> assisted_at_;  // Nanoseconds on the engine's clock.
  Naps naps_;  // So long the thread stays away after an assisted turn.
  // How long the thread sleeps, on the same clock; kAwake: not at all. Before
  // it sleeps long it writes this and then looks at the inbox and at
  // `look_again_`; whoever gives the engine work does it the other way round,
  // so one of the two sees the other.
  static constexpr int64_t kAwake = INT64_MIN;
  std::atomic<int64_t> sleeps_until_{kAwake};
  // Others had a turn since the thread's latest: what it believes is the next
  // deadline may be wrong.
  std::atomic<bool> look_again_{false};
  int event_fd_ = -1;
  std::vector<pollfd> wakers_;  // The thread's own: event_fd_, then planes.
  bool lingers_ = false;        // The thread's own.
  std::thread thread_;
};

}  // namespace hawser
