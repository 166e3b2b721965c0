#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tools/hawser_perf/control.h"
#include "tools/hawser_perf/report.h"
#include "tools/hawser_perf/roles.h"
#include "tools/hawser_perf/side.h"

namespace hawser::perf {
namespace {

using nlohmann::json;

// A server that is not busy greets at once.
constexpr Duration kGreetingMost = Duration::Seconds(10);

// Ctrl-C ends the test and shows its results; the second one ends the program.
volatile sig_atomic_t interrupted = 0;

void CatchInterrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

absl::Status Greet(ControlLine* control) {
  const auto greeting = control->Read(kGreetingMost);
  if (!greeting.ok()) return greeting.status();
  if (greeting->contains("refused") && (*greeting)["refused"].is_string()) {
    return absl::UnavailableError(
        absl::StrCat(control->far(),
                     " refuses: ", (*greeting)["refused"].get<std::string>()));
  }
  if (greeting->value("hawser_perf", json()) != json(kControlVersion)) {
    return absl::FailedPreconditionError(
        absl::StrCat(control->far(), " is no hawser_perf of this version"));
  }
  return absl::OkStatus();
}

// Until all flows are open.
absl::Status Begin(Side* side, ControlLine* control, const Plan& plan) {
  if (absl::Status made = side->MakeLanes(); !made.ok()) return made;
  if (absl::Status greeted = Greet(control); !greeted.ok()) return greeted;
  auto handles = side->Listen();
  if (!handles.ok()) return handles.status();
  const absl::Status asked = control->Write({{"hawser_perf", kControlVersion},
                                             {"plan", ToJson(plan)},
                                             {"handles", *std::move(handles)}});
  if (!asked.ok()) return asked;
  const auto answer = control->Read(kGreetingMost);
  if (!answer.ok()) return answer.status();
  if (!answer->contains("handles")) {
    const json why = answer->value("why", json());
    return absl::UnavailableError(absl::StrCat(
        control->far(), " says: ",
        why.is_string() ? why.get<std::string>() : "nothing that helps"));
  }
  return side->Open((*answer)["handles"]);
}

int Complain(const absl::Status& status) {
  std::fflush(stdout);
  std::fprintf(stderr, "hawser_perf: %s\n",
               std::string(status.message()).c_str());
  return kExitFailed;
}

// What the two sides saw. Null: nothing.
struct Seen {
  json client, server;
};

absl::Status Test(const Options& options, Seen* seen) {
  const Plan& plan = options.plan;
  auto endpoint = MakeEndpoint(options.verbose);
  if (!endpoint.ok()) return endpoint.status();
  auto control = ControlLine::Connect(options.host, options.port);
  if (!control.ok()) return control.status();
  Side side(endpoint->get(), control->get(), plan, /*client=*/true);
  const auto tell = [&](const absl::Status& failure) {
    // It may have left already; then there is nobody to tell.
    (void)(*control)->Write(
        {{"say", "failed"}, {"why", std::string(failure.message())}});
    return failure;
  };
  absl::Status status = Begin(&side, control->get(), plan);
  if (!status.ok()) return tell(status);

  CatchInterrupt();
  LiveLines live(plan);
  if (!options.quiet) {
    PrintHead(plan, **endpoint,
              absl::StrCat(options.host, ", port ", options.port));
  }
  status = side.Run([&] {
    if (!options.quiet) live.OnTick(side);
    return interrupted != 0;
  });
  seen->client = side.Report();
  if (!status.ok()) return tell(status);
  auto report = side.AwaitReport();
  if (!report.ok()) return report.status();
  seen->server = *std::move(report);
  return absl::OkStatus();
}

}  // namespace

int RunClient(const Options& options) {
  std::FILE* file = nullptr;
  if (!options.json_file.empty()) {
    file = std::fopen(options.json_file.c_str(), "we");
    if (file == nullptr) {
      return Complain(absl::NotFoundError(
          absl::StrCat("--json ", options.json_file, ": ", strerror(errno))));
    }
  }
  Seen seen;
  absl::Status status = Test(options, &seen);
  const bool begun = !seen.client.is_null();
  const json document =
      MakeDocument(options.plan, std::move(seen.client), std::move(seen.server),
                   std::string(status.message()));
  if (begun) PrintResults(document);
  if (file != nullptr) {
    status.Update(WriteDocument(document, options.json_file, file));
  }
  if (!status.ok()) return Complain(status);
  return document["wrong_messages"] == 0 ? 0 : kExitFailed;
}

}  // namespace hawser::perf
