// Why one bad draw per link and not a little of everything: a fault that comes
// alone is found again in a test with a name. What comes together is drawn
// apart, for all links: loss, disorder, corruption. Most plans are small, for
// small plans find most; a few are large enough to fill every window.
//
// A plan promises that its flows can end well: between any two hosts one way
// out and one way back, not always of the same path, keep working. Where that
// promise is broken on purpose (killed_host, dark_at) requests must fail in
// time instead.
#include "transport/sim/plan.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hawser::sim {
namespace {

class Planner {
 public:
  explicit Planner(uint64_t seed) : random_(Mix64(seed ^ 0x706c616e)) {
    plan_.seed = seed;
  }

  Plan Make() {
    corrupts_ = random_.Chance(0.2);
    usual_ = DrawUsual();
    DrawHosts();
    DrawLinks();
    DrawRounds();
    DrawEnds();
    DrawPeeks();
    DrawAdmission();
    return std::move(plan_);
  }

 private:
  // Uniform in [least, most].
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(
                       random_.Below(static_cast<uint64_t>(most - least + 1)));
  }
  Duration Between(Duration least, Duration most) {
    return Duration::Nanos(Between(least.nanos(), most.nanos()));
  }
  // Uniform in the exponent: as likely to be near 10 as near 1,000.
  int64_t Spread(int64_t least, int64_t most) {
    int64_t value = most;
    for (int i = 0; i < 4 && value > least; ++i) {
      if (random_.Chance(0.5)) value = std::max(least, value / 6);
    }
    return Between(least, value);
  }
  template <class T>
  T OneOf(std::initializer_list<T> choices) {
    return *(choices.begin() + random_.Below(choices.size()));
  }
  double Up(double most) { return random_.Fraction() * most; }

  void DrawHosts();
  void DrawLinks();
  void DrawDirection(int from, int to);
  LinkModel DrawUsual();
  void DrawFault(LinkPlan& link);
  void DrawRounds();
  FlowPlan DrawFlow(int64_t& budget_bytes);
  SidePlan DrawSide();
  uint32_t DrawSize(int64_t budget_bytes);
  void DrawEnds();
  void DrawPeeks();
  void DrawAdmission();

  Random random_;
  Plan plan_;
  bool corrupts_ = false;
  LinkModel usual_;
};

void Planner::DrawHosts() {
  const auto count = OneOf({2, 2, 2, 3, 4});
  plan_.peer_timeout = Duration::Millis(Between(1000, 3000));
  const int planes = OneOf({1, 1, 2, 3, 4});
  const int paths = static_cast<int>(Between(1, 16));
  const bool alike = random_.Chance(0.75);
  for (int h = 0; h < count; ++h) {
    HostOptions host;
    host.planes = alike ? planes : OneOf({1, 2, 3, 4});
    Config& config = host.config;
    config.paths = alike ? paths : static_cast<int>(Between(1, 16));
    config.scheduler =
        OneOf({"adaptive", "adaptive", "weave", "weave", "reps", "mixed",
               "bitmap", "oblivious", "round_robin", "two_choices"});
    config.congestion = OneOf({"swift", "nscc", "dctcp", "fixed_window"});
    config.window_per = OneOf({"path", "plane"});
    config.window_bytes = static_cast<int>(Spread(1024, 256 * 1024));
    // What always is above the target is congestion for ever.
    config.target_delay_us =
        static_cast<int>(Spread(10, 2000) + usual_.jitter.micros());
    config.peer_timeout_ms = static_cast<int>(plan_.peer_timeout.millis());
    config.ack_delay_us = static_cast<int>(OneOf({0, 10, 50, 200}));
    config.rto_min_us = static_cast<int>(Spread(100, 5000));
    config.packet_bytes = OneOf({512, 1024, 1408, 4096, 8192});
    config.checksum = corrupts_ || random_.Chance(0.2) ? "payload" : "header";
    SimDatapathOptions& datapath = host.datapath;
    datapath.entropies = static_cast<uint16_t>(Between(1, 16));
    datapath.max_packet_bytes = OneOf({640u, 1200u, 1472u, 1472u, 8972u});
    datapath.burst_packets = OneOf({1u, 1u, 4u, 16u});
    datapath.room = OneOf({1u, 4u, 16u, 64u, 256u});
    datapath.defers = OneOf({0.0, 0.0, 0.1, 0.5});
    plan_.hosts.push_back(host);
  }
}

