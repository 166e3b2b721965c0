// A made-up network in made-up time: links with faults, and doors to them.
// Knows: virtual time, bytes on their way, one seed.  Never: what a packet
// means, how any room does its work.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "transport/base/random.h"
#include "transport/base/time.h"
#include "transport/datapath/datapath.h"

namespace hawser::sim {

// One direction of one path. Probabilities are per packet.
struct LinkModel {
  Duration delay = Duration::Micros(5);
  Rate rate = Rate::Unlimited();
  uint32_t queue_bytes = UINT32_MAX;  // Waiting beyond this is dropped...
  uint32_t mark_bytes = UINT32_MAX;   // ...and beyond this is marked CE.
  Duration jitter;                    // Uniform in [0, jitter]; order is kept.
  double loss = 0;
  double ecn = 0;  // Marked at random.
  double duplicate = 0;
  double echo = 0;      // Comes again, up to 50 ms later.
  double corrupt = 0;   // One to four random bits flip.
  double overtake = 0;  // Delayed by up to 4 * delay more; order is lost.
  bool dark = false;    // Everything is lost.
  uint32_t max_bytes = UINT32_MAX;  // Larger packets vanish: an MTU black hole.
};

// Where the links to one plane of a host come together. Packets wait for it in
// the order in which they arrive.
struct PortModel {
  Rate rate = Rate::Unlimited();
  uint32_t queue_bytes = UINT32_MAX;  // As a link's...
  uint32_t mark_bytes = UINT32_MAX;   // ...are.
};

// A link leads from one plane of one host to another host, per entropy. Where
// it has fewer planes they are counted round, as an engine does.
struct LinkId {
  int from = 0, to = 0, plane = 0, entropy = 0;
  friend auto operator<=>(const LinkId&, const LinkId&) = default;
};

struct LinkCounts {
  uint64_t packets = 0, dropped = 0;
};

class SimDatapath;

// Carries packets between SimDatapaths. Everything random is drawn from one
// seed in the order of events, so the same calls give the same run.
class Network {
 public:
  explicit Network(uint64_t seed) : random_(seed) {}

  // A. What is.
  Time next_event() const;
  uint64_t hash() const { return hash_; }  // Of every arrival so far.
  uint64_t departures() const { return departures_; }
  LinkModel& link(const LinkId& id) { return links_[id].model; }
  LinkCounts counts(const LinkId& id) { return links_[id].counts; }
  PortModel& port(int host, int plane) { return ports_[{host, plane}].model; }
  Random& random() { return random_; }

  // Whoever listens hears every packet as it leaves its host.
  using Listener =
      std::function<void(const LinkId&, std::span<const std::byte>)>;
  void Listen(Listener listener) { listener_ = std::move(listener); }

  // B. What happened. `datapath` is told to for its host and plane from now on.
  void Attach(int host, int plane, SimDatapath* datapath);
  void OnSend(const LinkId& id, std::vector<std::byte> bytes, Time now);
  // Delivers what has arrived by `now`; the hosts it arrived at are appended.
  void OnTime(Time now, std::vector<int>& hosts);

 private:
  struct Link {
    LinkModel model;
    LinkCounts counts;
    Time free_at;       // When the wire has sent what is queued.
    Time last_arrival;  // Order is kept behind it.
  };
  struct Port {
    PortModel model;
    Time free_at;
  };
  struct Arrival {
    Time at;
    uint64_t order = 0;  // Of sending; breaks ties.
    LinkId link;
    std::vector<std::byte> bytes;
    bool marked = false;
    bool through_port = false;
  };
  struct Later {
    bool operator()(const Arrival& a, const Arrival& b) const {
      return std::tie(a.at, a.order) > std::tie(b.at, b.order);
    }
  };
  // Until when what has come before keeps the wire busy; false: no room.
  static bool Queue(Rate rate, uint32_t queue_bytes, uint32_t mark_bytes,
                    size_t bytes, Time now, Time* free_at, bool* marked);
  // True: it will arrive later, or never.
  bool HoldAtPort(Arrival& arrival, int plane);
  void Schedule(Arrival arrival);

