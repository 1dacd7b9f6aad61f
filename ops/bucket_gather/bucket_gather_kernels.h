#pragma once
#include "core/kernel_slot.h"
#include "ops/relpos/relpos.h"

/// Private to this folder. x [.., Lq, K] has any strides, a and y are contiguous; nothing is empty but possibly the
/// sums of bucket_sum.
namespace vitrine::ops {
inline constinit KernelSlot<void(const Tensor& x, const RelposIndex& index, Tensor& y)> bucket_gather_forward{
    "bucket_gather_forward"};
inline constinit KernelSlot<void(const Tensor& a, const RelposIndex& index, Tensor& y)> bucket_sum_forward{
    "bucket_sum_forward"};
}  // namespace vitrine::ops
