// Random: seeded, ours, the same numbers on every machine.
// Knows: its 64 bits of state.  Never: entropy; the seed is an argument.
// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
// Generators" (OOPSLA'14), the SplitMix64 finalizer and increment.
#pragma once

#include <cstdint>

namespace hawser {

// A bijection on 64 bits in which every input bit moves about half of the
// output bits. Not cryptographic.
constexpr uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class Random {
 public:
  constexpr explicit Random(uint64_t seed) : state_(seed) {}
  constexpr uint64_t Next() { return Mix64(state_ += 0x9e3779b97f4a7c15u); }
  // Uniform in [0, bound); bound > 0. The bias is below bound / 2^64.
  constexpr uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>(
        (static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }
  // Uniform in [0, 1).
  constexpr double Fraction() {
    return static_cast<double>(Next() >> 11) * 0x1p-53;
  }
  // True with the given probability. Draws even where the answer is plain, so
  // that a plan with and without a fault draws the same numbers elsewhere.
  constexpr bool Chance(double probability) { return Fraction() < probability; }

 private:
  uint64_t state_;
};

}  // namespace hawser
