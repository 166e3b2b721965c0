// Where all listeners of an endpoint receive: one set of doors, and the guests
// who have not become flows yet.
// Knows: non-blocking sockets, whose handle a guest holds.  Never: connectors.
//
// A thousand listeners take one port at each interface, and to look whether
// anybody has come for one of them takes one call of the system, which serves
// the guests of all of them. The doors are open while there is a listener.
//
// Threads: any.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/time.h"
#include "transport/engine/endpoint.h"
#include "transport/engine/handshake_stream.h"

namespace hawser {

class Reception {
 public:
  static constexpr size_t kMaxDoors = 4;  // A handle has room for no more.

  // `endpoint` owns it. No descriptor is taken yet.
  explicit Reception(Endpoint& endpoint) : endpoint_(endpoint) {}
  ~Reception();  // Every listener has left.
  Reception(const Reception&) = delete;
  Reception& operator=(const Reception&) = delete;

  // A listener comes: guests who say its nonce are its own. The addresses of
  // the doors, 1..kMaxDoors. ResourceExhausted if none can be opened.
  absl::StatusOr<std::vector<sockaddr_storage>> Enter(uint64_t nonce);
  // It goes; its guests are reset, and with the last of all listeners whoever
  // waits at a door.
  void Leave(uint64_t nonce);

  // The receiving end of the next flow to that listener, or null: call again.
  // ResourceExhausted: the system lacks what a connection needs, such as
  // descriptors; calling again may help.
  absl::StatusOr<std::unique_ptr<FlowEnd>> Accept(uint64_t nonce);

 private:
  struct Host;
  // A connection that may become a flow. Of nobody until its Hello was good.
  struct Guest {
    Guest(int fd, Time until) : stream(fd), deadline(until) {
      stream.KeepAlive();
    }
    HandshakeStream stream;
    Time deadline;  // Of its Hello.
    Host* host = nullptr;
    std::unique_ptr<FlowEnd> flow;     // Whoever has a host has one.
    std::list<Guest>::iterator place;  // In the list that has it.
  };
  struct Host {  // A listener, as it is known here.
    uint64_t nonce = 0;
    std::list<Guest> guests;                     // Oldest first.
    std::deque<std::unique_ptr<FlowEnd>> flows;  // To be fetched.
  };

  // Strangers may open connections and say nothing. So many are listened to;
  // then the oldest gives way, but not before it could have said its Hello:
  // until then the others wait in the queue of the system. (The connectors of
  // sixty hosts may all be here at once, on a machine too busy to let them
  // speak.)
  static constexpr size_t kMaxStrangers = 4096;
  static constexpr Duration kFirstWords = Duration::Seconds(1);
  // Of one listener, whose Hello was good; more are refused.
  static constexpr size_t kMaxGuests = 1024;
  // What one call serves at most: it is there for its caller, not for all.
  static constexpr int kMaxRounds = 16;

  absl::Status OpenDoors();
  absl::Status OpenDoor(sockaddr_storage address);
  void CloseDoors();
  absl::Status Serve(Time now);
  // True: somebody came in.
  absl::StatusOr<bool> Admit(int door, Time now);
  bool MakeRoom(Time now);
  void Hear(Guest& guest);
  absl::Status Greet(Guest& guest);
  void Dismiss(Guest& guest);

  Endpoint& endpoint_;
  std::mutex mutex_;  // Of all that follows.
  int epoll_fd_ = -1;
  std::vector<int> doors_;
  std::vector<sockaddr_storage> addresses_;  // Of each door, with its port.
  std::list<Guest> strangers_;               // Oldest first.
  absl::flat_hash_map<uint64_t, std::unique_ptr<Host>> hosts_;
};

}  // namespace hawser
