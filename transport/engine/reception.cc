#include "transport/engine/reception.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/check.h"
#include "transport/engine/clock.h"
#include "transport/engine/last_error.h"

namespace hawser {
namespace {

// Of accept(): all but these are the troubles of one connection, which Linux
// reports where it is taken off the queue, and no reason to give up.
bool IsOfTheSystem(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM || error == EBADF || error == EINVAL;
}

}  // namespace

Reception::~Reception() { HAWSER_CHECK(hosts_.empty()); }

// --- Listeners come and go -------------------------------------------------

absl::StatusOr<std::vector<sockaddr_storage>> Reception::Enter(uint64_t nonce) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (hosts_.empty()) {
    if (absl::Status opened = OpenDoors(); !opened.ok()) {
      CloseDoors();
      return opened;
    }
  }
  auto host = std::make_unique<Host>();
  host->nonce = nonce;
  hosts_[nonce] = std::move(host);
  return addresses_;
}

void Reception::Leave(uint64_t nonce) {
  std::lock_guard<std::mutex> lock(mutex_);
  Host& host = *hosts_.at(nonce);
  while (!host.guests.empty()) {
    host.guests.front().stream.Abort();
    Dismiss(host.guests.front());
  }
  hosts_.erase(nonce);
  if (hosts_.empty()) CloseDoors();
}

absl::Status Reception::OpenDoors() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) {
    return absl::ResourceExhaustedError(LastError("epoll_create1"));
  }
  absl::Status first_failure;
  for (const Interface& interface : endpoint_.interfaces()) {
    if (doors_.size() == kMaxDoors) break;
    if (absl::Status opened = OpenDoor(interface.address); !opened.ok()) {
      endpoint_.Log(LogLevel::kInfo, std::string(opened.message()));
      first_failure.Update(opened);
    }
  }
  // An interface may be gone by now; one that is left will do.
  return doors_.empty() ? first_failure : absl::OkStatus();
}

// Takes a free port there, which becomes part of its address.
absl::Status Reception::OpenDoor(sockaddr_storage address) {
  const std::string where = ToString(address);
  const int fd =
      socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ResourceExhaustedError(LastError("socket"));
  socklen_t length = sizeof(address);
  epoll_event event = {EPOLLIN, {.ptr = nullptr}};  // No guest: a door.
  if (bind(fd, reinterpret_cast<sockaddr*>(&address),
           address.ss_family == AF_INET ? sizeof(sockaddr_in)
                                        : sizeof(sockaddr_in6)) != 0 ||
      listen(fd, SOMAXCONN) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    const std::string why = LastError(absl::StrCat("cannot listen on ", where));
    close(fd);
    return absl::ResourceExhaustedError(why);
  }
  doors_.push_back(fd);
  addresses_.push_back(address);
  return absl::OkStatus();
}

void Reception::CloseDoors() {
  while (!strangers_.empty()) {
    strangers_.front().stream.Abort();
    Dismiss(strangers_.front());
  }
  for (const int fd : doors_) {
    shutdown(fd, SHUT_RDWR);  // Whoever waits in its queue is reset.
    close(fd);
  }
  doors_.clear();
  addresses_.clear();
  if (epoll_fd_ >= 0) close(std::exchange(epoll_fd_, -1));
}

// --- Guests ----------------------------------------------------------------

absl::StatusOr<std::unique_ptr<FlowEnd>> Reception::Accept(uint64_t nonce) {
  std::lock_guard<std::mutex> lock(mutex_);
  const absl::Status served = Serve(MonotonicNow());
  Host& host = *hosts_.at(nonce);
  if (!host.flows.empty()) {
    std::unique_ptr<FlowEnd> flow = std::move(host.flows.front());
    host.flows.pop_front();
    return flow;
  }
  if (!served.ok()) return served;
  return std::unique_ptr<FlowEnd>();
}

// All that has happened since the last call, whomever it concerns. Guests
// before doors: for who comes in at a door another may have to go.
absl::Status Reception::Serve(Time now) {
  bool again = true;
  for (int round = 0; again && round < kMaxRounds; ++round) {
    again = false;
    epoll_event events[64];
    const int count = epoll_wait(epoll_fd_, events, std::size(events), 0);
    bool door_knocked = false;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr) {
        door_knocked = true;
      } else {
        Hear(*static_cast<Guest*>(events[i].data.ptr));
        again = true;
      }
    }
    for (size_t door = 0; door_knocked && door < doors_.size(); ++door) {
      const absl::StatusOr<bool> came = Admit(doors_[door], now);
      if (!came.ok()) return came.status();
      again = again || *came;
    }
  }
  while (!strangers_.empty() && strangers_.front().deadline <= now) {
    endpoint_.Log(LogLevel::kInfo, "a connection said no hello in time");
    Dismiss(strangers_.front());
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Reception::Admit(int door, Time now) {
  const Duration patience =
      Duration::Millis(endpoint_.config().handshake_timeout_ms);
  bool came = false;
  while (MakeRoom(now)) {
    const int fd =
        accept4(door, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (IsOfTheSystem(errno)) {
        return absl::ResourceExhaustedError(LastError("accept"));
      }
      break;  // Nobody there, or nobody any more.
    }
    Guest& guest = strangers_.emplace_back(fd, now + patience);
    guest.place = std::prev(strangers_.end());
    epoll_event event = {EPOLLIN, {.ptr = &guest}};
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
      strangers_.pop_back();
      return absl::ResourceExhaustedError(LastError("epoll_ctl"));
    }
    came = true;
  }
  return came;
}

