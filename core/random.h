#pragma once
#include <cstdint>

#include "core/float16.h"
#include "core/tensor.h"

namespace vitrine {

/// Four 32-bit words of Philox4x32-10 for a 128-bit counter and a 64-bit key (Salmon et al., "Parallel random numbers:
/// as easy as 1, 2, 3", SC 2011). Integer arithmetic only: equal bits on every device.
struct Philox {
  uint32_t word[4];

  VITRINE_HD Philox(uint64_t seed, uint64_t counter_high, uint64_t counter_low)
      : word{uint32_t(counter_low), uint32_t(counter_low >> 32), uint32_t(counter_high), uint32_t(counter_high >> 32)} {
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t(0xD2511F53) * word[0], p1 = uint64_t(0xCD9E8D57) * word[2];
      const uint32_t a = uint32_t(p1 >> 32) ^ word[1] ^ k0, b = uint32_t(p1);
      const uint32_t c = uint32_t(p0 >> 32) ^ word[3] ^ k1, d = uint32_t(p0);
      word[0] = a, word[1] = b, word[2] = c, word[3] = d;
      k0 += 0x9E3779B9, k1 += 0xBB67AE85;
    }
  }
};

/// One draw of a Generator: element i takes word i % 4 of the Philox block with counter (offset, i / 4), on any device
/// and any grid.
struct RandomDraw {
  uint64_t seed = 0, offset = 0;
  const uint64_t* base = nullptr;  ///< added to offset, read where and when the draw is used; null: nothing

  VITRINE_HD uint64_t counter() const { return base ? offset + *base : offset; }
  VITRINE_HD Philox block(uint64_t b) const { return Philox(seed, counter(), b); }  ///< elements 4 b to 4 b + 3
  VITRINE_HD uint32_t bits(int64_t i) const { return block(uint64_t(i) / 4).word[i & 3]; }
  /// Uniform in [0, 1), a multiple of 2^-24: exact in f32.
  VITRINE_HD static float uniform(uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }
  VITRINE_HD float uniform(int64_t i) const { return uniform(bits(i)); }
};

/// A stream of draws. Copyable; its whole state is two numbers. In a captured graph the offset counts from a number in
/// device memory, so that each replay can draw anew (nn/captured_step.h).
struct Generator {
  uint64_t seed = 0, offset = 0;
  const uint64_t* base = nullptr;
  RandomDraw draw() { return {seed, offset++, base}; }
};
/// The thread's generator for callers that pass none.
Generator& default_generator();

/// Independent draws, made on the CPU in f64 and then converted and moved. mean + std * N(0, 1) by Box-Muller.
/// @throws CaptureError in a captured step
Tensor random_normal(const Shape& shape, Generator& generator, double mean = 0, double std = 1,
                     TensorOptions options = {});
/// Uniform in [low, high).
Tensor random_uniform(const Shape& shape, Generator& generator, double low = 0, double high = 1,
                      TensorOptions options = {});
/// Integers in [low, high).
Tensor random_integers(const Shape& shape, Generator& generator, int64_t low, int64_t high,
                       TensorOptions options = {.dtype = Dtype::i64});

}  // namespace vitrine
