// Everything an operator may choose: one table, read once, then constant.
// Knows: names, units, ranges, defaults.  Never: what a choice does.
//
// docs/config.md is printed from the same rows.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hawser {

struct Config {
  std::string datapath = "auto";
  std::string interfaces;      // As FindInterfaces takes it.
  std::string family = "any";  // any AF_INET AF_INET6
  int aggregate = 1;           // All interfaces are one device.
  int engines = 1;
  int paths = 16;  // Per peer.
  std::string scheduler = "adaptive";
  std::string congestion = "swift";
  std::string window_per = "path";  // path plane
  int window_bytes = 128 * 1024;    // What it means depends on `congestion`.
  int target_delay_us = 1000;
  std::string admission = "auto";  // auto off
  int port_mbps = 0;  // What this host's ports take together; 0: unknown.
  std::string poll = "adaptive";  // adaptive busy event
  int spin_us = 20;
  int assist = 1;  // Test() may take an engine's turn.
  int first_core = -1;
  int peer_timeout_ms = 10'000;
  int handshake_timeout_ms = 10'000;
  int ack_delay_us = 50;
  int rto_min_us = 5'000;
  int packet_bytes = 65'408;        // The most payload of one packet.
  int peek_bytes = 16 << 10;        // See PlaceOf in the engine.
  std::string checksum = "header";  // header payload
  int socket_buffer_bytes = 4 << 20;
  int traffic_class = 0;
  std::string verbs_ports;  // As VerbsLibrary::FindPorts takes it.
  int gid_index = -1;       // -1: chosen by its kind.
  int service_level = 0;
  std::string verbs_mode = "auto";  // auto ud uc rc
  std::string dpdk_eal;             // As DpdkLibrary::Load takes it.
  std::string dpdk_ports;           // As ParseDpdkPorts takes it.
  std::string stats_file;

  // How an environment is asked: nullptr means "not set".
  using Lookup = std::function<const char*(const char* name)>;
  // InvalidArgument, with the name, the value and what was expected, at the
  // first value that is out of range. `used` (may be null) gets a line per
  // variable that was set.
  static absl::StatusOr<Config> FromEnvironment(const Lookup& lookup,
                                                std::string* used = nullptr);
  // The same, of values that did not come from an environment.
  absl::Status Validate() const;
  std::string ToString() const;  // "NAME=value", one a line, all rows.
};

struct ConfigRow {
  const char* name;      // "HAWSER_PATHS"
  const char* fallback;  // Another variable that is asked next, or nullptr.
  const char* unit;      // "", "us", "bytes"...
  std::string expected;  // "1..256", "adaptive, round_robin"
  const char* help;
  std::function<bool(std::string_view value, Config& config)> parse;
  std::function<std::string(const Config& config)> show;
};
std::span<const ConfigRow> ConfigRows();

// A line that names each variable of ours that nobody reads, as one with a slip
// of the pen; empty: there is none. `environment` as environ(7) has it.
std::string UnknownKnobs(const char* const* environment);

// The table as the page docs/config.md, whole.
std::string ConfigPage();

}  // namespace hawser
