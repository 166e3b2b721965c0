#include "bench/paths.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

namespace hawser::bench {
namespace {

using nlohmann::json;

// The document is another program's word: a field that is missing or of
// another kind reads as nothing.
uint64_t Count(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<uint64_t>()
                                                     : 0;
}

double Number(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

std::string Text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>()
                                                     : "?";
}

const json& List(const json& object, const char* key) {
  static const json kNothing = json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : kNothing;
}

PathRow ReadPath(const json& path) {
  PathRow row;
  row.path = static_cast<int64_t>(Count(path, "path"));
  row.plane = Text(path, "plane");
  row.state = Text(path, "state");
  row.bytes_sent = Count(path, "bytes_sent");
  row.bytes_delivered = Count(path, "bytes_delivered");
  row.packets_sent = Count(path, "packets_sent");
  row.packets_lost = Count(path, "packets_lost");
  row.packets_resent = Count(path, "packets_resent");
  row.packets_spurious = Count(path, "packets_spurious");
  row.ecn_marked = Count(path, "ecn_marked");
  row.times_suspect = Count(path, "times_suspect");
  row.rtt_us = Number(path, "rtt_us");
  row.window_bytes = Number(path, "window_bytes");
  return row;
}

}  // namespace

std::string TemporaryFolder() {
  const char* folder = std::getenv("TMPDIR");
  return folder == nullptr || folder[0] == '\0' ? "/tmp" : folder;
}

std::vector<PathRow> ReadPaths(const std::vector<std::string>& documents) {
  std::vector<json> parsed;
  std::map<std::string, std::string> rank_of;  // By the process's name.
  for (size_t rank = 0; rank < documents.size(); ++rank) {
    parsed.push_back(json::parse(documents[rank], nullptr, false));
    if (parsed.back().is_object()) {
      rank_of[Text(parsed.back(), "host")] = std::to_string(rank);
    }
  }
  std::vector<PathRow> rows;
  for (size_t rank = 0; rank < parsed.size(); ++rank) {
    if (!parsed[rank].is_object()) continue;
    for (const json& peer : List(parsed[rank], "peers")) {
      if (!peer.is_object()) continue;
      const std::string name = Text(peer, "peer");
      const auto known = rank_of.find(name);
      const size_t first = rows.size();
      uint64_t delivered = 0;
      for (const json& path : List(peer, "paths")) {
        if (!path.is_object()) continue;
        PathRow row = ReadPath(path);
        row.rank = static_cast<int>(rank);
        row.peer = known == rank_of.end() ? name : known->second;
        delivered += row.bytes_delivered;
        rows.push_back(row);
      }
      for (size_t i = first; i < rows.size() && delivered > 0; ++i) {
        rows[i].share = static_cast<double>(rows[i].bytes_delivered) /
                        static_cast<double>(delivered);
      }
    }
  }
  return rows;
}

void PrintPaths(const std::vector<PathRow>& rows) {
  std::printf("#\n# What each path carried:\n");
  std::printf("# %4s -> %-4s %5s  %-12s %-8s %11s %6s %9s %8s %8s %11s\n",
              "rank", "peer", "path", "plane", "state", "MB", "share",
              "rtt (us)", "lost", "resent", "window KiB");
  for (const PathRow& row : rows) {
    std::printf(
        "  %4d -> %-4s %5lld  %-12s %-8s %11.3f %5.1f%% %9.1f %8llu %8llu "
        "%11.1f\n",
        row.rank, row.peer.c_str(), static_cast<long long>(row.path),
        row.plane.c_str(), row.state.c_str(),
        static_cast<double>(row.bytes_delivered) / 1e6, 100 * row.share,
        row.rtt_us, static_cast<unsigned long long>(row.packets_lost),
        static_cast<unsigned long long>(row.packets_resent),
        row.window_bytes / 1024);
  }
}

}  // namespace hawser::bench
