// One remote engine: the paths to it, and the flows that share them.
// Knows: paths, flows, whose turn it is.  Never: sockets, threads.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/bitmap.h"
#include "transport/base/earliest.h"
#include "transport/base/ids.h"
#include "transport/base/time.h"
#include "transport/engine/config.h"
#include "transport/engine/patience.h"
#include "transport/engine/report.h"
#include "transport/message/receive_flow.h"
#include "transport/message/request.h"
#include "transport/message/send_flow.h"
#include "transport/path/path.h"
#include "transport/spray/path_scheduler.h"
#include "transport/wire/handshake.h"
#include "transport/wire/header.h"

namespace hawser {

struct Peer;

// That all that was received is there for the GPU whose memory it is in.
struct FlushRequest {
  Request request;
  size_t planes = 0;  // Whose NICs have not yet seen to it.
  bool ok = true;
};

// One half of one flow, as its engine keeps it. Exactly one of `send` and
// `receive` is there.
struct FlowRecord {
  Peer* peer = nullptr;
  FlowId id;
  FlowId far_id = kNoFlow;  // Until the handshake is over.
  RequestQueue queue;       // Shared with the application.
  std::unique_ptr<SendFlow> send;
  std::unique_ptr<ReceiveFlow> receive;
  // As many as it may have receives; made with the first.
  using Flushes = std::array<FlushRequest, RequestQueue::kSlots>;
  std::unique_ptr<Flushes> flushes;
  uint32_t errands = 0;  // Of NICs here, in its memory.
  FlowRecord* next_ready = nullptr;
  bool listed = false;  // In its peer's ready list.
  bool busy = false;    // Has open requests.
  // As the engine's Admission has it: it sends here, the last time then, and is
  // in the midst of a message.
  bool sends_here = false;
  bool receiving = false;
  Time sent_here_at;
  bool far_closed = false;  // The other half is gone.

  bool full() const { return send ? send->full() : receive->full(); }
  // It has cargo, and knows whom to send it to.
  bool ready() const {
    return far_id != kNoFlow && (send ? send->ready() : receive->ready());
  }
  bool idle() const { return send ? send->idle() : receive->idle(); }
  void OnFailed(Request::Outcome why) {
    send ? send->OnFailed(why) : receive->OnFailed(why);
  }
};

// Flows with something to send, in the order in which they take turns.
class ReadyList {
 public:
  bool empty() const { return head_ == nullptr; }
  void Push(FlowRecord* record);  // Nothing happens if it is listed.
  FlowRecord* Pop();              // Not when empty.
  void Remove(FlowRecord* record);

 private:
  FlowRecord* head_ = nullptr;
  FlowRecord* tail_ = nullptr;
};

// The flows of one direction, found by id. A slot is used again, under a new
// generation, after it has rested: what is left there of a flow that was closed
// is enough to read what comes late for it.
class FlowTable {
 public:
  // Slots at rest. A new flow takes a new slot while there are no more.
  static constexpr size_t kResting = 256;
  struct Slot {
    std::unique_ptr<FlowRecord> record;  // nullptr: closed.
    Peer* peer = nullptr;
    FlowId id;
    MessageId oldest;  // Of a receiving flow that was closed: its oldest open.
  };
  const Slot* At(uint16_t slot) const;  // nullptr: it was never used.
  FlowRecord* Find(FlowId id) const;    // nullptr: unknown, or closed.
  FlowId Add(std::unique_ptr<FlowRecord> record);
  std::unique_ptr<FlowRecord> Remove(FlowId id);
  template <class Function>
  void ForEach(Function function) const {
    for (const Slot& slot : slots_) {
      if (slot.record) function(*slot.record);
    }
  }

 private:
  std::vector<Slot> slots_;
  std::deque<FlowId> free_;  // What their next flows will be called.
};

// What binds cargo to a path: where the far NIC was to place the first copy, a
// resend must follow that over the same way, and nobody else may have it before
// the way is buried on both sides.
struct PathBond {
  std::vector<wire::Cargo> lost;  // To be sent again, over this path.
  bool burying = false;
  Time ask_at;      // While burying: when to ask again.
  Time rest_until;  // Its way has just been made anew.
};

// What the paths of one plane have in common.
struct PlanePaths {
  Bitmap paths;
  const Window* window = nullptr;  // If they share one.
};

struct Peer {
  explicit Peer(Duration most_patience) : patience(most_patience) {}
  using State = PeerState;

