// Bandwidth and latency between two hosts over the library, without NCCL:
// what the transport itself can do, and what each of its paths did.
#include "tools/hawser_perf/options.h"
#include "tools/hawser_perf/roles.h"

int main(int argc, char** argv) {
  const hawser::perf::Options options = hawser::perf::ParseOptions(argc, argv);
  return options.server ? hawser::perf::RunServer(options)
                        : hawser::perf::RunClient(options);
}