  Random random_;
  Listener listener_;
  std::map<LinkId, Link> links_;
  std::map<std::pair<int, int>, Port> ports_;
  std::map<int, int> planes_;  // How many each host has.
  std::map<std::pair<int, int>, SimDatapath*> doors_;
  std::priority_queue<Arrival, std::vector<Arrival>, Later> arriving_;
  uint64_t order_ = 0;
  uint64_t hash_ = 0;
  uint64_t departures_ = 0;
};

struct SimDatapathOptions {
  uint16_t entropies = 8;
  uint32_t max_packet_bytes = 1472;
  uint32_t burst_packets = 1;
  size_t room = 64;   // Packets that Send takes until Refill.
  double defers = 0;  // The chance that one Send uses up all of it.
  // The NIC places payload that has a target, so much at most; 0: it cannot.
  uint32_t max_placed_bytes = 0;
  // Peek shows so much of a datagram; 0: nothing.
  uint32_t front_bytes = 0;
  // All memory is a GPU's: what the host would place, the NIC carries there,
  // and takes so long for it.
  bool gpu = false;
  Duration carries_for = Duration::Micros(30);
};

// The fourth door: into a Network.
//
// Where the NIC places payload it is as careless as a real one: it reads the
// sender's memory at the last moment, and writes to the receiver's whatever
// still reaches an open ear, whoever owns the memory by then. A way has a
// generation; an ear hears one generation and those that come after.
class SimDatapath final : public Datapath {
 public:
  SimDatapath(Network& network, int host, int plane,
              const SimDatapathOptions& options);

  PlaneAddress address() const override;
  uint16_t entropies() const override { return options_.entropies; }
  uint32_t max_packet_bytes(PeerId) const override {
    return options_.max_packet_bytes;
  }
  uint32_t burst_packets(PeerId) const override {
    return options_.burst_packets;
  }
  size_t tx_room() const override { return room_; }
  DatapathCounts counts() const override { return {}; }
  int poll_fd() const override { return -1; }
  bool OpenPeer(PeerId peer, const PlaneAddress& there) override;
  void ClosePeer(PeerId peer) override { peers_.erase(peer); }
  void Send(std::span<const TxPacket> batch) override;
  std::span<RxFront> Peek() override;
  size_t Receive(std::span<RxPacket> out) override;
  void Recycle() override { lent_.clear(); }
  bool CanPlace(const Way& way, const RemoteSlice& target) const override;
  uint32_t max_placed_bytes(PeerId) const override {
    return options_.max_placed_bytes;
  }
  void ShutEars(PeerId peer) override;
  void Bury(const Way& way) override;
  bool TakeBuried(Way* way) override;
  void OnControl(PeerId peer, std::span<const std::byte> bytes) override;
  void Carry(uint64_t ticket, std::span<const std::byte> bytes,
             const MemorySlice& to) override;
  void Flush(uint64_t ticket, const MemorySlice& memory) override;
  void Forget(std::span<const uint64_t> tickets) override;
  bool TakeCarried(Carried* carried) override;
  bool TakeControl(PlaneControl* control) override;

  // The simulator's side.
  void SetNow(Time now) { now_ = now; }
  void Refill() { room_ = options_.room; }
  void OnArrival(std::vector<std::byte> bytes, bool marked);
  bool has_mail() const { return !mail_.empty() || !jobs_.empty(); }

 private:
  struct Letter {
    std::vector<std::byte> bytes;
    bool marked = false;
    Time arrived_at;
    uint32_t placed_bytes = 0;
  };
  struct Job {  // Of the NIC, for a GPU; a flush has no bytes.
    uint64_t ticket = 0;
    Time at;
    std::vector<std::byte> bytes;
    std::byte* to = nullptr;
  };
  // What stands before the bytes of a packet where NICs place payload.
  struct Frame {
    enum class Kind : uint32_t { kFree, kInOrder, kAsk, kAnswer };
    uint64_t check = 0;  // Over the rest; a NIC drops what is corrupt.
    Kind kind = Kind::kFree;
    int32_t from = 0;  // The host.
    uint32_t entropy = 0;
    uint32_t generation = 0;
    uint64_t source = 0, target = 0;  // Addresses.
    uint32_t placed_bytes = 0;
    uint32_t asks = 0;
  };
  struct Lane {
    uint32_t generation = 0;
    bool buried = true;  // On both sides: the way is open.
    uint32_t asks = 0;
  };
  void SendFrame(int host, uint16_t entropy, Frame frame,
                 std::span<const std::byte> header);
  void OnFrame(std::vector<std::byte> bytes, bool marked);
  // A question or its answer: over some way of this plane, and over another
  // plane by the engine's help.
  void Say(int host, uint32_t way, Frame frame);
  void OnAsk(const Frame& asked);
  void OnAnswer(const Frame& answer);
  static uint64_t CheckOf(const Frame& frame, std::span<const std::byte> bytes);
  Network& network_;
  const int host_, plane_;
  const SimDatapathOptions options_;
  Time now_;
  size_t room_;
  std::map<PeerId, int> peers_;                        // The host behind each.
  std::map<std::pair<int, uint32_t>, Lane> lanes_;     // By host and entropy.
  std::map<std::pair<int, uint32_t>, uint32_t> ears_;  // Generations heard.
  std::deque<Way> buried_;
  std::deque<PlaneControl> controls_;  // For another plane to carry.
  std::deque<Job> jobs_;
  std::deque<Letter> mail_;
  std::vector<RxFront> fronts_;  // Of the first of them.
  std::vector<Letter> lent_;
};

}  // namespace hawser::sim