LinkModel Planner::DrawUsual() {
  LinkModel model;
  model.delay = Duration::Micros(Spread(1, 3000));
  if (random_.Chance(0.7)) {
    model.rate = Rate::MegabitsPerSecond(Spread(200, 100'000));
    model.queue_bytes = static_cast<uint32_t>(Spread(20'000, 2'000'000));
    if (random_.Chance(0.5)) model.mark_bytes = model.queue_bytes / 4;
  }
  if (random_.Chance(0.3)) model.loss = Up(0.03);
  if (random_.Chance(0.1)) model.ecn = Up(0.2);
  if (random_.Chance(0.3)) model.jitter = model.delay * Between(0, 4);
  if (random_.Chance(0.15)) model.overtake = Up(0.2);
  if (random_.Chance(0.15)) model.duplicate = Up(0.1);
  if (random_.Chance(0.1)) model.echo = Up(0.1);
  if (random_.Chance(0.05)) {
    model.max_bytes = static_cast<uint32_t>(Between(600, 1500));
  }
  if (corrupts_) model.corrupt = Up(0.03);
  return model;
}

void Planner::DrawLinks() {
  const auto hosts = static_cast<int>(plan_.hosts.size());
  for (int from = 0; from < hosts; ++from) {
    for (int to = 0; to < hosts; ++to) DrawDirection(from, to);
  }
}

void Planner::DrawDirection(int from, int to) {
  const HostOptions& host = plan_.hosts[from];
  const int paths = std::min(host.config.paths, plan_.hosts[to].config.paths);
  std::set<LinkId> ids;  // Those that the engine will use.
  LinkId sound;          // And the one that keeps working.
  const int64_t sound_path = Between(0, paths - 1);
  for (int p = 0; p < paths; ++p) {
    const LinkId id{from, to, p % host.planes,
                    p / host.planes % host.datapath.entropies};
    ids.insert(id);
    if (p == sound_path) sound = id;
  }
  const double faulty = OneOf({0.0, 0.2, 0.5, 1.0});
  for (const LinkId& id : ids) {
    LinkPlan link{id, usual_, "", {}};
    if (id != sound && random_.Chance(faulty)) DrawFault(link);
    plan_.links.push_back(link);
  }
}

void Planner::DrawFault(LinkPlan& link) {
  LinkModel& model = link.model;
  switch (random_.Below(11)) {
    case 0:
      link.fault = "dead";
      model.dark = true;
      return;
    case 1:
      link.fault = "lossy";
      model.loss = 0.01 + Up(0.5);
      return;
    case 2:
      link.fault = "far";
      model.delay = model.delay * Between(2, 50);
      return;
    case 3:
      link.fault = "thin";
      model.rate = Rate::MegabitsPerSecond(Between(5, 100));
      model.queue_bytes = static_cast<uint32_t>(Between(10'000, 200'000));
      return;
    case 4: {
      link.fault = "comes and goes";
      Time at = Time::FromNanos(0);
      const auto turns = Between(1, 8);
      for (int64_t i = 0; i < turns; ++i) {
        at = at + Duration::Micros(Spread(10, 300'000));
        link.turns.push_back(at);
      }
      return;
    }
    case 5:
      link.fault = "black hole for large packets";
      model.max_bytes = static_cast<uint32_t>(Between(200, 1600));
      return;
    case 6:
      link.fault = "jitters";
      model.jitter = model.delay * Between(1, 20);
      return;
    case 7:
      link.fault = "reorders";
      model.overtake = Up(0.6);
      return;
    case 8:
      link.fault = "repeats";
      model.duplicate = Up(0.9);
      model.echo = Up(0.5);
      return;
    case 9:
      link.fault = "marks";
      model.ecn = Up(1);
      return;
    case 10:
      link.fault = corrupts_ ? "corrupts" : "small queue";
      if (corrupts_) {
        model.corrupt = Up(0.5);
      } else {
        model.rate = Rate::MegabitsPerSecond(Spread(200, 10'000));
        model.queue_bytes = static_cast<uint32_t>(Between(1600, 20'000));
      }
      return;
  }
}

uint32_t Planner::DrawSize(int64_t budget_bytes) {
  int64_t size = 0;
  switch (random_.Below(10)) {
    case 0:
      size = 0;
      break;
    case 1:
      size = Between(1, 16);
      break;
    case 2:
    case 3:
      size = Between(1, 2000);
      break;
    case 4:
    case 5:
      size = 128 * Between(1, 64);
      break;
    case 6:
    case 7:
      size = Between(1, 65'536);
      break;
    case 8:
      size = Spread(1, 262'144);
      break;
    case 9:
      size = Spread(1, 1 << 20);
      break;
  }
  return static_cast<uint32_t>(std::min(size, budget_bytes));
}

SidePlan Planner::DrawSide() {
  SidePlan side;
  if (random_.Chance(0.4)) side.start = Duration::Micros(Spread(1, 100'000));
  side.batch = static_cast<uint32_t>(OneOf({1, 2, 8, 32, 64}));
  if (random_.Chance(0.5)) side.pause_max = Duration::Micros(Spread(1, 5000));
  return side;
}

FlowPlan Planner::DrawFlow(int64_t& budget_bytes) {
  FlowPlan flow;
  const auto hosts = static_cast<int64_t>(plan_.hosts.size());
  flow.from = static_cast<int>(Between(0, hosts - 1));
  flow.to = static_cast<int>(Between(0, hosts - 1));
  flow.sender = DrawSide();
  flow.receiver = DrawSide();
  const bool truncates = random_.Chance(0.1);
  const int64_t count = random_.Chance(0.1) ? Between(60, 200) : Spread(1, 40);
  for (int64_t i = 0; i < count; ++i) {
    TransferPlan message;
    message.bytes = DrawSize(budget_bytes);
    budget_bytes -= message.bytes;
    message.capacity_bytes = message.bytes;
    if (random_.Chance(0.3)) {
      message.capacity_bytes += static_cast<uint32_t>(Spread(1, 4096));
    } else if (truncates && message.bytes > 0 && random_.Chance(0.3)) {
      message.capacity_bytes =
          static_cast<uint32_t>(random_.Below(message.bytes));
    }
    flow.messages.push_back(message);
  }
  if (random_.Chance(0.05)) {
    SidePlan& side = random_.Chance(0.5) ? flow.sender : flow.receiver;
    side.close = Duration::Micros(Spread(1, 50'000));
  }
  return flow;
}

void Planner::DrawRounds() {
  const double kind = random_.Fraction();
  const int64_t budget = kind < 0.7    ? 1 << 20
                         : kind < 0.95 ? 4 << 20
                                       : 12 << 20;
  const auto rounds = random_.Chance(0.25) ? Between(2, 3) : 1;
  int64_t left = budget;
  for (int64_t r = 0; r < rounds; ++r) {
    std::vector<FlowPlan> flows;
    const auto count = Between(1, 6);
    for (int64_t f = 0; f < count; ++f) {
      // Some flow is to have the most, and none is to have nothing.
      int64_t share = Between(left / 8, left);
      left -= share;
      flows.push_back(DrawFlow(share));
      left += share;
    }
    plan_.rounds.push_back(std::move(flows));
  }
}

void Planner::DrawEnds() {
  const auto hosts = static_cast<int64_t>(plan_.hosts.size());
  if (random_.Chance(0.2)) {
    const auto pauses = Between(1, 4);
    // Others wait longer than all of them before they give up.
    const int64_t most_us = plan_.peer_timeout.micros() * 3 / 4 / pauses;
    Time at;
    for (int64_t i = 0; i < pauses; ++i) {
      const Time from = at + Duration::Micros(Spread(1, 20'000));
      at = from + Duration::Micros(random_.Chance(0.2) ? most_us
                                                       : Spread(10, most_us));
      plan_.pauses.push_back(
          {static_cast<int>(Between(0, hosts - 1)), from, at});
    }
  }
  const double end = random_.Fraction();
  if (end < 0.05) {
    plan_.killed_host = static_cast<int>(Between(0, hosts - 1));
    plan_.killed_at = Time() + Duration::Micros(Spread(1, 100'000));
    plan_.says_goodbye = random_.Chance(0.3);
  } else if (end < 0.1) {
    plan_.dark_at = Time() + Duration::Micros(Spread(1, 100'000));
  }
}

// What a host believes of its ports need not be true.
void Planner::DrawAdmission() {
  for (HostOptions& host : plan_.hosts) {
    if (random_.Chance(0.5)) {
      host.config.port_mbps = static_cast<int>(Spread(1, 100'000));
    }
  }
}

std::string ToString(Duration d) {
  if (d == Duration::Max()) return "never";
  return absl::StrCat(static_cast<double>(d.nanos()) / 1e3, " us");
}

std::string ToString(const LinkModel& model) {
  std::string text = absl::StrCat("delay ", ToString(model.delay));
  if (!model.rate.unlimited()) {
    absl::StrAppend(&text, ", ",
                    static_cast<double>(model.rate.bits_per_second()) / 1e9,
                    " Gb/s");
  }
  const auto add = [&](const char* what, double value, double usual) {
    if (value != usual) absl::StrAppend(&text, ", ", what, " ", value);
  };
  add("queue", model.queue_bytes, UINT32_MAX);
  add("marks beyond", model.mark_bytes, UINT32_MAX);
  add("jitter us", static_cast<double>(model.jitter.nanos()) / 1e3, 0);
  add("loss", model.loss, 0);
  add("ecn", model.ecn, 0);
  add("duplicate", model.duplicate, 0);
  add("echo", model.echo, 0);
  add("corrupt", model.corrupt, 0);
  add("overtake", model.overtake, 0);
  add("dark", model.dark, 0);
  add("max bytes", model.max_bytes, UINT32_MAX);
  return text;
}

std::string ToString(const SidePlan& side) {
  return absl::StrCat("start ", ToString(side.start), ", batch ", side.batch,
                      ", pause to ", ToString(side.pause_max), ", closes ",
                      ToString(side.close));
}

// Who looks ahead, and where nobody else does. The last to be drawn: what comes
// before is as it was when there was no such thing.
void Planner::DrawPeeks() {
  for (HostOptions& host : plan_.hosts) {
    host.config.peek_bytes = OneOf({1, 1, 128, 1024, 65'536});
    host.datapath.front_bytes = OneOf({0u, 24u, 256u, 256u});
  }
  for (auto& flows : plan_.rounds) {
    for (FlowPlan& flow : flows) flow.receiver.watched = random_.Chance(0.3);
  }
}

}  // namespace

Plan MakePlan(uint64_t seed) { return Planner(seed).Make(); }

std::string ToString(const Plan& plan) {
  std::string text = absl::StrCat("seed ", plan.seed, ", peer timeout ",
                                  plan.peer_timeout.millis(), " ms\n");
  for (size_t h = 0; h < plan.hosts.size(); ++h) {
    const HostOptions& host = plan.hosts[h];
    const Config& config = host.config;
    absl::StrAppend(
        &text, "host ", h, ": planes ", host.planes, ", paths ", config.paths,
        ", ", config.scheduler, ", ", config.congestion, " per ",
        config.window_per, ", window ", config.window_bytes, ", target us ",
        config.target_delay_us, ", ack delay us ", config.ack_delay_us,
        ", rto min us ", config.rto_min_us, ", packet ", config.packet_bytes,
        ", check ", config.checksum, ", port Mb/s ", config.port_mbps,
        ", peek ", config.peek_bytes, " front ", host.datapath.front_bytes,
        "; entropies ", host.datapath.entropies, ", mtu ",
        host.datapath.max_packet_bytes, ", burst ", host.datapath.burst_packets,
        ", room ", host.datapath.room, ", defers ", host.datapath.defers, "\n");
  }
  if (!plan.links.empty()) {
    std::string usual;
    for (const LinkPlan& link : plan.links) {
      if (*link.fault == '\0') usual = ToString(link.model);
    }
    absl::StrAppend(&text, "links: ", usual, "\n");
  }
  for (const LinkPlan& link : plan.links) {
    if (*link.fault == '\0') continue;
    absl::StrAppend(&text, "link ", link.id.from, "->", link.id.to, " plane ",
                    link.id.plane, " entropy ", link.id.entropy, ": ",
                    link.fault, ": ", ToString(link.model));
    for (const Time turn : link.turns) {
      absl::StrAppend(&text, ", turns ", ToString(turn - Time()));
    }
    absl::StrAppend(&text, "\n");
  }
  for (const PausePlan& pause : plan.pauses) {
    absl::StrAppend(&text, "host ", pause.host, " stands still from ",
                    ToString(pause.from - Time()), " to ",
                    ToString(pause.until - Time()), "\n");
  }
  for (size_t r = 0; r < plan.rounds.size(); ++r) {
    for (size_t f = 0; f < plan.rounds[r].size(); ++f) {
      const FlowPlan& flow = plan.rounds[r][f];
      uint64_t bytes = 0;
      for (const TransferPlan& message : flow.messages) bytes += message.bytes;
      absl::StrAppend(&text, "round ", r, " flow ", f, ": ", flow.from, "->",
                      flow.to, ", ", flow.messages.size(), " messages, ", bytes,
                      " bytes; sender: ", ToString(flow.sender),
                      "; receiver: ", ToString(flow.receiver), "\n");
    }
  }
  if (plan.killed_host >= 0) {
    absl::StrAppend(&text, "host ", plan.killed_host,
                    plan.says_goodbye ? " says goodbye and" : "",
                    " is killed at ", ToString(plan.killed_at - Time()), "\n");
  }
  if (plan.dark_at != Time::Never()) {
    absl::StrAppend(&text, "all goes dark at ", ToString(plan.dark_at - Time()),
                    "\n");
  }
  return text;
}

}  // namespace hawser::sim
