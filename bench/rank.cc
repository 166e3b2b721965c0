#include "bench/rank.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "bench/bootstrap.h"
#include "bench/collectives.h"
#include "bench/comms.h"
#include "bench/driver.h"
#include "bench/fail.h"
#include "bench/net_library.h"
#include "bench/paths.h"
#include "bench/pattern.h"
#include "bench/report.h"

namespace hawser::bench {
namespace {

using nccl::Result;
using Clock = std::chrono::steady_clock;

void Require(Result result, const char* call) {
  if (result != Result::kSuccess) Fail("%s: %s", call, ResultName(result));
}

Bootstrap::Place PlaceOf(const Options& options) {
  Bootstrap::Place place;
  place.rank = options.rank;
  place.ranks = options.ranks;
  place.root = options.root;
  place.root_fd = options.root_fd;
  place.timeout_s = options.timeout_s;
  place.launched = options.launched;
  return place;
}

void AgreeOnOptions(const Options& options, Bootstrap* bootstrap) {
  const std::string mine = Fingerprint(options);
  const std::vector<std::string> all = bootstrap->AllGather(mine);
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank] == mine) continue;
    Fail("rank %zu was started otherwise: %s; this one: %s", rank,
         all[rank].c_str(), mine.c_str());
  }
}

// Tells our plugin where to write what its paths carried. Empty where the
// user wants the document for himself.
std::string ChooseStatsFile(const Options& options) {
  std::string file = options.stats_file;
  if (file.empty()) {
    if (std::getenv(kStatsVariable) != nullptr) return "";
    file = TemporaryFolder() + "/all_reduce_perf";
  }
  // The plugin puts the process id in place of %p.
  setenv(kStatsVariable, (file + ".%p").c_str(), 1);
  return file + "." + std::to_string(getpid());
}

std::string TakeStats(const std::string& file) {
  if (file.empty()) return "";
  std::ifstream stream(file);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  unlink(file.c_str());
  return text;
}

DeviceProperties OpenDevice(const Options& options, NetLibrary* net) {
  Require(net->Init(), "init");
  int devices = 0;
  Require(net->Devices(&devices), "devices");
  if (options.device >= devices) {
    Fail("--dev %d: the plugin has %d device(s)", options.device, devices);
  }
  DeviceProperties properties;
  Require(net->GetProperties(options.device, &properties), "getProperties");
  if ((properties.pointer_support & nccl::kPtrHost) == 0) {
    Fail("device %d does not take host memory", options.device);
  }
  return properties;
}

std::string ProcessName() {
  char host[HOST_NAME_MAX + 1] = "?";
  gethostname(host, sizeof(host) - 1);
  return std::string(host) + ":" + std::to_string(getpid());
}

std::vector<size_t> SizesOf(const Options& options) {
  const size_t element = SizeOf(options.type);
  std::vector<size_t> sizes;
  for (uint64_t bytes = options.bytes_min; bytes <= options.bytes_max;) {
    const size_t whole = bytes / element * element;
    // Sizes below one element are all the empty one.
    if (sizes.empty() || sizes.back() != whole) sizes.push_back(whole);
    const auto factor = static_cast<uint64_t>(options.step_factor);
    bytes = bytes == 0 ? element : bytes * factor;
  }
  return sizes;
}

// Runs sizes one after the other on the same buffers.
class Course {
 public:
  Course(const Options& options, Comms* comms, NetLibrary* net,
         Bootstrap* bootstrap)
      : options_(options),
        bootstrap_(bootstrap),
        driver_(comms, net, bootstrap, AddFor(options.type), options.timeout_s,
                options.in_place),
        // Any operation fits where the largest size does.
        input_(Allocate(options.bytes_max)),
        output_(Allocate(options.bytes_max)) {
    if (options.in_place) {
      comms->Register(input_.get(), options.bytes_max, output_.get(),
                      options.bytes_max);
    }
  }

  Row RunSize(size_t bytes) {
    const size_t element = SizeOf(options_.type);
    const Extent extent =
        ExtentOf(options_.operation, bytes, element, options_.ranks);
    const Algorithm algorithm = AlgorithmFor(options_, extent.bytes);
    programs_ =
        MakePrograms(options_.operation, algorithm, extent,
                     {options_.rank, options_.ranks, options_.channels, element,
                      options_.slice_bytes, FirstHopOf(options_, algorithm)});
    scene_ = {options_.operation, options_.type,  extent,
              options_.rank,      options_.ranks, 0};
    what_ = std::string(Name(options_.operation)) + " of " +
            std::to_string(extent.bytes) + " bytes";
    SetGuard(output_guard());

    Refill();
    driver_.Run(programs_, options_.warmups + 1, input_.get(), output_.get(),
                what_);
    const double seconds = MeasureSlowest();
    uint64_t wrong = 0;
    if (options_.checks > 0) {
      // What was timed must be right as well.
      wrong += CountWrong(scene_, output_.get());
      for (int i = 0; i < options_.checks; ++i) wrong += CheckOnce();
      wrong += CountDamaged(output_guard());
    }
    Row row = MakeRow(extent, seconds, SumOverRanks(wrong));
    row.algorithm = algorithm;
    return row;
  }

