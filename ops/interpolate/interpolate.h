#pragma once
#include <string>

#include "core/tensor.h"

namespace vitrine::ops {

enum class Interpolation { bilinear, bicubic };
/// "bilinear", "bicubic".
std::string to_string(Interpolation mode);
/// Reads the names above. @throws ValueError naming them
Interpolation parse_interpolation(const std::string& text);

/// Resizes images, one axis after the other; pixel centres lie at half-integers (align_corners = false), as in PyTorch.
/// With s = in / out, output o of an axis is a weighted sum of inputs around c = s (o + 1/2):
///
///     bilinear:  weight max(0, 1 - |d|) at distance d = i + 1/2 - c; positions beyond the outermost centres move to
///     them bicubic:   weights k(d) of the four nearest inputs, indices clamped to the image, where
///                k(d) = (a+2)|d|^3 - (a+3)|d|^2 + 1 for |d| <= 1,  a|d|^3 - 5a|d|^2 + 8a|d| - 4a for 1 < |d| < 2,
///                a = -0.75 (Keys 1981, "Cubic convolution interpolation for digital image processing")
///     antialias: weights of d / max(1, s) for all inputs within the so widened kernel and the image, scaled to sum 1;
///                a = -0.5, as Pillow
///
/// Between the axes values stay in accumulate_t. The weights are made on the host at each call. Each gradient element
/// sums the outputs that used it in ascending order.
/// @param x  [B, C, H, W], floating, any strides; H, W >= 1
/// @return   [B, C, height, width], dtype of x
/// @throws ShapeError if x has not 4 dims or a size is below 1, DtypeError if x is not floating
Tensor interpolate(const Tensor& x, int64_t height, int64_t width, Interpolation mode = Interpolation::bilinear,
                   bool antialias = false);

/// As interpolate, to floor(H scale_h) x floor(W scale_w) pixels with s = 1 / scale, whatever the rounding of the
/// sizes: PyTorch's scale_factor.
/// @throws as interpolate, and ValueError if a scale is not positive
Tensor interpolate_scale(const Tensor& x, double scale_h, double scale_w, Interpolation mode = Interpolation::bilinear,
                         bool antialias = false);

}  // namespace vitrine::ops
