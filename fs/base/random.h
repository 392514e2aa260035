// `Random`: a small seeded generator (xoshiro256**), the only source of pseudo-randomness.
//
// Thread rule: one owner. The same seed gives the same sequence on every machine. Not for secrets
// and not for UUIDs: those come from the host's kernel (`uuid.h`).
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace base {

class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) word = SplitMix(seed);
  }

  uint64_t Next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // Uniform in [0, bound); bound must not be 0.
  uint64_t Below(uint64_t bound) {
    return MultiplyHigh(Next(), bound);
  }

  // True once in `n` calls on average.
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  __extension__ using Wide = unsigned __int128;

  static uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
    return static_cast<uint64_t>((static_cast<Wide>(a) * b) >> 64);
  }

  static uint64_t SplitMix(uint64_t& seed) {
    seed += 0x9E3779B97F4A7C15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }

  std::array<uint64_t, 4> state_{};
};

}  // namespace base
