// A descriptor that is readable when it is time to look at a port again.
// Knows: epoll, an event, a timer.  Never: why.
#pragma once

#include <cstdint>
#include <string>

#include "transport/base/time.h"

namespace hawser {

class Bell {
 public:
  Bell() = default;
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  bool Make(std::string* error);  // False, and a sentence in `error`.
  int fd() const { return epoll_; }
  // Readable whenever `fd`, which stays another's, is.
  bool Watch(int fd);
  // Readable when `fd` has become so, or once more so, since Forget. For who
  // cannot make it unreadable.
  bool WatchEdges(int fd);
  void Forget();
  // Readable until it is told otherwise.
  void Keep(bool readable);
  // Readable from `when` on, until set anew. Never: not at all.
  void Set(Time when, Time now);

 private:
  bool Add(int fd, uint32_t events);

  int epoll_ = -1;
  int event_ = -1;
  int timer_ = -1;
  bool kept_ = false;
  Time set_to_ = Time::Never();
};

}  // namespace hawser
