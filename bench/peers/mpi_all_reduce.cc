// OpenMPI's all-reduce, timed as all_reduce_perf times ours: all runs in one
// go, the mean per run, the slowest rank counts. One line from rank 0:
//   SIZE_BYTES TIME_US WRONG_ELEMENTS
// The C++ names of MPI are long gone; only the C ones are asked for.
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

// Small whole numbers: their sum is exact in whatever order it is made.
float Element(int rank, size_t index) {
  return static_cast<float>(rank + 1) * static_cast<float>(index % 7 + 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: mpi_all_reduce BYTES ITERATIONS WARMUPS\n");
    return 2;
  }
  const size_t count = std::strtoul(argv[1], nullptr, 10) / sizeof(float);
  const int iterations = std::atoi(argv[2]);
  const int warmups = std::atoi(argv[3]);

  MPI_Init(&argc, &argv);
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  std::vector<float> input(count);
  std::vector<float> output(count, -1);
  for (size_t i = 0; i < count; ++i) input[i] = Element(rank, i);
  const auto reduce = [&] {
    MPI_Allreduce(input.data(), output.data(), static_cast<int>(count),
                  MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  };

  // One more than asked for, as all_reduce_perf has it.
  for (int i = 0; i <= warmups; ++i) reduce();
  MPI_Barrier(MPI_COMM_WORLD);
  const double begin = MPI_Wtime();
  for (int i = 0; i < iterations; ++i) reduce();
  const double mine = (MPI_Wtime() - begin) / iterations;

  double slowest = 0;
  MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  unsigned long long wrong_here = 0;
  for (size_t i = 0; i < count; ++i) {
    const float sum = Element(0, i) * static_cast<float>(ranks) *
                      static_cast<float>(ranks + 1) / 2;
    if (output[i] != sum) ++wrong_here;
  }
  unsigned long long wrong = 0;
  MPI_Allreduce(&wrong_here, &wrong, 1, MPI_UNSIGNED_LONG_LONG, MPI_SUM,
                MPI_COMM_WORLD);
  if (rank == 0) {
    std::printf("%zu %.3f %llu\n", count * sizeof(float), slowest * 1e6, wrong);
  }
  MPI_Finalize();
  return wrong == 0 ? 0 : 1;
}
