#pragma once
#include <cmath>
#include <numbers>

#include "data/streams.h"

namespace vitrine::data {

/// The random numbers of one item (an image, a batch) in one epoch, one after the other. Two items share none, so each
/// can be prepared by any thread at any time.
class Draws {
 public:
  /// @param stream  of the epoch
  /// @param item    below 2^32
  /// @param copy    which of the copies of the item that the epoch holds, below 256
  Draws(const RandomDraw& stream, int64_t item, int64_t copy = 0)
      : stream_(stream), low_(uint64_t(copy) << 56 | uint64_t(item)) {}

  uint32_t bits() {
    const uint64_t word = next_++ % 4;
    if (word == 0) block_ = Philox(stream_.seed, stream_.offset, low_ + (block_number_++ << 32));
    return block_.word[word];
  }
  /// Uniform in [0, 1), a multiple of 2^-32.
  double uniform() { return bits() * 0x1p-32; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform in [0, range).
  int64_t integer(int64_t range) { return below(bits(), range); }
  /// True with probability p; always for p = 1, never for p = 0.
  bool chance(double p) { return uniform() < p; }
  /// N(0, 1) by Box-Muller.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }
  /// Fills with N(0, 1), two of each pair of uniform numbers.
  void normal(float* out, int64_t n) {
    for (int64_t i = 0; i < n; i += 2) {
      const float radius = std::sqrt(-2 * std::log(1 - RandomDraw::uniform(bits())));
      const float angle = 2 * std::numbers::pi_v<float> * RandomDraw::uniform(bits());
      out[i] = radius * std::cos(angle);
      if (i + 1 < n) out[i + 1] = radius * std::sin(angle);
    }
  }

 private:
  RandomDraw stream_;
  uint64_t low_;
  uint64_t next_ = 0, block_number_ = 0;
  Philox block_{0, 0, 0};
};

}  // namespace vitrine::data
