// Why a thread that keeps out of the way: a wake-up across cores is the most
// expensive primitive there is (up to 100 us on a busy machine, more than a
// whole small all-reduce), and NCCL's progress thread spins on test() anyway.
//
// Why it must be woken now and then all the same: the thread sleeps until the
// deadline that its own latest turn told. When others begin to take turns, new
// deadlines appear; so it is woken once, and from then on naps for as long as
// the application assists.
//
// Why the naps have no fixed length: on a machine that is slow, or full, a
// nap's end comes late, and what then runs instead of the application's thread
// finds that it was not needed. In an emulated machine naps of half a
// millisecond made a round trip take four times as long.
#include "transport/engine/runner.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "transport/engine/clock.h"

namespace hawser {
namespace {

// Of what never comes. Waking up once an hour costs nothing.
constexpr Duration kSleepMost = Duration::Seconds(3600);

absl::Status Pin(pthread_t thread, uint16_t index, int first_core) {
  const int core = first_core + index;
  int error = EINVAL;
  if (core < CPU_SETSIZE) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    error = pthread_setaffinity_np(thread, sizeof(cores), &cores);
  }
  if (error == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("HAWSER_FIRST_CORE=", first_core, ": engine ", index,
                   " cannot be pinned to core ", core, ": ", strerror(error)));
}

// Until one of them is readable, or it is so late.
void WaitFor(std::span<pollfd> any, Time until) {
  const Time now = MonotonicNow();
  if (until <= now) return;
  const Duration left = until - now < kSleepMost ? until - now : kSleepMost;
  const timespec timeout = {left.nanos() / 1'000'000'000,
                            left.nanos() % 1'000'000'000};
  ppoll(any.data(), any.size(), &timeout, nullptr);
}

}  // namespace

Runner::Runner(const Config& config,
               std::vector<std::unique_ptr<Datapath>> planes)
    : poll_(config.poll == "busy"    ? Poll::kBusy
            : config.poll == "event" ? Poll::kEvent
                                     : Poll::kAdaptive),
      spin_(Duration::Micros(config.spin_us)),
      may_assist_(config.assist != 0 && poll_ != Poll::kBusy),
      planes_(std::move(planes)),
      assisted_at_((MonotonicNow() - Naps::kLeast).nanos()) {}

absl::StatusOr<std::unique_ptr<Runner>> Runner::Start(
    const Config& config, const wire::EndpointIdentity& identity,
    uint16_t index, std::vector<std::unique_ptr<Datapath>> planes,
    uint64_t seed) {
  std::vector<Datapath*> views;
  for (const auto& plane : planes) views.push_back(plane.get());
  auto runner = std::unique_ptr<Runner>(new Runner(config, std::move(planes)));
  runner->engine_ =
      std::make_unique<Engine>(config, identity, index, std::move(views), seed);
  runner->event_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (runner->event_fd_ < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("eventfd: ", strerror(errno)));
  }
  runner->wakers_ = {{runner->event_fd_, POLLIN, 0}};
  for (const auto& plane : runner->planes_) {
    runner->wakers_.push_back({plane->poll_fd(), POLLIN, 0});
  }
  // Signals belong to the application's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  absl::Status started;
  try {
    runner->thread_ = std::thread([raw = runner.get()] { raw->Loop(); });
  } catch (const std::system_error& error) {
    started = absl::ResourceExhaustedError(
        absl::StrCat("no thread for an engine: ", error.what()));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started.ok()) return started;
  pthread_setname_np(runner->thread_.native_handle(),
                     absl::StrCat("hawser ", index).c_str());
  if (config.first_core >= 0) {
    if (absl::Status pinned =
            Pin(runner->thread_.native_handle(), index, config.first_core);
        !pinned.ok()) {
      return pinned;
    }
  }
  return runner;
}

Runner::~Runner() {
  Leave();
  Join();
  if (event_fd_ >= 0) close(event_fd_);
}

void Runner::Leave() {
  stop_.store(true, std::memory_order_seq_cst);
  Wake();
}

void Runner::Join() {
  if (thread_.joinable()) thread_.join();
}

void Runner::Ring(InboxEntry* entry) {
  if (!engine_->inbox().Ring(entry)) return;
  // Whoever assists will ask again at once, and takes the mail then; if not,
  // the thread does after its nap.
  const Time now = MonotonicNow();
  if (assisted(now) && !sleeps_beyond(now + naps_.span())) return;
  if (may_assist_) Assist();
  Wake();
}

void Runner::Wake() {
  // Once is enough for one sleep.
  if (sleeps_until_.exchange(kAwake, std::memory_order_seq_cst) == kAwake) {
    return;
  }
  const uint64_t one = 1;
  // It can only fail where the counter is full, and then it is awake anyway.
  [[maybe_unused]] const ssize_t written = write(event_fd_, &one, sizeof(one));
}

std::optional<Engine::Turn> Runner::TakeTurn(bool before_sleep) {
  // Those who wait for the turn would wait long if it never lay free: a lock
  // favours the thread that is running.
  if (!may_assist_ || waiting_.load(std::memory_order_relaxed) > 0 ||
      !turn_.try_lock()) {
    return std::nullopt;
  }
  std::optional<Engine::Turn> turn;
  if (!ended_) {
    // Read under the turn: time does not run backwards for an engine.
    const Time now = MonotonicNow();
    turn = engine_->RunOnce(now);
    if (before_sleep && !turn->worked) AwaitPlanes();
    // A turn full of work takes longer than a nap does.
    assisted_at_.store((turn->worked ? MonotonicNow() : now).nanos(),
                       std::memory_order_relaxed);
    look_again_.store(true, std::memory_order_seq_cst);
  }
  turn_.unlock();
  return turn;
}

