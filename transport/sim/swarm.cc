// Why scribbles: a byte that arrives late is the one mistake that nobody would
// see, because it is equal to what was there. So each buffer is filled with
// something else the moment its request is done, and is looked at again at the
// very end: what was written in between shows, and so does what was sent from a
// buffer that no longer was ours to send from.
#include "transport/sim/swarm.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "transport/base/random.h"

namespace hawser::sim {
namespace {

// Before and after each receive buffer, and in it before anything is received.
constexpr std::byte kUntouched{0xc5};
// In a buffer whose request is done.
constexpr std::byte kScribble{0x3a};
constexpr size_t kGuardBytes = 64;

// The slowest honest plan, one small packet in flight on a path of some
// milliseconds, takes about a minute.
constexpr Duration kLimit = Duration::Seconds(600);

constexpr Duration kQuietAfter = Duration::Seconds(60);

// More turns than this for each packet and millisecond are a turn that
// achieves nothing, again and again.
constexpr uint64_t kTurnsPerPacket = 20;
constexpr uint64_t kTurnsPerMilli = 20;
constexpr uint64_t kTurnsAtLeast = 10'000;

// Bare probes are sent whatever the window says, and a path that is silent but
// not suspect yet may have many.
constexpr uint32_t kProbeBytes = 64 * 16;

bool All(std::span<const std::byte> bytes, std::byte value) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [value](std::byte b) { return b == value; });
}

double ToMillis(Time t) { return static_cast<double>(t.nanos()) / 1e6; }

std::vector<std::byte> Content(uint64_t seed, uint32_t bytes) {
  std::vector<std::byte> content((bytes + 7) / 8 * 8);
  Random random(seed);
  for (size_t i = 0; i < content.size(); i += 8) {
    const uint64_t word = random.Next();
    std::memcpy(content.data() + i, &word, 8);
  }
  content.resize(bytes);
  return content;
}

// A message's bytes at one end, guards around them.
class Buffer {
 public:
  explicit Buffer(size_t bytes)
      : bytes_(bytes), all_(bytes + 2 * kGuardBytes, kUntouched) {}
  std::span<std::byte> bytes() {
    return std::span(all_).subspan(kGuardBytes, bytes_);
  }
  bool guards_hold() const {
    return All(std::span(all_).first(kGuardBytes), kUntouched) &&
           All(std::span(all_).last(kGuardBytes), kUntouched);
  }
  void Scribble() {
    std::fill(bytes().begin(), bytes().end(), kScribble);
    scribbled_ = true;
  }
  bool scribble_holds() {
    return guards_hold() && (!scribbled_ || All(bytes(), kScribble));
  }

 private:
  size_t bytes_;
  std::vector<std::byte> all_;
  bool scribbled_ = false;
};

// One application with its half of a flow.
struct Side {
  struct Open {
    Request* request;
    uint32_t message;
    Time since;
  };
  const FlowPlan* flow = nullptr;
  const SidePlan* plan = nullptr;
  Side* other = nullptr;
  int number = 0;  // Of the flow, counted over all rounds.
  int host = 0;
  bool sends = false;
  FlowRecord* record = nullptr;
  std::vector<Buffer> buffers;  // Of each message that was posted.
  std::vector<Open> open;
  uint32_t in_order = 0;  // Messages before this have ended, all of them.
  std::vector<bool> ended;
  bool posting = false;  // Posts whatever the flow takes, up to `quota`.
  uint32_t quota = 0;
  bool closed = false;  // The flow is gone, by our own hand.
  bool gone = false;    // The whole host is.
  // What the other side's close promised: these were received.
  uint32_t promised = 0;

  bool finished() const {
    return closed || gone ||
           (buffers.size() == flow->messages.size() && open.empty());
  }
  std::string name() const {
    return absl::StrCat(sends ? "the sender" : "the receiver", " of flow ",
                        number, " (host ", flow->from, " to host ", flow->to,
                        ")");
  }
};

class Run {
 public:
  explicit Run(const Plan& plan)
      : plan_(plan), random_(Mix64(plan.seed ^ 0x72756e)), sim_(plan.seed) {}

  SwarmResult Judge();

