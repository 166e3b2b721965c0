#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "tools/hawser_perf/control.h"
#include "tools/hawser_perf/report.h"
#include "tools/hawser_perf/roles.h"
#include "tools/hawser_perf/side.h"

namespace hawser::perf {
namespace {

using nlohmann::json;

// A stranger that says nothing keeps others waiting for so long.
constexpr Duration kHelloMost = Duration::Seconds(5);

// `client`: whom it is about, if the message does not say so itself.
void Complain(const std::string& client, const absl::Status& status) {
  const std::string why(status.message());
  std::fflush(stdout);
  std::fprintf(stderr, "hawser_perf: %s%s\n",
               why.find(client) == std::string::npos
                   ? absl::StrCat(client, ": ").c_str()
                   : "",
               why.c_str());
}

class Server {
 public:
  Server(const Options& options, ControlDoor* door)
      : options_(options), door_(door) {}

  // `*tested`: it came to a test, and was not just somebody who knocked.
  absl::Status Serve(ControlLine* control, bool* tested);

 private:
  absl::Status Test(ControlLine* control, const Plan& plan,
                    const json& handles);

  const Options& options_;
  ControlDoor* const door_;
};

absl::Status Server::Serve(ControlLine* control, bool* tested) {
  // The server speaks first: so one that is busy can say so before anything
  // was sent to it, and its last words are not lost with that.
  absl::Status status = control->Write({{"hawser_perf", kControlVersion}});
  if (!status.ok()) return status;
  const auto hello = control->Read(kHelloMost);
  if (!hello.ok()) return hello.status();
  *tested = true;
  if (hello->value("hawser_perf", json()) != json(kControlVersion)) {
    status = absl::FailedPreconditionError("a hawser_perf of another version");
  } else if (!hello->contains("plan") || !hello->contains("handles")) {
    status = absl::InvalidArgumentError(
        hello->value("say", json()) == json("failed") &&
                hello->value("why", json()).is_string()
            ? hello->value("why", "")
            : "there is no plan in its first line");
  } else if (auto plan = PlanFromJson((*hello)["plan"]); !plan.ok()) {
    status = plan.status();
  } else {
    status = Test(control, *plan, (*hello)["handles"]);
  }
  if (!status.ok()) {
    // It may have left already; then there is nobody to tell.
    (void)control->Write(
        {{"say", "failed"}, {"why", std::string(status.message())}});
  }
  return status;
}

absl::Status Server::Test(ControlLine* control, const Plan& plan,
                          const json& handles) {
  // A new endpoint for each: nothing of one test is left in the next.
  auto endpoint = MakeEndpoint(options_.verbose);
  if (!endpoint.ok()) return endpoint.status();
  Side side(endpoint->get(), control, plan, /*client=*/false);
  if (absl::Status made = side.MakeLanes(); !made.ok()) return made;
  auto mine = side.Listen();
  if (!mine.ok()) return mine.status();
  absl::Status status = control->Write({{"handles", *std::move(mine)}});
  if (status.ok()) status = side.Open(handles);
  if (!status.ok()) return status;
  status = side.Run([&] {
    if (const auto other = door_->Accept(Duration())) {
      (void)other->Write(
          {{"refused", absl::StrCat("it is busy with a test of ",
                                    control->far(), "; try again later")}});
    }
    return false;
  });
  if (!options_.quiet) PrintServed(control->far(), plan, side.Report());
  return status.ok() ? side.TellReport() : status;
}

}  // namespace

int RunServer(const Options& options) {
  // What cannot work is better said now than to the first client.
  if (auto endpoint = MakeEndpoint(options.verbose); !endpoint.ok()) {
    Complain("", endpoint.status());
    return kExitFailed;
  }
  auto door = ControlDoor::Open(options.bind, options.port);
  if (!door.ok()) {
    Complain("", door.status());
    return kExitFailed;
  }
  if (!options.quiet || options.port == 0) {
    std::printf("hawser_perf server at %s\n", (*door)->where().c_str());
    std::fflush(stdout);
  }
  Server server(options, door->get());
  while (true) {
    const auto control = (*door)->Accept(Duration::Seconds(3600));
    if (control == nullptr) continue;
    bool tested = false;
    const absl::Status status = server.Serve(control.get(), &tested);
    if (!status.ok()) Complain(control->far(), status);
    if (options.once && tested) return status.ok() ? 0 : kExitFailed;
  }
}

}  // namespace hawser::perf
