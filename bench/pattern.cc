#include "bench/pattern.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

namespace hawser::bench {
namespace {

constexpr int kPoison = 0xa5;
// Elements that are checked at a time: small enough for the first cache.
constexpr size_t kBatch = 1024;
// 16 bits each: kRanksMax of them add up to less than 2^24, exact in float.
constexpr uint32_t kValueMask = 0xffff;

// An integer hash in 32-bit steps, which vectorises: place, rank and seed all
// reach every bit that is kept.
inline uint32_t Value(uint32_t seed, int rank, uint64_t index) {
  uint32_t x = static_cast<uint32_t>(index) * 0x9e3779b1u +
               static_cast<uint32_t>(index >> 32) * 0x7feb352du;
  x ^= seed + static_cast<uint32_t>(rank) * 0x85ebca77u;
  x ^= x >> 15;
  x *= 0x2c1b3c6du;
  x ^= x >> 13;
  x *= 0x297a2d39u;
  return (x >> 16) & kValueMask;
}

template <typename T>
T ElementOf(uint32_t value) {
  return static_cast<T>(static_cast<int32_t>(value));
}

template <typename T>
void FillElements(uint32_t seed, int rank, uint64_t first, size_t count,
                  T* out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = ElementOf<T>(Value(seed, rank, first + i));
  }
}

template <typename T>
void AddElements(uint32_t seed, int rank, uint64_t first, size_t count,
                 T* out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] =
        static_cast<T>(out[i] + ElementOf<T>(Value(seed, rank, first + i)));
  }
}

// A run of output elements and where in the inputs they come from.
struct Source {
  size_t output = 0;
  size_t count = 0;
  uint64_t input = 0;
  int rank = 0;  // The rank whose input it is; all are summed if it reduces.
};

template <typename T>
uint64_t CountWrongRun(const Scene& scene, const Source& source,
                       const T* output) {
  std::array<T, kBatch> expected;
  uint64_t wrong = 0;
  for (size_t at = 0; at < source.count; at += kBatch) {
    const size_t count = std::min(kBatch, source.count - at);
    if (Reduces(scene.operation)) {
      FillElements(scene.seed, 0, source.input + at, count, expected.data());
      for (int rank = 1; rank < scene.ranks; ++rank) {
        AddElements(scene.seed, rank, source.input + at, count,
                    expected.data());
      }
    } else {
      FillElements(scene.seed, source.rank, source.input + at, count,
                   expected.data());
    }
    const T* got = output + source.output + at;
    // Whatever is not equal is wrong, a NaN as well.
    for (size_t i = 0; i < count; ++i) wrong += !(got[i] == expected[i]);
  }
  return wrong;
}

template <typename T>
uint64_t CountWrongAs(const Scene& scene, const T* output) {
  const size_t share = scene.extent.elements;
  const auto rank = static_cast<size_t>(scene.rank);
  const int previous = (scene.rank + scene.ranks - 1) % scene.ranks;
  switch (scene.operation) {
    case Operation::kAllReduce:
      return CountWrongRun(scene, {0, share, 0, 0}, output);
    case Operation::kReduceScatter:
      return CountWrongRun(scene, {0, share, rank * share, 0}, output);
    case Operation::kSendRecv:
      return CountWrongRun(scene, {0, share, 0, previous}, output);
    case Operation::kAllGather:
    case Operation::kAllToAll:
      break;
  }
  const size_t input =
      scene.operation == Operation::kAllToAll ? rank * share : 0;
  uint64_t wrong = 0;
  for (int from = 0; from < scene.ranks; ++from) {
    wrong += CountWrongRun(
        scene, {static_cast<size_t>(from) * share, share, input, from}, output);
  }
  return wrong;
}

// Calls `visit` with a value of the element type.
template <typename Visit>
auto VisitType(DataType type, const Visit& visit) {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUint8:
      return visit(uint8_t{});
    case DataType::kInt32:
    case DataType::kUint32:
      return visit(uint32_t{});
    case DataType::kInt64:
    case DataType::kUint64:
      return visit(uint64_t{});
    case DataType::kFloat:
      return visit(float{});
    case DataType::kDouble:
      break;
  }
  return visit(double{});
}

}  // namespace

void FillInput(const Scene& scene, void* input) {
  VisitType(scene.type, [&](auto element) {
    using T = decltype(element);
    FillElements(scene.seed, scene.rank, 0, scene.extent.input_elements,
                 static_cast<T*>(input));
  });
}

uint64_t CountWrong(const Scene& scene, const void* output) {
  return VisitType(scene.type, [&](auto element) {
    using T = decltype(element);
    return CountWrongAs(scene, static_cast<const T*>(output));
  });
}

void Poison(void* output, size_t bytes) { std::memset(output, kPoison, bytes); }

}  // namespace hawser::bench
