// One row per knob. Rows are built from members, so that a knob cannot exist
// without a name, a range and a sentence of help.
#include "transport/engine/config.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "transport/spray/schedulers.h"

namespace hawser {
namespace {

ConfigRow Number(const char* name, const char* unit, int Config::*field,
                 int least, int most, const char* help,
                 const char* fallback = nullptr) {
  return {name,
          fallback,
          unit,
          absl::StrCat(least, "..", most),
          help,
          [=](std::string_view value, Config& config) {
            int number;
            if (!absl::SimpleAtoi({value.data(), value.size()}, &number) ||
                number < least || number > most) {
              return false;
            }
            config.*field = number;
            return true;
          },
          [=](const Config& config) { return absl::StrCat(config.*field); }};
}

ConfigRow Choice(const char* name, std::string Config::*field,
                 std::vector<std::string> choices, const char* help,
                 const char* fallback = nullptr) {
  return {name,
          fallback,
          "",
          absl::StrJoin(choices, ", "),
          help,
          [=](std::string_view value, Config& config) {
            for (const std::string& choice : choices) {
              if (value == choice) {
                config.*field = choice;
                return true;
              }
            }
            return false;
          },
          [=](const Config& config) { return config.*field; }};
}

ConfigRow Text(const char* name, std::string Config::*field,
               const char* expected, const char* help,
               const char* fallback = nullptr) {
  return {name,
          fallback,
          "",
          expected,
          help,
          [=](std::string_view value, Config& config) {
            config.*field = std::string(value);
            return true;
          },
          [=](const Config& config) { return config.*field; }};
}

std::vector<ConfigRow> MakeRows() {
  return {
      Choice("HAWSER_DATAPATH", &Config::datapath,
             {"auto", "udp", "verbs", "dpdk"},
             "How packets leave the host. auto takes the fastest that works "
             "here; udp is kernel sockets; verbs is RDMA devices; dpdk is "
             "ports of "
             "DPDK, where it is asked for by name."),
      Text("HAWSER_IFNAME", &Config::interfaces,
           "a list of name prefixes; = before it: exact names; ^: all but",
           "Which network interfaces are used. Unset: all that are up; "
           "bridges, point-to-point links and loopback only where there is "
           "nothing else, docker's never.",
           "NCCL_SOCKET_IFNAME"),
      Choice("HAWSER_SOCKET_FAMILY", &Config::family,
             {"any", "AF_INET", "AF_INET6"},
             "Which addresses of the interfaces are used; any prefers IPv4.",
             "NCCL_SOCKET_FAMILY"),
      Text("HAWSER_IB_HCA", &Config::verbs_ports,
           "as HAWSER_IFNAME, each name perhaps with :PORT",
           "verbs: which RDMA devices are used. Unset: all with a port that "
           "is up; HAWSER_IFNAME then only says where handshakes go.",
           "NCCL_IB_HCA"),
      Choice("HAWSER_VERBS_MODE", &Config::verbs_mode,
             {"auto", "ud", "uc", "rc"},
             "verbs: ud: datagrams, and the host puts the bytes where they "
             "belong; uc, rc: the NIC does, over a queue pair per path, which "
             "is unreliable or reliable. auto: the first of uc, rc, ud that a "
             "device proves able to, and ud where it is of software; "
             "one line says which, and why."),
      Number("HAWSER_IB_GID_INDEX", "", &Config::gid_index, -1, 255,
             "verbs: under which entry of the GID table. -1: RoCE v2 of the "
             "family; any prefers IPv4.",
             "NCCL_IB_GID_INDEX"),
      Number("HAWSER_IB_SL", "", &Config::service_level, 0, 15,
             "verbs: the service level of every packet.", "NCCL_IB_SL"),
      Text("HAWSER_DPDK_EAL", &Config::dpdk_eal, "EAL's arguments, with blanks",
           "dpdk: how DPDK's environment is started, once per process. What is "
           "not said: --in-memory, one lcore, no telemetry."),
      Text("HAWSER_DPDK_PORTS", &Config::dpdk_ports,
           "NAME ADDRESS/PREFIX [via GATEWAY] [vlan ID] [mtu BYTES] [neighbour "
           "ADDRESS=MAC]...; and the next",
           "dpdk: the ports that are used, as DPDK names them, each a plane, "
           "and the address that we have there, which must be nobody else's. "
           "HAWSER_IFNAME then only says where handshakes go."),
      Number("HAWSER_AGGREGATE", "", &Config::aggregate, 0, 1,
             "1: all interfaces form one device, and every flow uses them "
             "all. 0: each interface is a device of its own."),
      Number("HAWSER_ENGINES", "", &Config::engines, 1, 16,
             "Engines, each with a thread and sockets of its own, per device."),
      Number("HAWSER_PATHS", "per peer", &Config::paths, 1, kMaxPaths,
             "Paths to each peer, spread over all planes. The side that asks "
             "for fewer decides."),
      Choice("HAWSER_SCHEDULER", &Config::scheduler,
             {SchedulerNames().begin(), SchedulerNames().end()},
             "Which path the next packet takes."),
      Choice("HAWSER_CONGESTION", &Config::congestion,
             {"swift", "nscc", "dctcp", "fixed_window"},
             "How much may be in flight. nscc and dctcp are for fabrics that "
             "mark (ECN)."),
      Choice("HAWSER_WINDOW_PER", &Config::window_per, {"path", "plane"},
             "Whose window that is: path: each path has its own; plane: all "
             "paths to a peer in one plane share one."),
      Number("HAWSER_WINDOW_BYTES", "bytes", &Config::window_bytes, 1024,
             1 << 28,
             "The window: the first one, but no more than 10 packets (swift); "
             "the first and the largest (nscc, dctcp); the only one "
             "(fixed_window)."),
      Number("HAWSER_TARGET_DELAY_US", "us", &Config::target_delay_us, 1,
             1'000'000,
             "swift, nscc: the delay over the least round trip seen that a "
             "window may add."),
      Choice("HAWSER_ADMISSION", &Config::admission, {"auto", "off"},
             "Whether peers that send to this host at the same time are "
             "admitted at the pace of its ports. auto: where their rate is "
             "known. A peer that sends alone is never held back."),
      Number("HAWSER_PORT_MBPS", "Mb/s", &Config::port_mbps, 0, 10'000'000,
             "What the ports of a device take, all together. 0: what the "
             "system says of each; where it says nothing, as of loopback, it "
             "is not known."),
      Choice("HAWSER_POLL", &Config::poll, {"adaptive", "busy", "event"},
             "How an engine waits. adaptive: spins a little, then sleeps; "
             "busy: never sleeps, and takes every turn itself, whatever "
             "HAWSER_ASSIST says; event: sleeps at once."),
      Number("HAWSER_SPIN_US", "us", &Config::spin_us, 0, 1'000'000,
             "adaptive: how long an idle engine spins before it sleeps."),
      Number("HAWSER_ASSIST", "", &Config::assist, 0, 1,
             "1: a thread that asks for the fate of a request takes the "
             "engine's turn while it waits. Not with HAWSER_POLL=busy."),
      Number("HAWSER_FIRST_CORE", "", &Config::first_core, -1, 4095,
             "Engine i is pinned to this core + i. -1: not pinned."),
      Number("HAWSER_PEER_TIMEOUT_MS", "ms", &Config::peer_timeout_ms, 100,
             3'600'000,
             "A peer with open requests that is not heard for so long is "
             "lost."),
      Number("HAWSER_HANDSHAKE_TIMEOUT_MS", "ms", &Config::handshake_timeout_ms,
             100, 3'600'000,
             "How long a connector tries to reach the listener's host, and how "
             "long the listener waits for a connection to say what it wants. "
             "After that both wait for each other for as long as both live."),
      Number("HAWSER_ACK_DELAY_US", "us", &Config::ack_delay_us, 0, 100'000,
             "How long an ack that nobody asked for may wait for more packets "
             "to speak of, or a quarter of a round trip, if that is longer; "
             "where data tends to follow, every ack for a tenth of "
             "HAWSER_TARGET_DELAY_US."),
      Number("HAWSER_RTO_MIN_US", "us", &Config::rto_min_us, 50, 1'000'000,
             "A path is never suspected sooner than this after it fell "
             "silent."),
      Number("HAWSER_PACKET_BYTES", "bytes", &Config::packet_bytes, 256, 65'408,
             "The most payload of one packet, where the path's MTU allows "
             "it; cut to a multiple of 16, and from 16 KiB on of 128. Where "
             "a NIC places the bytes, it has a measure of its own."),
      Number("HAWSER_PEEK_BYTES", "bytes", &Config::peek_bytes, 1, 65'536,
             "udp: a packet with so much payload is looked at before it is "
             "received, so that the system can put the payload where it "
             "belongs, if nobody reads there before it is complete. 65536: "
             "none is."),
      Choice("HAWSER_CHECKSUM", &Config::checksum, {"header", "payload"},
             "What our own check covers, beside UDP's checksum: the header "
             "always, the payload if asked."),
      Number("HAWSER_SOCKET_BUFFER_BYTES", "bytes",
             &Config::socket_buffer_bytes, 65'536, 1 << 30,
             "Kernel buffer that is asked for, per socket and direction."),
      Number("HAWSER_TRAFFIC_CLASS", "", &Config::traffic_class, 0, 252,
             "The IP traffic class byte of every packet; its ECN bits are "
             "ours. From NCCL 2.28 on, what the first communicator's "
             "configuration says goes before it; a later one that says "
             "something else gets a warning."),
      Text("HAWSER_STATS_FILE", &Config::stats_file, "a file name",
           "Where the NCCL plugin writes a JSON report of every path when the "
           "transport ends. %p in it becomes the process id; without one, .%p "
           "is added, so that no process writes over another's. With "
           "HAWSER_AGGREGATE=0 the second device adds .1, and so forth."),
  };
}

absl::Status Refusal(const ConfigRow& row, std::string_view name,
                     std::string_view value) {
  return absl::InvalidArgumentError(
      absl::StrCat(absl::string_view(name.data(), name.size()), "=\"",
                   absl::string_view(value.data(), value.size()),
                   "\" is not valid; expected ", row.expected,
                   *row.unit ? " " : "", row.unit));
}

}  // namespace

std::span<const ConfigRow> ConfigRows() {
  // Destroyed with the library: a plugin may be loaded many times.
  static const std::vector<ConfigRow> rows = MakeRows();
  return rows;
}

absl::StatusOr<Config> Config::FromEnvironment(const Lookup& lookup,
                                               std::string* used) {
  Config config;
  for (const ConfigRow& row : ConfigRows()) {
    const char* name = row.name;
    const char* value = lookup(name);
    if (value == nullptr && row.fallback != nullptr) {
      name = row.fallback;
      value = lookup(name);
    }
    if (value == nullptr || *value == '\0') continue;
    if (!row.parse(value, config)) return Refusal(row, name, value);
    if (used != nullptr) absl::StrAppend(used, name, "=", value, "\n");
  }
  return config;
}

absl::Status Config::Validate() const {
  Config parsed;
  for (const ConfigRow& row : ConfigRows()) {
    const std::string value = row.show(*this);
    if (!row.parse(value, parsed)) return Refusal(row, row.name, value);
  }
  return absl::OkStatus();
}

std::string Config::ToString() const {
  std::string text;
  for (const ConfigRow& row : ConfigRows()) {
    absl::StrAppend(&text, row.name, "=", row.show(*this), "\n");
  }
  return text;
}

std::string UnknownKnobs(const char* const* environment) {
  // What tests, tools and CI read themselves.
  constexpr absl::string_view kElsewhere[] = {
      "HAWSER_GPU",    "HAWSER_NCCL_CPU",    "HAWSER_NCCL_CPU_SOURCE",
      "HAWSER_PYTHON", "HAWSER_SWARM_SEEDS", "HAWSER_WRITE_DOCS"};
  std::vector<absl::string_view> unknown;
  for (; *environment != nullptr; ++environment) {
    const absl::string_view variable = *environment;
    const absl::string_view name = variable.substr(0, variable.find('='));
    if (!absl::StartsWith(name, "HAWSER_") ||
        absl::StartsWith(name, "HAWSER_TEST_")) {
      continue;
    }
    const auto is_name = [&](absl::string_view known) { return known == name; };
    const auto rows = ConfigRows();
    if (std::none_of(rows.begin(), rows.end(),
                     [&](const ConfigRow& row) { return is_name(row.name); }) &&
        std::none_of(std::begin(kElsewhere), std::end(kElsewhere), is_name)) {
      unknown.push_back(name);
    }
  }
  if (unknown.empty()) return "";
  std::sort(unknown.begin(), unknown.end());
  return absl::StrCat(absl::StrJoin(unknown, ", "),
                      ": nobody reads a variable of this name; "
                      "docs/config.md lists those that are read");
}

std::string ConfigPage() {
  const Config defaults;
  std::string page =
      "# Configuration\n\n"
      "Environment variables, read once when the transport starts. A value "
      "out of range is\nrefused, and the message says what was expected; a "
      "variable `HAWSER_...` that is not\nhere gets a warning. This page is "
      "printed from the table in\n`transport/engine/config.cc`; a test keeps "
      "it so.\n\n"
      "| variable | default | expected | what it does |\n"
      "|---|---|---|---|\n";
  for (const ConfigRow& row : ConfigRows()) {
    std::string value = row.show(defaults);
    absl::StrAppend(&page, "| `", row.name, "` | ",
                    value.empty() ? "unset" : absl::StrCat("`", value, "`"),
                    " | ", row.expected, *row.unit ? " " : "", row.unit, " | ",
                    row.help);
    if (row.fallback != nullptr) {
      absl::StrAppend(&page, " Unset: `", row.fallback, "` is asked.");
    }
    absl::StrAppend(&page, " |\n");
  }
  return page;
}

}  // namespace hawser