bool Reception::MakeRoom(Time now) {
  if (strangers_.size() < kMaxStrangers) return true;
  Guest& oldest = strangers_.front();
  const Duration patience =
      Duration::Millis(endpoint_.config().handshake_timeout_ms);
  if (now - (oldest.deadline - patience) < kFirstWords) return false;
  Dismiss(oldest);
  return true;
}

// Out of the watch first: a forked process may hold a copy of the descriptor,
// and what is watched is what the copies have in common.
void Reception::Dismiss(Guest& guest) {
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, guest.stream.fd(), nullptr);
  std::list<Guest>& home = guest.host ? guest.host->guests : strangers_;
  home.erase(guest.place);
}

void Reception::Hear(Guest& guest) {
  switch (guest.stream.Read()) {
    case HandshakeStream::Got::kNothing:
      return;
    case HandshakeStream::Got::kEnd:
      // It came to its end without the Welcome if it was killed before that
      // arrived. (Where it had arrived unread, the system resets.)
      if (guest.flow && guest.stream.Taken()) {
        guest.host->flows.push_back(std::move(guest.flow));
      }
      return Dismiss(guest);
    case HandshakeStream::Got::kForeign:
      endpoint_.Log(LogLevel::kInfo,
                    "a connection that does not speak Hawser was closed");
      return Dismiss(guest);
    case HandshakeStream::Got::kBroken:
      return Dismiss(guest);
    case HandshakeStream::Got::kFrame:
      break;
  }
  const absl::Status greeted = Greet(guest);
  if (greeted.ok()) {
    // Who was welcomed may come back to its connector minutes later, and then
    // takes the flow for made. Only the connection tells if it will.
    guest.stream.NextFrame();
    return;
  }
  endpoint_.Log(LogLevel::kInfo,
                absl::StrCat("a handshake was refused: ", greeted.message()));
  guest.stream.Write(wire::EncodeRefusal(
      {greeted.message().data(), greeted.message().size()}));
  Dismiss(guest);
}

// Judges a Hello and answers it with a Welcome; what it returns is the reason
// for a refusal.
absl::Status Reception::Greet(Guest& guest) {
  const wire::FrameHeader& header = guest.stream.header();
  if (header.version != wire::kHandshakeVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("this side speaks version ", wire::kHandshakeVersion,
                     " of Hawser's handshake, the other side version ",
                     header.version, "; expected the same on both sides"));
  }
  const auto theirs =
      header.kind == wire::FrameKind::kHello && !guest.flow
          ? wire::DecodeIntroduction(header, guest.stream.body())
          : std::nullopt;
  if (!theirs) {
    return absl::InvalidArgumentError("expected one intact hello");
  }
  const auto host = hosts_.find(theirs->listener_nonce);
  if (host == hosts_.end()) {
    return absl::PermissionDeniedError(
        "the hello does not know the handle of any listener here");
  }
  if (host->second->guests.size() == kMaxGuests) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "this listener has ", kMaxGuests, " handshakes under way already"));
  }
  // Before anything is kept of who asks.
  if (theirs->datapath != endpoint_.datapath()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this side uses the datapath ", endpoint_.datapath(),
                     ", the other side ", theirs->datapath,
                     "; expected the same HAWSER_DATAPATH on both sides"));
  }
  auto draft = endpoint_.OpenFlow(Direction::kReceive, theirs->engine,
                                  theirs->identity, theirs->engine);
  if (!draft.ok()) return draft.status();
  if (absl::Status connected = endpoint_.ConnectFlow(*draft->flow, *theirs);
      !connected.ok()) {
    return connected;
  }
  if (!guest.stream.Write(wire::EncodeIntroduction(wire::FrameKind::kWelcome,
                                                   draft->introduction))) {
    return absl::UnavailableError("the connection broke");
  }
  guest.flow = std::move(draft->flow);
  guest.host = host->second.get();
  guest.host->guests.splice(guest.host->guests.end(), strangers_, guest.place);
  return absl::OkStatus();
}

}  // namespace hawser
