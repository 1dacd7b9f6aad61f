#pragma once
#include "core/tensor.h"

namespace vitrine::ops {

/// The activation of a transformer's MLP in one pass:  y = gelu(x + bias), gelu(v) = v / 2 * (1 + erf(v / sqrt 2))
///
/// Backward recomputes x + bias from the two; the bias gradient is summed in accumulate_t in an order fixed by the
/// shape. NaN gives NaN, and so does x + bias = -inf; no elements give no elements.
/// @param x     [*, N], floating, any strides
/// @param bias  [N], dtype and device of x
/// @return      shape and dtype of x, contiguous
/// @throws ShapeError if x has no dims or bias is not [N], DtypeError, DeviceError
Tensor bias_gelu(const Tensor& x, const Tensor& bias);

}  // namespace vitrine::ops
