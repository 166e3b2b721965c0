#include "transport/datapath/dpdk/bell.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace hawser {

Bell::~Bell() {
  for (const int fd : {epoll_, event_, timer_}) {
    if (fd >= 0) close(fd);
  }
}

bool Bell::Make(std::string* error) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (epoll_ >= 0 && event_ >= 0 && timer_ >= 0 && Watch(event_) &&
      Watch(timer_)) {
    return true;
  }
  *error =
      std::string("cannot make an epoll descriptor: ") + std::strerror(errno);
  return false;
}

bool Bell::Watch(int fd) { return Add(fd, EPOLLIN); }

bool Bell::WatchEdges(int fd) { return Add(fd, EPOLLIN | EPOLLET); }

bool Bell::Add(int fd, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

// What was seen is an edge no more; what is readable still comes again.
void Bell::Forget() {
  std::array<epoll_event, 8> seen;
  epoll_wait(epoll_, seen.data(), seen.size(), 0);
}

void Bell::Keep(bool readable) {
  if (readable == kept_) return;
  kept_ = readable;
  uint64_t count = 1;
  // Neither can fail: the count is 0 or 1.
  [[maybe_unused]] const ssize_t done =
      readable ? write(event_, &count, sizeof count)
               : read(event_, &count, sizeof count);
}

void Bell::Set(Time when, Time now) {
  if (when == set_to_) return;
  set_to_ = when;
  itimerspec to = {};
  if (when != Time::Never()) {
    // 0 would mean never.
    const int64_t nanos = std::max<int64_t>((when - now).nanos(), 1);
    to.it_value.tv_sec = nanos / 1'000'000'000;
    to.it_value.tv_nsec = nanos % 1'000'000'000;
  }
  timerfd_settime(timer_, 0, &to, nullptr);
}

}  // namespace hawser
