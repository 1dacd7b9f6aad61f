#pragma once
#include <cmath>

#include "core/random.h"

/// Shared by the kernels of dropout and attention.
namespace vitrine::ops {

/// Which of the random numbers of a draw are kept: those whose 24-bit uniform number is at least p. Compared as
/// integers, so that no rounding can differ between devices.
struct DropMask {
  RandomDraw draw;
  uint32_t threshold;  ///< p * 2^24, rounded up
  double scale;        ///< 1 / (1 - p); never used for p = 1

  DropMask(double p, RandomDraw d) : draw(d), threshold(uint32_t(std::ceil(p * 0x1p24))), scale(1 / (1 - p)) {}
  VITRINE_HD bool keeps(uint32_t bits) const { return bits >> 8 >= threshold; }
};

}  // namespace vitrine::ops