 private:
  void BuildNetwork();
  bool RunRound(const std::vector<FlowPlan>& flows);
  void Start(Side& side, FlowRecord* record);
  void Act(Side& side);
  void Post(Side& side);
  Time AwakeSince(int host) const;
  void TestAll(Side& side);
  void OnEnd(Side& side, const Side::Open& open, Request::Outcome outcome,
             uint32_t bytes_moved);
  void CheckReceived(Side& side, uint32_t message, uint32_t bytes_moved);
  void Close(Side& side);
  void OnKilled();
  bool Step();
  void CheckWindows();
  void CheckSilence();
  void CheckBuffers();
  void CheckCounters();
  // True: this side may be told that its peer is lost.
  bool Doomed(const Side& side) const;
  Time DoomedAt() const { return std::min(plan_.killed_at, plan_.dark_at); }
  uint64_t SeedOf(const Side& side, uint32_t message) const {
    return Mix64(plan_.seed) + (uint64_t{1} << 32) * side.number + message;
  }
  uint64_t turns() {
    uint64_t sum = 0;
    for (int h = 0; h < sim_.hosts(); ++h) {
      sum += sim_.engine(h).metrics().turns.value();
    }
    return sum;
  }
  std::string Describe();
  void Complain(std::string sentence) {
    if (!result_.problem.empty()) return;  // The first one is the cause.
    result_.state = Describe();
    result_.problem =
        absl::StrCat("at ", ToMillis(sim_.now()), " ms, ", sentence);
  }

  const Plan& plan_;
  Random random_;
  Simulator sim_;
  SwarmResult result_;
  std::vector<std::unique_ptr<Side>> sides_;  // Of all rounds.
  size_t round_begin_ = 0;                    // Of those, the current one's.
  uint64_t steps_ = 0;
};

void Run::BuildNetwork() {
  for (const HostOptions& host : plan_.hosts) sim_.AddHost(host);
  for (const LinkPlan& link : plan_.links) {
    sim_.network().link(link.id) = link.model;
    for (const Time turn : link.turns) {
      sim_.At(turn, [this, id = link.id] {
        if (sim_.now() >= plan_.dark_at) return;
        LinkModel& model = sim_.network().link(id);
        model.dark = !model.dark;
      });
    }
  }
  for (const PausePlan& pause : plan_.pauses) {
    sim_.At(pause.from, [this, pause] {
      if (pause.host == plan_.killed_host && sim_.now() >= plan_.killed_at) {
        return;
      }
      sim_.Pause(pause.host, pause.until);
    });
  }
  if (plan_.dark_at != Time::Never()) {
    sim_.At(plan_.dark_at, [this] {
      for (const LinkPlan& link : plan_.links) {
        sim_.network().link(link.id).dark = true;
      }
    });
  }
  if (plan_.killed_host >= 0) {
    sim_.At(plan_.killed_at, [this] { OnKilled(); });
  }
}

void Run::OnKilled() {
  if (plan_.says_goodbye) sim_.Goodbye(plan_.killed_host);
  sim_.Kill(plan_.killed_host);
  for (auto& side : sides_) {
    if (side->host == plan_.killed_host) side->gone = true;
  }
}

bool Run::Doomed(const Side& side) const {
  if (plan_.dark_at != Time::Never()) return true;
  return plan_.killed_host >= 0 && (side.flow->from == plan_.killed_host ||
                                    side.flow->to == plan_.killed_host);
}

// --- What applications do --------------------------------------------------

void Run::Start(Side& side, FlowRecord* record) {
  side.record = record;
  side.gone = side.host == plan_.killed_host && sim_.now() >= plan_.killed_at;
  side.ended.resize(side.flow->messages.size());
  sim_.At(sim_.now() + side.plan->start, [this, &side] { Act(side); });
  if (side.plan->close != Duration::Max()) {
    sim_.At(sim_.now() + side.plan->close, [this, &side] { Close(side); });
  }
}

void Run::Act(Side& side) {
  side.posting = true;
  side.quota = 1 + static_cast<uint32_t>(random_.Below(side.plan->batch));
  Post(side);
}

void Run::Post(Side& side) {
  while (!side.closed && !side.gone && side.posting) {
    const auto message = static_cast<uint32_t>(side.buffers.size());
    if (message == side.flow->messages.size()) {
      side.posting = false;
      return;
    }
    const TransferPlan& plan = side.flow->messages[message];
    Buffer buffer(side.sends ? plan.bytes : plan.capacity_bytes);
    if (side.sends) {
      const auto content = Content(SeedOf(side, message), plan.bytes);
      std::copy(content.begin(), content.end(), buffer.bytes().begin());
    }
    // Its bytes stay where they are when it is moved.
    Request* request =
        sim_.Submit(side.record, side.host, buffer.bytes(), side.plan->watched);
    if (request == nullptr) return;  // All slots are taken: later.
    side.buffers.push_back(std::move(buffer));
    side.open.push_back({request, message, sim_.now()});
    if (--side.quota > 0) continue;
    side.posting = false;
    const Duration pause = Duration::Nanos(
        static_cast<int64_t>(random_.Below(side.plan->pause_max.nanos() + 1)));
    sim_.At(sim_.now() + pause, [this, &side] { Act(side); });
  }
}

