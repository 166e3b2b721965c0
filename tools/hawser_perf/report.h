// What a test showed, for humans and for machines.
// Knows: the reports of both sides, tables.  Never: how it was measured.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "tools/hawser_perf/plan.h"
#include "tools/hawser_perf/side.h"

namespace hawser::perf {

// The whole of it: the plan, both sides' reports as they are, and what follows
// from them. Where a test was cut short `server` is null, and `error` says why;
// where it never began, `client` is null too.
nlohmann::json MakeDocument(const Plan& plan, nlohmann::json client,
                            nlohmann::json server, const std::string& error);

// What is known before the test; then a line per second.
void PrintHead(const Plan& plan, const Endpoint& endpoint,
               const std::string& server);
class LiveLines {
 public:
  explicit LiveLines(const Plan& plan) : plan_(plan) {}
  // Prints a line if one is due.
  void OnTick(const Side& side);

 private:
  const Plan plan_;
  double printed_s_ = 0;  // When the last line was.
  uint64_t sent_bytes_ = 0, received_bytes_ = 0, round_trips_ = 0;
};

void PrintResults(const nlohmann::json& document);
// The server's view, in a line.
void PrintServed(const std::string& client, const Plan& plan,
                 const nlohmann::json& server);

// Into a file that was opened before the test, so that a wrong name is found
// then. Closes it.
absl::Status WriteDocument(const nlohmann::json& document,
                           const std::string& name, std::FILE* file);

}  // namespace hawser::perf
