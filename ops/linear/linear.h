#pragma once
#include "ops/matmul/matmul.h"

namespace vitrine::ops {

/// Affine map of the last dim:  y = x weight^T + bias
///
/// One product with the bias in its epilogue (oneDNN, cuBLASLt). Gradients: dx = dy weight, dweight = dy^T x, dbias =
/// sum of dy's rows.
/// @param x       [*, in], floating, any strides
/// @param weight  [out, in], dtype and device of x
/// @param bias    [out] or undefined
/// @param packed  of the weight, for calls that are not recorded (inference): kept between calls with one weight
/// @return        [*, out]
/// @throws ShapeError if the sizes disagree; DtypeError, DeviceError if the arguments differ in dtype or device
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, PackedFactor* packed = nullptr);

}  // namespace vitrine::ops