 private:
  std::byte* output_guard() {
    return output_.get() +
           scene_.extent.output_elements * SizeOf(options_.type);
  }

  void Refill() {
    ++scene_.seed;
    FillInput(scene_, input_.get());
    Poison(output_.get(),
           scene_.extent.output_elements * SizeOf(options_.type));
  }

  uint64_t CheckOnce() {
    Refill();
    driver_.Run(programs_, 1, input_.get(), output_.get(), what_);
    return CountWrong(scene_, output_.get());
  }

  double MeasureSlowest() {
    bootstrap_->Barrier();
    const auto begin = Clock::now();
    driver_.Run(programs_, options_.iterations, input_.get(), output_.get(),
                what_);
    const std::chrono::duration<double> taken = Clock::now() - begin;
    const std::vector<double> all = bootstrap_->AllGatherNumber(taken.count());
    return *std::max_element(all.begin(), all.end()) / options_.iterations;
  }

  uint64_t SumOverRanks(uint64_t mine) {
    const std::vector<uint64_t> all = bootstrap_->AllGatherNumber(mine);
    return std::accumulate(all.begin(), all.end(), uint64_t{0});
  }

  Row MakeRow(const Extent& extent, double seconds, uint64_t wrong) const {
    Row row;
    row.bytes = extent.bytes;
    row.elements = extent.elements;
    row.time_us = seconds * 1e6;
    row.algbw = static_cast<double>(extent.bytes) / 1e9 / seconds;
    row.busbw = row.algbw * BusFactor(options_.operation, options_.ranks);
    row.wrong = wrong;
    return row;
  }

  const Options& options_;
  Bootstrap* bootstrap_;
  Driver driver_;
  Bytes input_;
  Bytes output_;
  std::vector<Program> programs_;
  Scene scene_;
  std::string what_;
};

void RunSizes(const Options& options, NetLibrary* net, Bootstrap* bootstrap,
              Report* report) {
  Comms::Shape shape;
  shape.rank = options.rank;
  shape.device = options.device;
  shape.hops = HopsOf(options);
  shape.timeout_s = options.timeout_s;
  bootstrap->Barrier();
  const auto begin = Clock::now();
  Comms comms(shape, net, bootstrap);
  bootstrap->Barrier();
  const std::chrono::duration<double> taken = Clock::now() - begin;
  report->comms = comms.count();
  report->connect_s = taken.count();
  Course course(options, &comms, net, bootstrap);
  const Clock::time_point until =
      Clock::now() + std::chrono::seconds(options.duration_s);
  do {
    for (const size_t bytes : SizesOf(options)) {
      report->rows.push_back(course.RunSize(bytes));
      if (options.rank == 0) PrintRow(options, report->rows.back());
    }
    // Rank 0's clock counts for all.
  } while (bootstrap->AllGatherNumber(Clock::now() < until ? 1 : 0)[0] != 0);
  // As in NCCL, nobody closes what another still uses.
  bootstrap->Barrier();
  const uint64_t damaged = comms.Close();
  if (damaged > 0) {
    Fail("the plugin wrote %llu bytes behind a slot",
         static_cast<unsigned long long>(damaged));
  }
}

}  // namespace

int RunRank(const Options& options) {
  SetFailRank(options.rank);
  const bool writes_json = options.rank == 0 && !options.json_file.empty();
  if (writes_json) ClaimJson(options.json_file);
  Bootstrap bootstrap(PlaceOf(options));
  AgreeOnOptions(options, &bootstrap);
  const std::string stats_file = ChooseStatsFile(options);

  Report report;
  std::optional<NetLibrary> net;
  net.emplace(options.plugin, options.api, options.rank, options.verbose);
  const DeviceProperties device = OpenDevice(options, &*net);
  report.plugin_name = net->name();
  report.plugin_file = net->file();
  report.api = net->api();
  report.device_name = device.name;
  report.device_speed_mbps = device.speed_mbps;
  report.processes = bootstrap.AllGather(ProcessName());
  if (options.rank == 0) PrintHead(options, report);

  RunSizes(options, &*net, &bootstrap, &report);
  Require(net->Finalize(), "finalize");
  net.reset();  // Unloaded: what threads it had must have ended.

  report.paths_elsewhere = stats_file.empty();
  const std::vector<std::string> stats =
      bootstrap.AllGather(TakeStats(stats_file));
  if (options.rank == 0) {
    report.paths = ReadPaths(stats);
    PrintFoot(options, report);
    if (writes_json) WriteJson(options, report);
  }
  bootstrap.Barrier();
  return WrongIn(report) == 0 ? 0 : kExitWrong;
}

}  // namespace hawser::bench
