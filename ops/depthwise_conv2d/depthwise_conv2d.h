#pragma once
#include "core/tensor.h"

namespace vitrine::ops {

/// Convolution of each channel with a kernel of its own, stride 1, zeros around the image, so that the result is as
/// large as it. With r = (k - 1) / 2:
///
///     y[b, c, h, w] = bias[c] + sum_{i, j < k} weight[c, 0, i, j] x[b, c, h + i - r, w + j - r]
///
/// The sums are in accumulate_t and in a fixed order, those of the gradients too. Memory order is channels last: an x
/// whose strides are those of [B, H, W, C] is read without a copy, and so lies y.
///
/// @param x       [B, C, H, W], floating, any strides
/// @param weight  [C, 1, k, k], k odd, dtype and device of x
/// @param bias    [C], or undefined
/// @return        [B, C, H, W]
/// @throws ShapeError if the shapes do not fit or k is even; DtypeError, DeviceError
Tensor depthwise_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace vitrine::ops
