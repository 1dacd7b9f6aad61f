#pragma once
#include "core/kernel_slot.h"

/// The kernels that Tensor itself needs. All take any strides.
namespace vitrine::kernels {

/// y = value, converted to y's dtype.
inline constinit KernelSlot<void(Tensor& y, double value)> fill{"fill"};
/// y = x, converted to y's dtype; x has y's shape.
inline constinit KernelSlot<void(const Tensor& x, Tensor& y)> copy{"copy"};
/// y += x; same shape, same floating dtype.
inline constinit KernelSlot<void(const Tensor& x, Tensor& y)> accumulate{"accumulate"};
/// y *= factor; floating.
inline constinit KernelSlot<void(Tensor& y, double factor)> scale{"scale"};
/// y = sum of x over the dims where y has size 1; as many dims in both. Sums run in accumulate_t, in a fixed order.
inline constinit KernelSlot<void(const Tensor& x, Tensor& y)> sum_to{"sum_to"};

}  // namespace vitrine::kernels

namespace vitrine {
/// Gradient of broadcasting: `x` summed over the dims that broadcasting `shape` to x's shape added or stretched. x
/// itself if none.
Tensor sum_to(const Tensor& x, const Shape& shape);
}  // namespace vitrine
