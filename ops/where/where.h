#pragma once
#include "core/tensor.h"

namespace vitrine::ops {

/// Elements of a where the condition holds, of b elsewhere:  y = condition ? a : b
///
/// A NaN on the side that is not chosen leaves no trace, in values and gradients: the gradient goes to the chosen side,
/// the other one gets 0. Gradients of broadcast arguments are summed over the repeated elements. No elements give no
/// elements.
/// @param condition  bool; like a and b it broadcasts to the common shape
/// @param a, b       any dtype, the same for both
/// @return           the broadcast shape, a's dtype; as a (else b) if that has this shape and a permuted dense layout,
///                   else contiguous
/// @throws ShapeError if the shapes do not broadcast, DtypeError if the condition is not bool or dtypes differ,
///         DeviceError if devices differ
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

}  // namespace vitrine::ops
