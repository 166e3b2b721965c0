// gloo's all-reduce over its TCP transport, by its default algorithm, timed as
// all_reduce_perf times ours: all runs in one go, the mean per run, the slowest
// rank counts. One line from rank 0:
//   SIZE_BYTES TIME_US WRONG_ELEMENTS
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <vector>

namespace {

// Small whole numbers: their sum is exact in whatever order it is made.
float Element(int rank, size_t index) {
  return static_cast<float>(rank + 1) * static_cast<float>(index % 7 + 1);
}

double NowS() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

template <typename T>
using Operation = void (*)(void*, const void*, const void*, size_t);

template <typename T>
void AllReduce(const std::shared_ptr<gloo::Context>& context, T* input,
               T* output, size_t count, Operation<T> operation) {
  gloo::AllreduceOptions options(context);
  options.setInput(input, count);
  options.setOutput(output, count);
  options.setReduceFunction(operation);
  gloo::allreduce(options);
}

void Barrier(const std::shared_ptr<gloo::Context>& context) {
  gloo::BarrierOptions options(context);
  gloo::barrier(options);
}

int Run(char** argv) {
  const int rank = std::atoi(argv[1]);
  const int ranks = std::atoi(argv[2]);
  const size_t count = std::strtoul(argv[5], nullptr, 10) / sizeof(float);
  const int iterations = std::atoi(argv[6]);
  const int warmups = std::atoi(argv[7]);

  gloo::transport::tcp::attr where;
  where.hostname = argv[4];
  auto device = gloo::transport::tcp::CreateDevice(where);
  gloo::rendezvous::FileStore store(argv[3]);
  auto context = std::make_shared<gloo::rendezvous::Context>(rank, ranks);
  context->connectFullMesh(store, device);

  std::vector<float> input(count);
  std::vector<float> output(count, -1);
  for (size_t i = 0; i < count; ++i) input[i] = Element(rank, i);
  const auto reduce = [&] {
    AllReduce<float>(context, input.data(), output.data(), count,
                     &gloo::sum<float>);
  };

  // One more than asked for, as all_reduce_perf has it.
  for (int i = 0; i <= warmups; ++i) reduce();
  Barrier(context);
  const double begin = NowS();
  for (int i = 0; i < iterations; ++i) reduce();
  double mine = (NowS() - begin) / iterations;

  double slowest = 0;
  AllReduce<double>(context, &mine, &slowest, 1, &gloo::max<double>);
  double wrong_here = 0;
  for (size_t i = 0; i < count; ++i) {
    const float sum = Element(0, i) * static_cast<float>(ranks) *
                      static_cast<float>(ranks + 1) / 2;
    if (output[i] != sum) ++wrong_here;
  }
  double wrong = 0;
  AllReduce<double>(context, &wrong_here, &wrong, 1, &gloo::sum<double>);
  if (rank == 0) {
    std::printf("%zu %.3f %.0f\n", count * sizeof(float), slowest * 1e6, wrong);
    std::fflush(stdout);
  }
  Barrier(context);  // Nobody closes what another still uses.
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr,
                 "usage: gloo_all_reduce RANK RANKS STORE_FOLDER BIND_ADDRESS "
                 "BYTES ITERATIONS WARMUPS\n");
    return 2;
  }
  try {
    return Run(argv);
  } catch (const std::exception& error) {  // gloo's way to say what failed.
    std::fprintf(stderr, "gloo_all_reduce: %s\n", error.what());
    return 1;
  }
}
