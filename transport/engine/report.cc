// What the paths did, for humans and machines.
#include "transport/engine/report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "transport/engine/endpoint.h"
#include "transport/engine/runner.h"

namespace hawser {
namespace {

const char* ToString(PathState state) {
  return state == PathState::kOpen ? "open" : "suspect";
}

const char* ToString(PeerState state) {
  switch (state) {
    case PeerState::kNew:
      return "new";
    case PeerState::kOpen:
      return "open";
    case PeerState::kLeaving:
      return "leaving";
    case PeerState::kLost:
      return "lost";
  }
  return "";
}

// A JSON string (RFC 8259, section 7). Names may come from a peer.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      absl::StrAppend(&out, "\\", std::string(1, c));
    } else if (byte < 0x20 || byte >= 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string PathJson(const PathReport& path) {
  const PathCounts& counts = path.counts;
  return absl::StrCat(
      "{\"path\":", path.path.value, ",\"plane\":", Quoted(path.plane),
      ",\"entropy\":", path.place.entropy, ",\"state\":\"",
      ToString(path.state), "\",\"bytes_sent\":", counts.bytes_sent,
      ",\"bytes_delivered\":", counts.bytes_delivered,
      ",\"packets_sent\":", counts.packets_sent,
      ",\"packets_delivered\":", counts.packets_delivered,
      ",\"packets_lost\":", counts.packets_lost,
      ",\"packets_resent\":", counts.packets_resent,
      ",\"packets_spurious\":", counts.packets_spurious,
      ",\"packets_received\":", counts.packets_received,
      ",\"packets_duplicate\":", counts.packets_duplicate,
      ",\"ecn_marked\":", counts.ecn_marked,
      ",\"probes_sent\":", counts.probes_sent,
      ",\"times_suspect\":", counts.times_suspect, ",\"rtt_us\":",
      absl::StrFormat("%.1f", static_cast<double>(path.rtt.nanos()) / 1e3),
      ",\"window_bytes\":", path.window_bytes, "}");
}

}  // namespace

std::vector<PeerReport> Endpoint::Report() const {
  std::vector<PeerReport> reports;
  for (const auto& runner : runners_) {
    runner->WithTurn([&](Engine& engine) {
      for (const auto& peer : engine.peers()) {
        PeerReport report{peer->name, engine.index(), peer->state,
                          ReportPaths(*peer)};
        for (PathReport& path : report.paths) {
          path.plane = interfaces_[path.place.plane].name;
        }
        reports.push_back(std::move(report));
      }
    });
  }
  return reports;
}

std::string Endpoint::ReportJson() const {
  std::string json =
      absl::StrCat("{\"host\":", Quoted(host_), ",\"engines\":[");
  const char* comma = "";
  for (const auto& runner : runners_) {
    runner->WithTurn([&](Engine& engine) {
      absl::StrAppend(&json, comma, "{\"engine\":", engine.index());
      for (const MetricRow& row : EngineMetricRows()) {
        absl::StrAppend(&json, ",\"", row.name,
                        "\":", (engine.metrics().*row.field).value());
      }
      for (size_t i = 0; i < engine.planes().size(); ++i) {
        const DatapathCounts counts = engine.planes()[i]->counts();
        absl::StrAppend(&json, i == 0 ? ",\"planes\":[" : ",",
                        "{\"plane\":", Quoted(interfaces_[i].name),
                        ",\"sends_dropped\":", counts.sends_dropped,
                        ",\"sends_deferred\":", counts.sends_deferred,
                        ",\"truncated\":", counts.truncated,
                        ",\"frames_foreign\":", counts.frames_foreign,
                        ",\"frames_fragmented\":", counts.frames_fragmented,
                        ",\"frames_malformed\":", counts.frames_malformed,
                        ",\"frames_damaged\":", counts.frames_damaged,
                        ",\"frames_handed_over\":", counts.frames_handed_over,
                        ",\"port_missed\":", counts.port_missed,
                        ",\"port_no_buffer\":", counts.port_no_buffer,
                        ",\"port_errors\":", counts.port_errors, "}");
      }
      absl::StrAppend(&json, "]}");
    });
    comma = ",";
  }
  absl::StrAppend(&json, "],\"peers\":[");
  comma = "";
  for (const PeerReport& peer : Report()) {
    absl::StrAppend(&json, comma, "{\"peer\":", Quoted(peer.name),
                    ",\"engine\":", peer.engine, ",\"state\":\"",
                    ToString(peer.state), "\",\"paths\":[");
    const char* inner = "";
    for (const PathReport& path : peer.paths) {
      absl::StrAppend(&json, inner, PathJson(path));
      inner = ",";
    }
    absl::StrAppend(&json, "]}");
    comma = ",";
  }
  return json + "]}\n";
}

}  // namespace hawser
