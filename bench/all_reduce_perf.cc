// A collective over any NCCL net plugin, on host memory, without a GPU: what
// a plugin must carry when NCCL drives it, measured and checked.
#include "bench/launcher.h"
#include "bench/options.h"
#include "bench/rank.h"

int main(int argc, char** argv) {
  const hawser::bench::Options options =
      hawser::bench::ParseOptions(argc, argv);
  if (options.rank >= 0) return hawser::bench::RunRank(options);
  return hawser::bench::RunLauncher(options, argc, argv);
}
