#pragma once
#include "core/tensor.h"
#include "ops/unary/unary.h"

/// Functions of two tensors, element by element. Common to all of them:
///
/// - a and b have the same floating dtype and device; their shapes broadcast as in NumPy: aligned at the last dim, and
///   a dim of size 1 (or absent) repeats. The result has the broadcast shape. If a (else b) has that shape and is dense
///   in a permuted layout (channels last), so is the result; otherwise it is contiguous. Arithmetic is in accumulate_t.
/// - The gradient of a broadcast argument is summed over the repeated elements.
/// - A NaN in either argument gives NaN. No elements give no elements.
/// - @throws ShapeError if the shapes do not broadcast, DtypeError or DeviceError if dtypes or devices differ,
///   DtypeError if a is not floating, ValueError if an argument is undefined
///
/// Forms with a number in place of a or b are in ops/unary/unary.h; + - * / are in ops/binary/operators.h.
namespace vitrine::ops {

/// y = a + b
Tensor add(const Tensor& a, const Tensor& b);
/// y = a - b
Tensor sub(const Tensor& a, const Tensor& b);
/// y = a * b
Tensor mul(const Tensor& a, const Tensor& b);
/// y = a / b; x / 0 is an infinity, 0 / 0 NaN.
Tensor div(const Tensor& a, const Tensor& b);
/// y = a^b; 0^0 is 1, and a negative base to a power that is no integer is NaN.
///
/// Gradients: da = dy b a^(b-1), which is 0 where b = 0; db = dy y ln a, which is 0 where a = 0 and b >= 0.
Tensor pow(const Tensor& a, const Tensor& b);
/// y = max(a, b). Where a = b, each gets half of the gradient; where either is NaN, neither gets any.
Tensor maximum(const Tensor& a, const Tensor& b);
/// y = min(a, b). Ties and NaN as in maximum.
Tensor minimum(const Tensor& a, const Tensor& b);

}  // namespace vitrine::ops
