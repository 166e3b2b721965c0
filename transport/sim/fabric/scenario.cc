#include "transport/sim/fabric/scenario.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "transport/sim/fabric/policy.h"
#include "transport/spray/schedulers.h"

namespace hawser::sim {
namespace {

using nlohmann::json;

// The line on which the value at `path` ("topology.rate", "links.2.kind")
// begins: the text is walked once more, as JSON is written, by its brackets.
int LineOf(std::string_view text, const std::string& path) {
  struct Level {
    bool object;
    int index = 0;
    std::string key;
  };
  std::vector<Level> levels;
  int line = 1;
  const auto here = [&] {
    std::vector<std::string> names;
    for (const Level& level : levels) {
      names.push_back(level.object ? level.key : absl::StrCat(level.index));
    }
    return absl::StrJoin(names, ".");
  };
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '\n':
        ++line;
        break;
      case '{':
      case '[':
        levels.push_back({text[i] == '{', 0, ""});
        if (here() == path) return line;
        break;
      case '}':
      case ']':
        if (!levels.empty()) levels.pop_back();
        break;
      case ',':
        if (!levels.empty()) ++levels.back().index;
        break;
      case '"': {
        const size_t begin = ++i;
        while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
        size_t next = i + 1;
        while (next < text.size() && std::isspace(text[next]) != 0) ++next;
        if (next < text.size() && text[next] == ':' && !levels.empty()) {
          levels.back().key = std::string(text.substr(begin, i - begin));
          if (here() == path) return line;
        }
        break;
      }
    }
  }
  return 1;
}