// A host that stands still takes its requests, and begins to miss the other
// one, when it moves again.
Time Run::AwakeSince(int host) const {
  Time since;
  for (const PausePlan& pause : plan_.pauses) {
    if (pause.host == host && pause.until <= sim_.now()) {
      since = std::max(since, pause.until);
    }
  }
  return since;
}

void Run::TestAll(Side& side) {
  if (side.closed || side.gone) return;
  for (size_t i = 0; i < side.open.size();) {
    Request::Outcome outcome;
    uint32_t bytes_moved = 0;
    const Side::Open open = side.open[i];
    if (!RequestQueue::Test(open.request, &outcome, &bytes_moved)) {
      const Time due =
          std::max({open.since, DoomedAt(), AwakeSince(side.host)});
      if (Doomed(side) && DoomedAt() <= sim_.now() &&
          sim_.now() - due >
              plan_.peer_timeout * 5 / 4 + Duration::Seconds(1)) {
        Complain(absl::StrCat(side.name(), " still waits for message ",
                              open.message, ", ", (sim_.now() - due).millis(),
                              " ms after its peer was lost"));
      }
      ++i;
      continue;
    }
    side.open.erase(side.open.begin() + static_cast<ptrdiff_t>(i));
    OnEnd(side, open, outcome, bytes_moved);
  }
}

void Run::OnEnd(Side& side, const Side::Open& open, Request::Outcome outcome,
                uint32_t bytes_moved) {
  const uint32_t message = open.message;
  const TransferPlan& plan = side.flow->messages[message];
  const bool fits = plan.bytes <= plan.capacity_bytes;
  const auto said = [&](const char* what) {
    return absl::StrCat(side.name(), ": message ", message, " of ", plan.bytes,
                        " bytes into ", plan.capacity_bytes, " ", what);
  };
  if (side.ended[message]) Complain(said("ended twice"));
  side.ended[message] = true;
  while (side.in_order < side.ended.size() && side.ended[side.in_order]) {
    ++side.in_order;
  }
  ++result_.messages;
  result_.bytes += bytes_moved;
  for (const uint64_t word :
       {uint64_t{message} << 8 | static_cast<uint64_t>(outcome),
        static_cast<uint64_t>(sim_.now().nanos())}) {
    result_.hash = Mix64(result_.hash ^ word);
  }
  switch (outcome) {
    case Request::Outcome::kOk:
      if (!fits) Complain(said("ended well, though it is too large"));
      if (bytes_moved != plan.bytes) {
        Complain(said(absl::StrCat("moved ", bytes_moved).c_str()));
      }
      if (!side.sends) CheckReceived(side, message, bytes_moved);
      break;
    case Request::Outcome::kTruncated:
      if (fits) Complain(said("was called too large"));
      if (!side.sends) CheckReceived(side, message, 0);
      break;
    case Request::Outcome::kPeerLost:
      if (!Doomed(side) || sim_.now() < DoomedAt()) {
        Complain(said("was given up, though the peer lives: ") +
                 side.record->peer->cause);
      }
      break;
    case Request::Outcome::kClosed:
      if (!side.other->closed) {
        Complain(said("was told of a close that did not happen"));
      }
      if (message < side.promised) {
        Complain(said("was not told that it had arrived before the close"));
      }
      break;
    case Request::Outcome::kStuck:
      Complain(said("was stuck in a NIC, though there is none"));
      break;
  }
  if (!side.buffers[message].guards_hold()) {
    Complain(said("was written beyond its buffer"));
  }
  side.buffers[message].Scribble();
}

void Run::CheckReceived(Side& side, uint32_t message, uint32_t bytes_moved) {
  const std::span<std::byte> bytes = side.buffers[message].bytes();
  const auto content = Content(SeedOf(side, message), bytes_moved);
  const auto wrong =
      std::mismatch(content.begin(), content.end(), bytes.begin());
  if (wrong.first != content.end()) {
    Complain(absl::StrCat(side.name(), ": byte ", wrong.first - content.begin(),
                          " of message ", message, " (", bytes_moved,
                          " bytes) is wrong"));
  }
  if (!All(bytes.subspan(bytes_moved), kUntouched)) {
    Complain(absl::StrCat(side.name(), ": the buffer of message ", message,
                          " was written beyond the message"));
  }
}