void Runner::Assist() {
  const auto turn = TakeTurn(/*before_sleep=*/false);
  if (turn && sleeps_beyond(std::max(turn->next, assisted_until()))) Wake();
}

// What others ask of the engine meanwhile, the runner's own thread finds after
// its nap, as it does when nobody asks any more.
void Runner::Await(Time until) {
  const auto turn = TakeTurn(/*before_sleep=*/true);
  if (!turn) {
    sched_yield();
    return;
  }
  if (sleeps_beyond(std::max(turn->next, assisted_until()))) Wake();
  if (turn->worked) return;
  std::array<pollfd, wire::kMaxPlanes> planes;
  size_t count = 0;
  for (const auto& plane : planes_) {
    planes[count++] = {plane->poll_fd(), POLLIN, 0};
  }
  WaitFor(std::span(planes).first(count), std::min(turn->next, until));
}

Time Runner::assisted_until() const {
  return Time::FromNanos(assisted_at_.load(std::memory_order_relaxed)) +
         naps_.span();
}

bool Runner::assisted(Time now) const { return now < assisted_until(); }

bool Runner::full() const {
  return std::any_of(planes_.begin(), planes_.end(),
                     [](const auto& plane) { return plane->tx_room() == 0; });
}

bool Runner::sleeps_beyond(Time time) const {
  return sleeps_until_.load(std::memory_order_seq_cst) > time.nanos();
}

void Runner::Loop() {
  // Sleeps of a few microseconds are worth asking for; the default slack is 50.
  prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
  Time idle_since = MonotonicNow();
  while (!stop_.load(std::memory_order_relaxed)) {
    Time now = MonotonicNow();
    if (assisted(now)) {
      Nap(assisted_until());
      continue;
    }
    while (waiting_.load(std::memory_order_relaxed) > 0) sched_yield();
    Engine::Turn turn;
    bool spins = false;
    {
      std::unique_lock<std::mutex> lock(turn_, std::defer_lock);
      if (!may_assist_) {
        lock.lock();
      } else if (!lock.try_lock()) {
        // A turn that is not over yet is assistance, too; and who has it would
        // have to wake who waits for it.
        Nap(MonotonicNow() + naps_.span());
        continue;
      }
      look_again_.store(false, std::memory_order_seq_cst);
      now = MonotonicNow();
      turn = engine_->RunOnce(now);
      if (turn.worked) idle_since = now;
      if (turn.worked || poll_ == Poll::kBusy) continue;
      spins = poll_ == Poll::kAdaptive && now - idle_since < spin_;
      if (!spins) AwaitPlanes();
    }
    if (spins) {
      sched_yield();
      continue;
    }
    Sleep(turn.next, /*watch_planes=*/true);
  }
  Linger();
}

void Runner::Nap(Time until) {
  Sleep(until, /*watch_planes=*/false);
  const Time now = MonotonicNow();
  if (now >= until) naps_.OnLate(now - until);  // Else it was woken.
}

void Runner::AwaitPlanes() {
  for (const auto& plane : planes_) plane->Await();
}

void Runner::Sleep(Time until, bool watch_planes) {
  sleeps_until_.store(until.nanos(), std::memory_order_seq_cst);
  // A nap is short enough (Naps::kMost) to leave mail, and the end, for
  // afterwards.
  const bool called =
      watch_planes && (!engine_->inbox().empty() ||
                       look_again_.load(std::memory_order_seq_cst) ||
                       (!lingers_ && stop_.load(std::memory_order_seq_cst)));
  wakers_[0].revents = 0;
  if (!called) {
    WaitFor(std::span(wakers_).first(watch_planes ? wakers_.size() : 1), until);
  }
  sleeps_until_.store(kAwake, std::memory_order_seq_cst);
  if (wakers_[0].revents & POLLIN) {
    uint64_t count;
    [[maybe_unused]] const ssize_t got = read(event_fd_, &count, sizeof(count));
  }
}

// A sender's last request is done only when its last ack has come, and that
// ack may be lost. So a receiver that leaves stays within reach for a moment,
// as TCP does in TIME_WAIT.
void Runner::Linger() {
  std::lock_guard<std::mutex> lock(turn_);
  lingers_ = true;
  const Time began = MonotonicNow();
  Time now = began;
  while (engine_->has_peers() && now - began < kLingerMost) {
    look_again_.store(false, std::memory_order_seq_cst);
    const Engine::Turn turn = engine_->RunOnce(now);
    if (!turn.worked) {
      if (engine_->quiet() &&
          now - std::max(engine_->last_heard(), began) > kLingerQuiet) {
        break;
      }
      AwaitPlanes();
      Sleep(std::min(turn.next, now + kLingerQuiet), /*watch_planes=*/true);
    }
    now = MonotonicNow();
  }
  const Time give_up = now + kGoodbyeMost;
  while (!engine_->SayGoodbye(now) && now < give_up) {
    if (full()) {
      AwaitPlanes();
      Sleep(give_up, /*watch_planes=*/true);
    }
    now = MonotonicNow();
    // To receive is also to send what waits for room.
    engine_->RunOnce(now);
  }
  ended_ = true;
}

}  // namespace hawser
