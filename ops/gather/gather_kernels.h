#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; tensors are contiguous. index is i64 [R, m], or [1, m] if all rows share it.
namespace vitrine::ops {

/// y[r, j, :] = x[r, index[r, j], :] for x [R, n, D] and y [R, m, D]; NaN (or 0) where the id is out of range.
inline constinit KernelSlot<void(const Tensor& x, const Tensor& index, Tensor& y)> take_rows{"take_rows"};
/// y[r, index[r, j], :] += src[r, j, :] for y [R, n, D] and src [R, m, D], in ascending j; ids out of range add
/// nothing.
inline constinit KernelSlot<void(const Tensor& index, const Tensor& src, Tensor& y)> add_rows{"add_rows"};

}  // namespace vitrine::ops