void Run::Close(Side& side) {
  if (side.closed || side.gone) return;
  TestAll(side);
  // No one may have been finished twice, or unasked.
  for (const Request& slot : side.record->queue.slots) {
    const bool open = std::any_of(
        side.open.begin(), side.open.end(),
        [&](const Side::Open& one) { return one.request == &slot; });
    if (!open && slot.state != Request::State::kFree) {
      Complain(
          absl::StrCat(side.name(), " has a request that nobody submitted"));
    }
  }
  if (!side.sends) side.other->promised = side.in_order;
  side.closed = true;
  sim_.Close(side.record, side.host);
  for (Buffer& buffer : side.buffers) buffer.Scribble();
}

// --- One round -------------------------------------------------------------

bool Run::Step() {
  for (size_t i = round_begin_; i < sides_.size(); ++i) {
    TestAll(*sides_[i]);
    Post(*sides_[i]);
  }
  if (++steps_ % 64 == 0) {
    CheckWindows();
    const uint64_t most =
        kTurnsAtLeast + kTurnsPerPacket * sim_.network().departures() +
        kTurnsPerMilli * static_cast<uint64_t>((sim_.now() - Time()).millis());
    if (turns() > most) {
      Complain(absl::StrCat("engines have taken ", turns(), " turns for ",
                            sim_.network().departures(), " packets"));
    }
  }
  return !result_.ok() ||
         std::all_of(sides_.begin() + static_cast<ptrdiff_t>(round_begin_),
                     sides_.end(),
                     [](const auto& side) { return side->finished(); });
}

// A window knows what its open paths have in flight, and congestion control is
// obeyed: that fits, or is one packet. (A window that shrinks may find more in
// flight: so the latter only where it is fixed.)
void Run::CheckWindows() {
  for (int h = 0; h < sim_.hosts(); ++h) {
    const HostOptions& host = plan_.hosts[h];
    for (const auto& peer : sim_.engine(h).peers()) {
      absl::flat_hash_map<const Window*, uint64_t> in_flight_bytes, asked_bytes;
      for (const Path& path : peer->paths) {
        // A path that is open again may have been asked a second time, with a
        // packet as large as those that it had lost.
        asked_bytes[&path.window()] +=
            kProbeBytes + (path.counts().times_suspect > 0
                               ? host.datapath.max_packet_bytes
                               : 0);
        in_flight_bytes[&path.window()] +=
            path.state() == Path::State::kOpen ? path.in_flight_bytes() : 0;
      }
      for (const auto& [window, bytes] : in_flight_bytes) {
        if (bytes != window->in_flight_bytes()) {
          Complain(absl::StrCat("host ", h, " has ", bytes,
                                " bytes in flight by paths whose window says ",
                                window->in_flight_bytes()));
        }
        const uint64_t most =
            std::max(window->bytes(), host.datapath.max_packet_bytes);
        if (host.config.congestion == "fixed_window" &&
            bytes > most + asked_bytes[window]) {
          Complain(absl::StrCat("host ", h, " has ", bytes,
                                " bytes in flight in a window of ",
                                window->bytes()));
        }
      }
    }
  }
}

bool Run::RunRound(const std::vector<FlowPlan>& flows) {
  round_begin_ = sides_.size();
  for (const FlowPlan& flow : flows) {
    const SimFlow made = sim_.Connect(flow.from, flow.to);
    const auto number = static_cast<int>(sides_.size() / 2);
    for (const bool sends : {true, false}) {
      auto side = std::make_unique<Side>();
      side->flow = &flow;
      side->plan = sends ? &flow.sender : &flow.receiver;
      side->number = number;
      side->host = sends ? flow.from : flow.to;
      side->sends = sends;
      sides_.push_back(std::move(side));
    }
    Side& sender = *sides_[sides_.size() - 2];
    Side& receiver = *sides_.back();
    sender.other = &receiver;
    receiver.other = &sender;
    Start(sender, made.send);
    Start(receiver, made.receive);
  }
  if (!sim_.RunUntil([this] { return Step(); }, kLimit)) {
    for (size_t i = round_begin_; i < sides_.size(); ++i) {
      const Side& side = *sides_[i];
      if (side.finished()) continue;
      Complain(absl::StrCat(side.name(), " never ends: ", side.open.size(),
                            " requests are open, ",
                            side.flow->messages.size() - side.buffers.size(),
                            " were not even posted"));
    }
  }
  if (!result_.ok()) return false;
  std::vector<size_t> order;
  for (size_t i = round_begin_; i < sides_.size(); ++i) {
    order.insert(
        order.begin() + static_cast<ptrdiff_t>(random_.Below(order.size() + 1)),
        i);
  }
  for (const size_t i : order) Close(*sides_[i]);
  return result_.ok();
}

