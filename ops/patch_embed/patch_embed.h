#pragma once
#include "core/tensor.h"

namespace vitrine::ops {

/// Cuts images into square patches, row by row of patches, each flattened as the weight of a convolution is:
///
///     y[b, h W/P + w, (c P + i) P + j] = x[b, c, h P + i, w P + j]
///
/// A permutation: the gradient is its inverse.
/// @param x     [B, C, H, W], floating, any strides
/// @param size  P, dividing H and W
/// @return      [B, (H/P) (W/P), C P P], dtype of x
/// @throws ShapeError if x has not 4 dims or P does not divide H and W; DtypeError if x is not floating
Tensor patchify(const Tensor& x, int64_t size);

/// Patch embedding (Dosovitskiy et al. 2021, "An image is worth 16x16 words", eq. 1): a convolution whose stride is its
/// kernel size, as patchify and linear.
/// @param x       [B, C, H, W], floating, any strides
/// @param weight  [D, C, P, P] of x's dtype
/// @param bias    [D] of x's dtype, or undefined: 0
/// @return        [B, (H/P) (W/P), D]
/// @throws ShapeError, DtypeError, DeviceError
Tensor patch_embed(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace vitrine::ops