// A number with one of these units after it.
struct Unit {
  std::string_view name;
  double factor;
};
// The most of each kind. A day is more than any network is simulated for, and
// its picoseconds fit. Bytes of a message, and of a queue, are counted in 32
// bits.
struct Most {
  double number;
  std::string_view words;
};
constexpr Most kMostTime = {86'400e9, "a day: 86400 s"};
constexpr Most kMostRate = {1.6e12, "1600 Gbps"};
constexpr Most kMostBytes = {4'294'967'295, "4294967295 B"};
constexpr double kMostBdps = 1e6;
// Of a link's rate: at less, a packet would take hours.
constexpr double kLeastShare = 1e-6;
constexpr Unit kTimes[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
constexpr Unit kRates[] = {{"Mbps", 1e6}, {"Gbps", 1e9}, {"Tbps", 1e12}};
constexpr Unit kBytes[] = {{"B", 1},    {"KB", 1e3},      {"MB", 1e6},
                           {"GB", 1e9}, {"KiB", 1 << 10}, {"MiB", 1 << 20}};

std::optional<double> Measure(const std::string& words,
                              std::span<const Unit> units) {
  const std::vector<std::string> parts =
      absl::StrSplit(words, ' ', absl::SkipEmpty());
  double number;
  if (parts.size() != 2 || !absl::SimpleAtod(parts[0], &number) ||
      std::isnan(number)) {
    return std::nullopt;
  }
  for (const Unit& unit : units) {
    if (parts[1] == unit.name) return number * unit.factor;
  }
  return std::nullopt;
}

std::string Join(std::span<const std::string_view> words) {
  std::string out;
  for (const std::string_view word : words) {
    if (!out.empty()) out.append(", ");
    out.append(word);
  }
  return out;
}

std::string Names(std::span<const Unit> units) {
  std::vector<std::string_view> names;
  for (const Unit& unit : units) names.push_back(unit.name);
  return Join(names);
}

// Reads one object: every key is asked for once, and what nobody asked for is
// an error, as is the first value that does not fit.
class Reader {
 public:
  Reader(const json& object, std::string path, std::string* problem,
         std::string* where)
      : object_(object),
        path_(std::move(path)),
        problem_(problem),
        where_(where) {
    if (!object.is_object()) Refuse("", "is no object; expected {...}");
  }

  void Integer(const char* key, int least, int most, int* out) {
    const json* value = Take(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() || value->get<int64_t>() < least ||
        value->get<int64_t>() > most) {
      return Refuse(
          key, absl::StrCat("is ", value->dump(), "; expected a whole number, ",
                            least, "..", most));
    }
    *out = value->get<int>();
  }
  void Number(const char* key, double least, double most, double* out) {
    const json* value = Take(key);
    if (value == nullptr) return;
    if (!value->is_number() || value->get<double>() < least ||
        value->get<double>() > most) {
      return Refuse(key,
                    absl::StrCat("is ", value->dump(), "; expected a number, ",
                                 least, "..", most));
    }
    *out = value->get<double>();
  }
  void Flag(const char* key, bool* out) {
    const json* value = Take(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) {
      return Refuse(
          key, absl::StrCat("is ", value->dump(), "; expected true or false"));
    }
    *out = value->get<bool>();
  }
  void Word(const char* key, std::span<const std::string_view> words,
            std::string* out) {
    const json* value = Take(key);
    if (value == nullptr) return;
    if (!value->is_string() ||
        std::find(words.begin(), words.end(), value->get<std::string>()) ==
            words.end()) {
      return Refuse(
          key, absl::StrCat("is ", value->dump(), "; expected ", Join(words)));
    }
    *out = value->get<std::string>();
  }
  void Time(const char* key, Duration* out) {
    if (const auto n = Quantity(key, kTimes, kMostTime)) {
      *out = Duration::Nanos(std::llround(*n));
    }
  }
  void BitRate(const char* key, Rate* out) {
    if (const auto n = Quantity(key, kRates, kMostRate)) {
      *out = Rate::BitsPerSecond(std::llround(*n));
    }
  }
  void Bytes(const char* key, uint64_t* out) {
    if (const auto n = Quantity(key, kBytes, kMostBytes)) {
      *out = static_cast<uint64_t>(std::llround(*n));
      if (*out == 0) Refuse(key, "is 0; expected a byte or more");
    }
  }
  void Depth(const char* key, QueueDepth* out) {
    const json* value = Take(key);
    if (value == nullptr) return;
    static constexpr Unit kBdp[] = {{"bdp", 1}};
    const std::string words =
        value->is_string() ? value->get<std::string>() : "";
    const auto bdps = Measure(words, kBdp);
    const auto bytes = Measure(words, kBytes);
    if (bdps && *bdps > 0 && *bdps <= kMostBdps) {
      *out = {*bdps, 0};
    } else if (bytes && *bytes > 0 && *bytes <= kMostBytes.number) {
      *out = {0, static_cast<uint32_t>(*bytes)};
    } else {
      Refuse(key, absl::StrCat("is ", value->dump(),
                               "; expected a number with a unit: bdp (at most ",
                               kMostBdps, "), ", Names(kBytes), " (at most ",
                               std::string(kMostBytes.words), ")"));
    }
  }
  // The key of a part that is read by a Reader of its own.
  const json* Take(const char* key) {
    asked_.push_back(key);
    if (!object_.is_object()) return nullptr;
    const auto at = object_.find(key);
    return at == object_.end() ? nullptr : &*at;
  }
  std::string PathOf(std::string_view key) const {
    return path_.empty() ? std::string(key)
                         : absl::StrCat(path_, ".", std::string(key));
  }
  void Refuse(std::string_view key, std::string_view what) {
    if (!problem_->empty()) return;
    *where_ = key.empty() ? path_ : PathOf(key);
    *problem_ = absl::StrCat(*where_, " ", std::string(what));
  }
  // After all else.
  void NothingElse() {
    if (!object_.is_object()) return;
    for (const auto& [key, value] : object_.items()) {
      if (std::find(asked_.begin(), asked_.end(), key) == asked_.end()) {
        Refuse(key, absl::StrCat("is unknown; expected ",
                                 absl::StrJoin(asked_, ", ")));
      }
    }
  }

 private:
  std::optional<double> Quantity(const char* key, std::span<const Unit> units,
                                 const Most& most) {
    const json* value = Take(key);
    if (value == nullptr) return std::nullopt;
    const auto number = value->is_string()
                            ? Measure(value->get<std::string>(), units)
                            : std::nullopt;
    if (!number || *number < 0) {
      Refuse(key,
             absl::StrCat("is ", value->dump(),
                          "; expected a number with a unit: ", Names(units)));
      return std::nullopt;
    }
    if (*number > most.number) {
      Refuse(key, absl::StrCat("is ", value->dump(), "; expected at most ",
                               std::string(most.words)));
      return std::nullopt;
    }
    return number;
  }

  const json& object_;
  std::string path_;
  std::string* problem_;
  std::string* where_;
  std::vector<std::string> asked_;
};

void ReadTopology(Reader& in, TopologyOptions* out) {
  in.Integer("tiers", 2, 3, &out->tiers);
  in.Integer("hosts", 2, 65'536, &out->hosts);
  in.Integer("hosts_per_leaf", 1, 65'536, &out->hosts_per_leaf);
  in.Integer("uplinks_per_leaf", 1, 1024, &out->uplinks_per_leaf);
  in.Integer("leaves_per_pod", 1, 65'536, &out->leaves_per_pod);
  in.Integer("cores", 1, 65'536, &out->cores);
  in.Integer("planes", 1, 8, &out->planes);
  in.Integer("rails", 1, 64, &out->rails);
  in.BitRate("rate", &out->rate);
  in.Time("link_latency", &out->link_latency);
  in.Time("core_latency", &out->core_latency);
  in.NothingElse();
}

void ReadQueue(Reader& in, Scenario* out) {
  in.Depth("limit", &out->limit);
  in.Depth("kmin", &out->kmin);
  in.Depth("kmax", &out->kmax);
  in.Flag("trimming", &out->trimming);
  in.Flag("marks_last_hop", &out->marks_last_hop);
  in.NothingElse();
}

void ReadLink(Reader& in, LinkFault* out) {
  static constexpr std::string_view kKinds[] = {"up", "down", "core_up",
                                                "core_down"};
  in.Word("kind", kKinds, &out->kind);
  in.Integer("at", -1, 65'536, &out->at);
  in.Integer("uplink", -1, 1024, &out->uplink);
  in.Integer("plane", -1, 7, &out->plane);
  in.Number("share", 0, 1, &out->share);
  if (out->share != 0 && out->share < kLeastShare) {
    in.Refuse("share", absl::StrCat("is ", out->share, "; expected 0 or ",
                                    kLeastShare, "..1"));
  }
  in.Time("from", &out->from);
  in.Time("until", &out->until);
  in.NothingElse();
  if (out->kind.empty()) in.Refuse("kind", "is missing; expected up, down...");
}

void ReadWorkload(Reader& in, WorkloadPart* out) {
  static constexpr std::string_view kKinds[] = {
      "one",        "permutation", "shift",     "incast",
      "all_to_all", "rings",       "butterfly", "halving_doubling"};
  in.Word("kind", kKinds, &out->kind);
  in.Bytes("size", &out->bytes);
  int seed = 1;
  in.Integer("seed", 0, 1 << 30, &seed);
  out->seed = static_cast<uint64_t>(seed);
  in.Integer("senders", 1, 65'535, &out->senders);
  in.Integer("groups", 1, 65'536, &out->groups);
  in.Integer("window", 1, 65'536, &out->window);
  in.Integer("by", 1, 65'535, &out->by);
  in.Flag("background", &out->background);
  in.Flag("victim", &out->victim);
  in.Number("share", 0, 1, &out->share);
  in.NothingElse();
  if (out->kind.empty()) {
    in.Refuse("kind", absl::StrCat("is missing; expected ", Join(kKinds)));
  }
  if (out->bytes == 0) {
    in.Refuse("size", absl::StrCat("is missing; expected a number with a "
                                   "unit: ",
                                   Names(kBytes)));
  }
  if (out->kind == "incast" && out->senders == 0) {
    in.Refuse("senders", "is missing; expected a whole number, 1..hosts - 1");
  }
}

void ReadHosts(Reader& in, Scenario* out) {
  static constexpr std::string_view kKinds[] = {"paths", "reference"};
  in.Word("kind", kKinds, &out->hosts);
  in.Word("scheduler", SchedulerNames(), &out->scheduler);
  in.Word("congestion", CongestionNames(), &out->congestion);
  in.Integer("paths", 1, 1024, &out->paths);
  in.Integer("ack_every", 1, 1024, &out->ack_every_packets);
  in.Time("ack_delay", &out->ack_delay);
  in.Flag("admission", &out->admission);
  in.NothingElse();
}

// What a single value cannot show to be wrong.
void CheckWhole(Reader& in, const Scenario& scenario) {
  const absl::Status topology = Topology::Check(scenario.topology);
  if (!topology.ok()) {
    return in.Refuse("topology",
                     absl::StrCat("is impossible: ", topology.message()));
  }
  const Topology built(scenario.topology);
  for (size_t i = 0; i < scenario.links.size(); ++i) {
    const LinkFault& link = scenario.links[i];
    const bool core = link.kind.starts_with("core");
    const int places = core ? built.aggs() : built.leaves();
    const int uplinks =
        core ? built.cores_per_agg() : scenario.topology.uplinks_per_leaf;
    if (link.at >= places || link.uplink >= uplinks ||
        link.plane >= scenario.topology.planes) {
      in.Refuse(absl::StrCat("links.", i),
                absl::StrCat("is not there; expected at 0..", places - 1,
                             ", uplink 0..", uplinks - 1, ", plane 0..",
                             scenario.topology.planes - 1, " or -1 for each"));
    }
  }
  for (size_t i = 0; i < scenario.workload.size(); ++i) {
    const WorkloadPart& part = scenario.workload[i];
    const int hosts = scenario.topology.hosts;
    const std::string where = absl::StrCat("workload.", i);
    if (part.senders >= hosts) {
      in.Refuse(where + ".senders",
                absl::StrCat("is ", part.senders, "; expected less than the ",
                             hosts, " hosts"));
    }
    if (hosts % part.groups != 0 || hosts / part.groups < 2) {
      in.Refuse(where + ".groups",
                absl::StrCat("is ", part.groups, "; expected a divisor of ",
                             hosts, " hosts that leaves two or more"));
    }
    if ((part.kind == "butterfly" || part.kind == "halving_doubling") &&
        (hosts & (hosts - 1)) != 0) {
      in.Refuse(where + ".kind",
                absl::StrCat("is ", part.kind, " among ", hosts,
                             " hosts; expected a power of two of them"));
    }
  }
  if (scenario.workload.empty()) {
    in.Refuse("workload", "is missing; expected [{\"kind\": ...}]");
  }
}

}  // namespace

absl::StatusOr<Scenario> ParseScenario(std::string_view text,
                                       std::string_view file,
                                       std::span<const std::string> set) {
  json root;
  try {
    root = json::parse(text);
  } catch (const json::parse_error& error) {
    const auto line =
        1 + std::count(text.begin(),
                       text.begin() + static_cast<std::ptrdiff_t>(
                                          std::min(error.byte, text.size())),
                       '\n');
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(file), ":", line,
                     ": this is no JSON; expected a scenario "
                     "as docs/scenarios.md has it"));
  }
  std::vector<std::string> overruled;
  for (const std::string& setting : set) {
    const std::vector<std::string> sides =
        absl::StrSplit(setting, absl::MaxSplits('=', 1));
    if (sides.size() != 2) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--set ", setting, ": expected key=value, as topology.hosts=128"));
    }
    const json value = json::parse(sides[1], nullptr, false);
    json::json_pointer at("/" +
                          absl::StrJoin(absl::StrSplit(sides[0], '.'), "/"));
    try {
      root[at] = value.is_discarded() ? json(sides[1]) : value;
    } catch (const json::exception&) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--set ", setting, ": there is no place for such a key"));
    }
    overruled.push_back(sides[0]);
  }

  Scenario scenario;
  std::string problem, where;
  Reader in(root, "", &problem, &where);
  if (const json* part = in.Take("name")) {
    scenario.name = part->is_string() ? part->get<std::string>() : "";
  }
  if (const json* part = in.Take("topology")) {
    Reader reader(*part, "topology", &problem, &where);
    ReadTopology(reader, &scenario.topology);
  }
  if (const json* part = in.Take("queue")) {
    Reader reader(*part, "queue", &problem, &where);
    ReadQueue(reader, &scenario);
  }
  if (const json* part = in.Take("hosts")) {
    Reader reader(*part, "hosts", &problem, &where);
    ReadHosts(reader, &scenario);
  }
  const auto each = [&](const char* key, auto read) {
    const json* list = in.Take(key);
    if (list == nullptr) return;
    if (!list->is_array()) return in.Refuse(key, "is no list; expected [...]");
    for (size_t i = 0; i < list->size(); ++i) {
      Reader reader((*list)[i], absl::StrCat(key, ".", i), &problem, &where);
      read(reader);
    }
  };
  each("links", [&](Reader& reader) {
    ReadLink(reader, &scenario.links.emplace_back());
  });
  each("workload", [&](Reader& reader) {
    ReadWorkload(reader, &scenario.workload.emplace_back());
  });
  in.Number("loss", 0, 0.5, &scenario.loss);
  in.Time("limit", &scenario.limit_time);
  in.NothingElse();
  if (problem.empty()) CheckWhole(in, scenario);
  if (problem.empty()) return scenario;
  const bool by_set =
      std::find(overruled.begin(), overruled.end(), where) != overruled.end();
  return absl::InvalidArgumentError(
      by_set ? absl::StrCat("--set ", problem)
             : absl::StrCat(std::string(file), ":", LineOf(text, where), ": ",
                            problem));
}

}  // namespace hawser::sim
