#pragma once
#include <algorithm>

#include "core/kernel_slot.h"

/// Private to this folder. Images are contiguous [B, H, W, C]; taps [k * k, C] are the kernel's weights, tap i k + j
/// meeting the pixel (i - r, j - r) away.
namespace vitrine::ops {

/// y = the convolution, plus bias [C] if it is defined. Flipped: tap t takes the place of k * k - 1 - t, which makes dx
/// out of dy.
inline constinit KernelSlot<void(const Tensor& x, const Tensor& taps, const Tensor& bias, bool flipped, Tensor& y)>
    depthwise_conv2d_apply{"depthwise_conv2d_apply"};
/// The sums over each image that the gradients of taps and bias are made of, [B, k * k + 1, C] in accumulate_t:
/// parts[b, t] = sum over pixels p of x[p + tap t] dy[p]; the last one is the sum of dy.
inline constinit KernelSlot<void(const Tensor& x, const Tensor& dy, Tensor& parts)> depthwise_conv2d_parts{
    "depthwise_conv2d_parts"};

/// The image and the kernel's side.
struct DepthwiseShape {
  int64_t height, width, channels;
  int side;
  DepthwiseShape(const Tensor& x, int64_t taps) : height(x.size(1)), width(x.size(2)), channels(x.size(3)), side(1) {
    while (int64_t(side) * side < taps) side += 2;
  }
  VITRINE_HD int taps() const { return side * side; }
  /// How far the taps of row (or column) `i` of the kernel look away.
  VITRINE_HD int64_t shift(int i) const { return i - side / 2; }
};

/// Those of [0, size) whose neighbour `shift` away lies in [0, size) too.
struct InsideRange {
  int64_t begin, end;
  VITRINE_HD InsideRange(int64_t size, int64_t shift)
      : begin(shift < 0 ? -shift : 0), end(shift > 0 ? size - shift : size) {}
};

}  // namespace vitrine::ops
