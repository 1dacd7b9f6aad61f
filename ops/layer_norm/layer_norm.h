#pragma once
#include <array>

#include "core/tensor.h"

namespace vitrine::ops {

/// Layer normalisation over the last dim (Ba, Kiros, Hinton 2016, "Layer normalization"):
///
///     y_c = (x_c - mean) / sqrt(var + eps) * weight_c + bias_c,   mean = sum_c x_c / C,   var = sum_c (x_c - mean)^2 /
///     C
///
/// The variance is biased and computed in a second pass over the row, so a large mean does not cancel it. Statistics
/// and all sums are in accumulate_t. A row that holds a NaN or an infinity is NaN throughout; no rows and C = 0 give an
/// empty result (and zero or empty gradients of weight and bias).
/// @param x       [*, C], floating, any strides, at least one dim
/// @param weight  [C] of x's dtype, or undefined: 1
/// @param bias    [C] of x's dtype, or undefined: 0
/// @param eps     added to the variance; positive
/// @return        shape and dtype of x
/// @throws ShapeError, DtypeError, DeviceError, and ValueError if eps is not positive
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);

/// Residual addition and layer normalisation in one pass:  {s, layer_norm(s, weight, bias, eps)},  s = x + residual
///
/// `s` is rounded to x's dtype before it is normalised: the result is that of the two ops one after the other.
/// @param x         [*, C], floating, any strides, at least one dim
/// @param residual  shape and dtype of x
/// @return          {s, normalised}, both of x's shape and dtype
/// @throws          as layer_norm
std::array<Tensor, 2> add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                                     const Tensor& bias = {}, double eps = 1e-5);

}  // namespace vitrine::ops
