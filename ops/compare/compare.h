#pragma once
#include "core/tensor.h"

/// Questions about elements: the answers are boolean tensors and have no gradient. Shapes broadcast, and results take a
/// dense input's layout, as in ops/binary/binary.h. No elements give no elements.
///
/// @throws ShapeError if shapes do not broadcast, DtypeError or DeviceError if dtypes or devices differ or the dtype is
///         not one that is named, ValueError if an argument is undefined
namespace vitrine::ops {

/// a == b, for any dtype, like the next five. A NaN differs from everything, itself included, and is neither less nor
/// greater.
Tensor eq(const Tensor& a, const Tensor& b);
Tensor ne(const Tensor& a, const Tensor& b);  ///< a != b
Tensor lt(const Tensor& a, const Tensor& b);  ///< a < b
Tensor le(const Tensor& a, const Tensor& b);  ///< a <= b
Tensor gt(const Tensor& a, const Tensor& b);  ///< a > b
Tensor ge(const Tensor& a, const Tensor& b);  ///< a >= b

/// a and b, for boolean tensors.
Tensor logical_and(const Tensor& a, const Tensor& b);
/// a or b, for boolean tensors.
Tensor logical_or(const Tensor& a, const Tensor& b);
/// not x, for a boolean tensor.
Tensor logical_not(const Tensor& x);

/// Whether x is NaN, for floating tensors.
Tensor isnan(const Tensor& x);
/// Whether x is neither NaN nor infinite, for floating tensors.
Tensor isfinite(const Tensor& x);

}  // namespace vitrine::ops