// --- The end ---------------------------------------------------------------

void Run::CheckSilence() {
  // A peer that cannot be told of a close is given up after the timeout; and a
  // path whose host stood still for a second has a timeout of some.
  const auto wait = [&](Duration time) {
    const uint64_t before = sim_.network().departures();
    (void)sim_.RunUntil([] { return false; }, time);
    return sim_.network().departures() - before;
  };
  wait(plan_.peer_timeout * 5 / 4);
  uint64_t noise = 1;
  for (Duration waited; noise > 0 && waited < kQuietAfter;
       waited += Duration::Seconds(5)) {
    noise = wait(Duration::Seconds(5));
  }
  if (noise > 0) {
    Complain(absl::StrCat(noise,
                          " packets were sent in 5 s, when all had been "
                          "over for long"));
  }
  (void)sim_.RunUntil(
      [this] {
        for (int h = 0; h < sim_.hosts(); ++h) {
          if (h != plan_.killed_host && !sim_.engine(h).quiet()) return false;
        }
        return true;
      },
      kQuietAfter);
  for (int h = 0; h < sim_.hosts(); ++h) {
    if (h == plan_.killed_host) continue;
    if (!sim_.engine(h).quiet()) {
      Complain(absl::StrCat("the engine of host ", h, " is not quiet"));
    }
  }
}

void Run::CheckBuffers() {
  for (const auto& side : sides_) {
    for (size_t m = 0; m < side->buffers.size(); ++m) {
      if (side->gone || side->buffers[m].scribble_holds()) continue;
      Complain(absl::StrCat(side->name(), ": the buffer of message ", m,
                            " was written after its request was done"));
    }
  }
}

void Run::CheckCounters() {
  const bool corrupts =
      std::any_of(plan_.links.begin(), plan_.links.end(),
                  [](const LinkPlan& link) { return link.model.corrupt > 0; });
  for (int h = 0; h < sim_.hosts(); ++h) {
    const uint64_t malformed =
        sim_.engine(h).metrics().packets_malformed.value();
    if (malformed > 0 && !corrupts) {
      Complain(absl::StrCat("host ", h, " found ", malformed,
                            " packets malformed, though none was damaged"));
    }
  }
}

std::string Run::Describe() {
  std::string text;
  for (int h = 0; h < sim_.hosts(); ++h) {
    for (const auto& peer : sim_.engine(h).peers()) {
      absl::StrAppend(&text, "host ", h, ": peer ", peer->name, ", state ",
                      static_cast<int>(peer->state), ", busy flows ",
                      peer->busy_flows, ", open closes ", peer->open_closes,
                      ", last heard ", ToMillis(peer->last_heard), " ms\n");
      for (const PathReport& path : ReportPaths(*peer)) {
        const PathCounts& counts = path.counts;
        absl::StrAppend(
            &text, "  path ", path.path.value, " (", path.place.plane, ", ",
            path.place.entropy,
            "): ", path.state == PathState::kOpen ? "open" : "suspect",
            ", window ", path.window_bytes, ", rtt us ", path.rtt.micros(),
            "; sent ", counts.packets_sent, ", delivered ",
            counts.packets_delivered, ", lost ", counts.packets_lost,
            ", spurious ", counts.packets_spurious, ", probes ",
            counts.probes_sent, ", suspected ", counts.times_suspect,
            "; received ", counts.packets_received, "\n");
      }
      for (const Path& path : peer->paths) {
        absl::StrAppend(&text, "  path ", path.id().value, ": in flight ",
                        path.in_flight_bytes(), ", largest ",
                        path.max_packet_bytes(), ", rto us ",
                        path.rto().micros(), "\n");
      }
    }
  }
  return text;
}

SwarmResult Run::Judge() {
  BuildNetwork();
  for (const auto& flows : plan_.rounds) {
    // Who was lost is not to be reached again.
    if (sim_.now() >= DoomedAt()) break;
    if (!RunRound(flows)) break;
  }
  if (result_.ok()) CheckSilence();
  if (result_.ok()) CheckBuffers();
  if (result_.ok()) CheckCounters();
  result_.hash = Mix64(result_.hash ^ sim_.hash());
  result_.virtual_time = sim_.now() - Time();
  result_.packets = sim_.network().departures();
  result_.turns = turns();
  return result_;
}

}  // namespace

SwarmResult RunPlan(const Plan& plan) { return Run(plan).Judge(); }

}  // namespace hawser::sim
