#include "tools/hawser_perf/report.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "transport/datapath/interfaces.h"

namespace hawser::perf {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;  // Of the document.
// Signs for a path's state over time; as wide as a line can bear.
constexpr double kStripMost = 60;

// The other side's report is another program's word: what is missing in it, or
// of another kind, reads as nothing.
double Number(const json& object, const char* key) {
  if (!object.is_object()) return 0;
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

uint64_t Count(const json& object, const char* key) {
  return static_cast<uint64_t>(std::max(Number(object, key), 0.0));
}

std::string Text(const json& object, const char* key) {
  if (!object.is_object()) return "?";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>()
                                                     : "?";
}

const json& Part(const json& object, const char* key) {
  static const json& kNothing = *new json;
  if (!object.is_object()) return kNothing;
  const auto found = object.find(key);
  return found != object.end() ? *found : kNothing;
}

// One direction: its speed by the side that sends, whose first message begins
// it and whose last ack ends it; its gaps by the side that receives.
json DirectionJson(const json& sender, const json& receiver) {
  const json& sent = Part(sender, "sent");
  const json& received = Part(receiver, "received");
  // Where one side's report is missing, the other's must do.
  const json& speed = sent.is_object() ? sent : received;
  const json& gaps = received.is_object() ? received : sent;
  if (!speed.is_object()) return json();
  return {{"bytes", Count(speed, "bytes")},
          {"messages", Count(speed, "messages")},
          {"seconds", Number(speed, "seconds")},
          {"goodput_gbps", Number(speed, "goodput_gbps")},
          {"goodput_mbytes_per_s", Number(speed, "goodput_mbytes_per_s")},
          {"longest_gap_ms", Number(gaps, "longest_gap_ms")},
          {"longest_gap_at_s", Number(gaps, "longest_gap_at_s")},
          {"longest_gap_at_sender_ms", Number(sent, "longest_gap_ms")},
          {"wrong_messages", Count(received, "wrong_messages")}};
}

// `gigabytes` and `trips`: what was done with it; 0: nothing of the kind.
json CpuJson(const json& client, const json& server, double gigabytes,
             uint64_t trips) {
  const auto per = [](double used, double done) -> json {
    return done > 0 ? json(used / done) : json();
  };
  json cpu = json::object();
  double all = 0;
  for (const auto& [name, side] :
       {std::pair<const char*, const json&>{"client", client},
        std::pair<const char*, const json&>{"server", server}}) {
    if (!side.is_object()) continue;
    const json& used = Part(side, "cpu");
    const double user = Number(used, "user_s");
    const double system = Number(used, "system_s");
    cpu[name] = {{"user_s", user},
                 {"system_s", system},
                 {"s_per_gb", per(user + system, gigabytes)}};
    all += user + system;
  }
  cpu["s_per_gb"] = per(all, gigabytes);
  cpu["us_per_round_trip"] = per(all * 1e6, static_cast<double>(trips));
  return cpu;
}

void PrintDirection(const char* name, const json& direction) {
  if (!direction.is_object()) return;
  std::printf(
      "# %s: %.3f GB in %.2f s: %.3f Gb/s, %.1f MB/s; longest gap %.1f ms, "
      "at %.2f s\n",
      name, Number(direction, "bytes") / 1e9, Number(direction, "seconds"),
      Number(direction, "goodput_gbps"),
      Number(direction, "goodput_mbytes_per_s"),
      Number(direction, "longest_gap_ms"),
      Number(direction, "longest_gap_at_s"));
}

void PrintCpu(const json& cpu) {
  // Per byte it says nothing where a byte is not what takes the time.
  const bool trips = Part(cpu, "us_per_round_trip").is_number();
  std::string line;
  for (const char* name : {"client", "server"}) {
    const json& side = Part(cpu, name);
    if (!side.is_object()) continue;
    absl::StrAppendFormat(&line, "%s %s %.2f s user, %.2f s system",
                          line.empty() ? "" : ";", name, Number(side, "user_s"),
                          Number(side, "system_s"));
    if (!trips && Part(side, "s_per_gb").is_number()) {
      absl::StrAppendFormat(&line, ", %.3f s/GB", Number(side, "s_per_gb"));
    }
  }
  std::printf("# CPU:%s; together %.3f %s\n", line.c_str(),
              Number(cpu, trips ? "us_per_round_trip" : "s_per_gb"),
              trips ? "us/round trip" : "s/GB");
}

// How many seconds a sign stands for.
double StripStep(const json& side) {
  return std::max(std::ceil(Number(side, "seconds") / kStripMost), 1.0);
}

// A path over time: . it delivered, - it was open but delivered nothing,
// s it was suspect, at some moment.
std::string Strip(const json& side, const json& path) {
  const json& at_ms = Part(Part(side, "series"), "at_ms");
  const double period_ms = Number(Part(side, "series"), "period_ms");
  const json& delivered = Part(Part(path, "series"), "delivered_bytes");
  const std::string states = Text(Part(path, "series"), "states");
  if (!at_ms.is_array() || !delivered.is_array() ||
      delivered.size() != at_ms.size() || states.size() != at_ms.size()) {
    return "";
  }
  const double step_ms = StripStep(side) * 1e3;
  // The last moments, while the last messages arrive, are no second.
  const auto signs = static_cast<size_t>(
      std::max(std::round(Number(side, "seconds") * 1e3 / step_ms), 1.0));
  std::string strip(signs, ' ');
  for (size_t i = 0; i < at_ms.size(); ++i) {
    const bool numbers = at_ms[i].is_number() && delivered[i].is_number();
    if (!numbers) return "";
    const double middle_ms =
        std::max(at_ms[i].get<double>() - period_ms / 2, 0.0);
    char& sign =
        strip[std::min(static_cast<size_t>(middle_ms / step_ms), signs - 1)];
    if (states[i] == 's' || sign == 's') {
      sign = 's';
    } else if (delivered[i].get<double>() > 0) {
      sign = '.';
    } else if (sign == ' ') {
      sign = '-';
    }
  }
  return strip;
}

void PrintPaths(const char* name, const json& side) {
  const json& paths = Part(side, "paths");
  if (!Part(side, "sent").is_object() || !paths.is_array()) return;
  std::printf(
      "#\n# Paths, %s. Over time, a sign for %.0f s: . delivers, - is "
      "idle, s is suspect\n",
      name, StripStep(side));
  std::printf("# %4s %-12s %-8s %11s %6s %9s %8s %8s %8s %8s %8s %10s  %s\n",
              "path", "plane", "state", "MB", "share", "rtt (us)", "lost",
              "resent", "spurious", "ECN", "suspect", "window KiB",
              "over time");
  for (const json& path : paths) {
    // With several engines each has paths of its own.
    const std::string number =
        Count(path, "engine") == 0
            ? absl::StrCat(Count(path, "path"))
            : absl::StrCat(Count(path, "engine"), ":", Count(path, "path"));
    std::printf(
        "  %4s %-12s %-8s %11.3f %5.1f%% %9.1f %8llu %8llu %8llu %8llu %8llu "
        "%10.1f  %s\n",
        number.c_str(), Text(path, "plane").c_str(),
        Text(path, "state").c_str(), Number(path, "bytes_delivered") / 1e6,
        100 * Number(path, "share"), Number(path, "rtt_us"),
        static_cast<unsigned long long>(Count(path, "packets_lost")),
        static_cast<unsigned long long>(Count(path, "packets_resent")),
        static_cast<unsigned long long>(Count(path, "packets_spurious")),
        static_cast<unsigned long long>(Count(path, "ecn_marked")),
        static_cast<unsigned long long>(Count(path, "times_suspect")),
        Number(path, "window_bytes") / 1024, Strip(side, path).c_str());
  }
}

}  // namespace

json MakeDocument(const Plan& plan, json client, json server,
                  const std::string& error) {
  json forward, backward;
  if (plan.forward) forward = DirectionJson(client, server);
  if (plan.backward) backward = DirectionJson(server, client);
  const double bytes = Number(forward, "bytes") + Number(backward, "bytes");
  json document = {
      {"hawser_perf", kFormat},
      {"error", error.empty() ? json() : json(error)},
      {"plan", ToJson(plan)},
      {"goodput_gbps",
       Number(forward, "goodput_gbps") + Number(backward, "goodput_gbps")},
      {"goodput_mbytes_per_s", Number(forward, "goodput_mbytes_per_s") +
                                   Number(backward, "goodput_mbytes_per_s")},
      {"longest_gap_ms", std::max(Number(forward, "longest_gap_ms"),
                                  Number(backward, "longest_gap_ms"))},
      {"wrong_messages",
       Count(forward, "wrong_messages") + Count(backward, "wrong_messages")},
      {"cpu", CpuJson(client, server, bytes / 1e9,
                      Count(Part(client, "round_trip"), "count"))},
      {"round_trip", Part(client, "round_trip")},
      {"forward", std::move(forward)},
      {"backward", std::move(backward)}};
  document["client"] = std::move(client);
  document["server"] = std::move(server);
  return document;
}

void PrintHead(const Plan& plan, const Endpoint& endpoint,
               const std::string& server) {
  std::printf("# hawser_perf to %s: %s\n# over %s\n", server.c_str(),
              Describe(plan).c_str(), ToString(endpoint.interfaces()).c_str());
  std::string columns;
  if (plan.latency) {
    columns = absl::StrFormat(" %12s %10s", "round trips", "mean (us)");
  } else {
    if (plan.forward) {
      columns += absl::StrFormat(" %10s %9s", "-> Gb/s", "MB/s");
    }
    if (plan.backward) {
      columns += absl::StrFormat(" %10s %9s", "<- Gb/s", "MB/s");
    }
  }
  std::printf("#\n# %6s%s %11s %8s %8s\n", "time", columns.c_str(),
              "paths open", "lost", "resent");
  std::fflush(stdout);
}

void LiveLines::OnTick(const Side& side) {
  const double elapsed_s = Seconds(side.elapsed());
  // The last line would be one of a few milliseconds.
  if (elapsed_s < std::floor(printed_s_) + 1) return;
  const double seconds = elapsed_s - printed_s_;
  printed_s_ = elapsed_s;
  std::string columns;
  const auto rate = [&](uint64_t bytes, uint64_t* before) {
    const double per_s = static_cast<double>(bytes - *before) / seconds;
    *before = bytes;
    absl::StrAppendFormat(&columns, " %10.3f %9.1f", per_s * 8 / 1e9,
                          per_s / 1e6);
  };
  if (plan_.latency) {
    const uint64_t trips = side.round_trips().count() - round_trips_;
    round_trips_ = side.round_trips().count();
    absl::StrAppendFormat(&columns, " %12u %10.1f", trips,
                          trips > 0 ? seconds * 1e6 / trips : 0);
  } else {
    if (plan_.forward) rate(side.sent().bytes(), &sent_bytes_);
    if (plan_.backward) rate(side.received().bytes(), &received_bytes_);
  }
  const PathSeries::Summary& paths = side.series().summary();
  std::printf("  %6.2f%s %11s %8llu %8llu\n", elapsed_s, columns.c_str(),
              absl::StrCat(paths.open, "/", paths.paths).c_str(),
              static_cast<unsigned long long>(paths.packets_lost),
              static_cast<unsigned long long>(paths.packets_resent));
  std::fflush(stdout);
}

void PrintResults(const json& document) {
  const json& plan = Part(document, "plan");
  const json& trips = Part(document, "round_trip");
  if (trips.is_object()) {
    std::printf(
        "# round trip of %llu bytes, %llu times (us): min %.1f, mean %.1f, "
        "p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n",
        static_cast<unsigned long long>(Count(plan, "size_bytes")),
        static_cast<unsigned long long>(Count(trips, "count")),
        Number(trips, "min_us"), Number(trips, "mean_us"),
        Number(trips, "p50_us"), Number(trips, "p90_us"),
        Number(trips, "p99_us"), Number(trips, "p99_9_us"),
        Number(trips, "max_us"));
  } else {
    PrintDirection("client -> server", Part(document, "forward"));
    PrintDirection("server -> client", Part(document, "backward"));
  }
  PrintCpu(Part(document, "cpu"));
  if (Part(plan, "verify") == json(true)) {
    const uint64_t wrong = Count(document, "wrong_messages");
    std::printf("# Wrong messages: %llu %s\n",
                static_cast<unsigned long long>(wrong),
                wrong == 0 ? "OK" : "FAILED");
  }
  PrintPaths("client -> server", Part(document, "client"));
  PrintPaths("server -> client", Part(document, "server"));
  std::fflush(stdout);
}

void PrintServed(const std::string& client, const Plan& plan,
                 const json& server) {
  const auto rate = [&](const char* way) {
    return Number(Part(server, way), "goodput_gbps");
  };
  std::printf("%s: %s: received %.3f Gb/s, sent %.3f Gb/s\n", client.c_str(),
              Describe(plan).c_str(), rate("received"), rate("sent"));
  std::fflush(stdout);
}

absl::Status WriteDocument(const json& document, const std::string& name,
                           std::FILE* file) {
  // Names come from outside; what is not UTF-8 in them is replaced.
  const std::string text =
      document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const bool written =
      std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) {
    return absl::UnavailableError(
        absl::StrCat("--json ", name, ": ", strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace hawser::perf
