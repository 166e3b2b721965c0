// Why a thread that keeps out of the way: a wake-up across cores is the most
// expensive primitive there is (up to 100 us on a busy machine, more than a
// whole small all-reduce), and NCCL's progress thread spins on test() anyway.
#include "transport/engine/runner.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "transport/engine/clock.h"

namespace hawser {

Runner::Runner(const Config& config,
               std::vector<std::unique_ptr<Datapath>> planes)
    : poll_(config.poll == "busy"    ? Poll::kBusy
            : config.poll == "event" ? Poll::kEvent
                                     : Poll::kAdaptive),
      spin_(Duration::Micros(config.spin_us)),
      may_assist_(config.assist != 0 && poll_ != Poll::kBusy),
      core_(config.first_core),
      planes_(std::move(planes)),
      assisted_at_((MonotonicNow() - kAssistedFor).nanos()) {}

absl::StatusOr<std::unique_ptr<Runner>> Runner::Start(
    const Config& config, const wire::EndpointIdentity& identity,
    uint16_t index, std::vector<std::unique_ptr<Datapath>> planes,
    uint64_t seed) {
  std::vector<Datapath*> views;
  for (const auto& plane : planes) views.push_back(plane.get());
  auto runner =
      std::unique_ptr<Runner>(new Runner(config, std::move(planes)));
  runner->engine_ = std::make_unique<Engine>(config, identity, index,
                                             std::move(views), seed);
  runner->event_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (runner->event_fd_ < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("eventfd: ", strerror(errno)));
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
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET((config.first_core + index) % CPU_SETSIZE, &cores);
    pthread_setaffinity_np(runner->thread_.native_handle(), sizeof(cores),
                           &cores);
  }
  return runner;
}

Runner::~Runner() {
  if (thread_.joinable()) {
    stop_.store(true);
    Wake();
    thread_.join();
    Linger();
  }
  if (event_fd_ >= 0) close(event_fd_);
}

void Runner::Ring(InboxEntry* entry) {
  if (!engine_->inbox().Ring(entry)) return;
  // Whoever assists will ask again at once, and takes the mail then.
  if (assisted(MonotonicNow())) return;
  if (may_assist_) Assist();
  Wake();
}

void Runner::Wake() {
  if (!sleeping_.load(std::memory_order_seq_cst)) return;
  const uint64_t one = 1;
  // It can only fail where the counter is full, and then it is awake anyway.
  [[maybe_unused]] const ssize_t written =
      write(event_fd_, &one, sizeof(one));
}

void Runner::Assist() {
  if (!may_assist_ || !turn_.try_lock()) return;
  const Time now = MonotonicNow();
  engine_->RunOnce(now);
  turn_.unlock();
  assisted_at_.store(now.nanos(), std::memory_order_relaxed);
}

bool Runner::assisted(Time now) const {
  return now.nanos() - assisted_at_.load(std::memory_order_relaxed) <
         kAssistedFor.nanos();
}

void Runner::Loop() {
  // Sleeps of a few microseconds are worth asking for; the default slack is 50.
  prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
  Time idle_since = MonotonicNow();
  while (!stop_.load(std::memory_order_relaxed)) {
    Time now = MonotonicNow();
    if (assisted(now)) {
      Sleep(now + kAssistedFor, /*watch_planes=*/false);
      continue;
    }
    while (waiting_.load(std::memory_order_relaxed) > 0) sched_yield();
    Engine::Turn turn;
    {
      std::lock_guard<std::mutex> lock(turn_);
      turn = engine_->RunOnce(now);
    }
    if (turn.worked) idle_since = now;
    if (turn.worked || poll_ == Poll::kBusy) continue;
    if (poll_ == Poll::kAdaptive && now - idle_since < spin_) {
      sched_yield();
      continue;
    }
    Sleep(turn.next, /*watch_planes=*/true);
  }
}

void Runner::Sleep(Time until, bool watch_planes) {
  std::vector<pollfd> fds = {{event_fd_, POLLIN, 0}};
  if (watch_planes) {
    for (const auto& plane : planes_) {
      fds.push_back({plane->poll_fd(), POLLIN, 0});
    }
  }
  // Whoever rings the inbox looks at `sleeping_` afterwards, and we look at
  // the inbox after setting it: one of the two sees the other.
  sleeping_.store(true, std::memory_order_seq_cst);
  const Time now = MonotonicNow();
  if (!stop_.load() && (engine_->inbox().empty() || !watch_planes) &&
      until > now) {
    const Duration left =
        std::min(until == Time::Never() ? Duration::Seconds(3600) : until - now,
                 Duration::Seconds(3600));
    timespec timeout = {left.nanos() / 1'000'000'000,
                        left.nanos() % 1'000'000'000};
    ppoll(fds.data(), fds.size(), &timeout, nullptr);
  }
  sleeping_.store(false, std::memory_order_seq_cst);
  if (fds[0].revents & POLLIN) {
    uint64_t count;
    [[maybe_unused]] const ssize_t got =
        read(event_fd_, &count, sizeof(count));
  }
}

// A sender's last request is done only when its last ack has come, and that
// ack may be lost. So a receiver that leaves stays within reach for a moment,
// as TCP does in TIME_WAIT.
void Runner::Linger() {
  std::lock_guard<std::mutex> lock(turn_);
  const Time began = MonotonicNow();
  Time now = began;
  while (engine_->has_peers() && now - began < kLingerMost) {
    const Engine::Turn turn = engine_->RunOnce(now);
    if (!turn.worked) {
      if (engine_->quiet() &&
          now - std::max(engine_->last_heard(), began) > kLingerQuiet) {
        break;
      }
      Sleep(std::min(turn.next, now + kLingerQuiet), /*watch_planes=*/true);
    }
    now = MonotonicNow();
  }
  // Three times, each on another path: none of them is acked.
  for (int i = 0; i < 3; ++i) engine_->SayGoodbye(now);
}

}  // namespace hawser
