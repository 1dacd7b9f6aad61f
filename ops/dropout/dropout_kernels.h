#pragma once
#include "core/kernel_slot.h"
#include "ops/dropout/drop_mask.h"

/// Private to this folder; tensors are contiguous.
namespace vitrine::ops {

/// Element i of x: y_i = keeps(bits(i)) ? x_i * scale : 0
inline constinit KernelSlot<void(const Tensor& x, Tensor& y, const DropMask& mask)> dropout_kernel{"dropout"};
/// Row n of x [N, *]: y[n] = keeps(bits(n)) ? x[n] * scale : 0
inline constinit KernelSlot<void(const Tensor& x, Tensor& y, const DropMask& mask)> drop_path_kernel{"drop_path"};

}  // namespace vitrine::ops
