#pragma once
#include <cmath>

#include "core/kernel_slot.h"
#include "core/random.h"

/// Private to this folder (ops/attention uses the DropMask too); tensors are contiguous.
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

/// Element i of x: y_i = keeps(bits(i)) ? x_i * scale : 0
inline constinit KernelSlot<void(const Tensor& x, Tensor& y, const DropMask& mask)> dropout_kernel{"dropout"};
/// Row n of x [N, *]: y[n] = keeps(bits(n)) ? x[n] * scale : 0
inline constinit KernelSlot<void(const Tensor& x, Tensor& y, const DropMask& mask)> drop_path_kernel{"drop_path"};

}  // namespace vitrine::ops