  PeerId id, far_id = kNoPeer;
  State state = State::kNew;
  wire::EndpointIdentity identity;
  std::string name;  // "host:pid", for humans.
  // kLost: why, as a sentence for humans; and what its paths did. They
  // themselves are gone.
  std::string cause;
  std::vector<PathReport> last_report;
  bool cause_told = false;
  wire::PacketKey tx_key = 0, rx_key = 0;

  std::vector<Path> paths;        // Sized when it opens, then fixed.
  std::vector<PathPlace> places;  // Of each path.
  std::vector<PathBond> bonds;    // Of each path.
  bool placing = false;           // Some plane lets the far NIC place.
  uint8_t far_planes = 1;
  // Of the paths, those that would take a packet, for all they know of
  // themselves; and while cargo is sent, those of them whose plane has room.
  Bitmap sendable, open;
  Earliest deadlines;  // Of each path.
  // Those that something happened to, so that they may have another say in
  // `sendable`, or another deadline.
  Bitmap stale_sendable, stale_deadline;
  bool deadlines_while_needed = false;  // They depend on it: see DeadlineOf.
  std::vector<PlanePaths> planes;       // By plane.
  Bitmap ack_waiting;                   // With packets that no ack spoke of.
  Time acks_by = Time::Never();         // The earliest deadline of those.
  // On which anything came in this span of time, and in the last.
  Bitmap arriving, arrived_before;
  Time arriving_since;
  std::unique_ptr<PathScheduler> scheduler;
  uint16_t next_probe_path = 0;  // Signs of life take turns over all.

  FlowTable sends;  // Those that receive are the engine's.
  ReadyList ready_sends, ready_receives;
  // While there are ready_receives: from when on their grants go along with
  // data, and when they leave by themselves, which is no sooner.
  Time grants_with_data, grants_alone;
  Patience patience;
  std::deque<wire::Cargo> closes;  // kClose, yet to leave; lost ones first.
  uint32_t open_closes = 0;        // Those, and the ones on their way.
  uint32_t busy_flows = 0;
  uint32_t busy_receives = 0;  // Of those, the ones that receive...
  uint32_t flows_sending = 0;  // ...and of all, those that Admission knows.
  Duration least_rtt = Duration::Max();  // Ever, on any path; Max: none yet.
  Duration latest_rtt;                   // On any path; 0: none yet.

  Time last_heard;
  PathId last_heard_path = kNoPath;
  Time needed_since;         // What `needed` speaks of began.
  Time last_sign;            // When we last asked for a sign of life...
  int signs_unanswered = 0;  // ...and how often, since it was heard.
  Time leaving_at = Time::Never();
  int goodbyes_said = 0;

  uint32_t probes_in_a_row = 0;  // That came, and nothing else.
  bool touched = false;          // In the engine's list of peers to look after.
  bool probes_wanted = false;    // By some path, and no deadline says so.
  bool alive() const {
    return state == State::kOpen || state == State::kLeaving;
  }
  // Something here cannot end without it. Else nobody minds its silence, and a
  // suspect path is left in peace.
  bool needed() const { return busy_flows > 0 || open_closes > 0; }
  bool HasCargo() const {
    return !closes.empty() || !ready_receives.empty() || !ready_sends.empty();
  }
  // Of that, what waits for nothing any more but room.
  bool HasDueGrants(Time now) const {
    return !ready_receives.empty() &&
           now >= (ready_sends.empty() ? grants_alone : grants_with_data);
  }
  bool HasDueCargo(Time now) const {
    return !closes.empty() || !ready_sends.empty() || HasDueGrants(now);
  }
};

// The only place where its name in Config becomes an object.
std::unique_ptr<CongestionControl> MakeCongestionControl(const Config& config,
                                                         uint32_t packet_bytes);

// What its paths did so far, but for the names of the planes.
std::vector<PathReport> ReportPaths(const Peer& peer);

// The key under which `from` checks what it sends to `to`.
wire::PacketKey DeriveKey(const wire::EndpointIdentity& from,
                          uint16_t from_engine,
                          const wire::EndpointIdentity& to, uint16_t to_engine);

}  // namespace hawser
