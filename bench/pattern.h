// The elements that ranks begin with, and those that they must end with.
// Knows: the meaning of each collective, element by element.  Never: how the
// collective was carried out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bench/collectives.h"
#include "bench/options.h"

namespace hawser::bench {

// Where one rank stands in one run. Another seed gives other elements.
struct Scene {
  Operation operation = Operation::kAllReduce;
  DataType type = DataType::kFloat;
  Extent extent;
  int rank = 0;
  int ranks = 0;
  uint32_t seed = 0;
};

// The input of `scene.rank`: whole numbers so small that sums over all ranks
// are exact in every type (integers may wrap), and no two places alike.
void FillInput(const Scene& scene, void* input);

// How many elements of the output are not what they must be.
uint64_t CountWrong(const Scene& scene, const void* output);

// Fills the output with what no collective gives, so that nothing old passes.
void Poison(void* output, size_t bytes);

}  // namespace hawser::bench
