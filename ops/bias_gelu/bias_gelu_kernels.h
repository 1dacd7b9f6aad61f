#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; tensors are contiguous, x [..., N] and bias [N].
namespace vitrine::ops {

inline constinit KernelSlot<void(const Tensor& x, const Tensor& bias, Tensor& y)> bias_gelu_forward{
    "bias_gelu_forward"};
/// dx = dy gelu'(x + bias), and row g of `partial` [G, N], in accumulate_t, the sum of dx over the g-th group of
/// ceil(rows / G) rows.
inline constinit KernelSlot<void(const Tensor& x, const Tensor& bias, const Tensor& dy, Tensor& dx, Tensor& partial)>
    bias_gelu_backward{"bias_gelu_backward"};

}  // namespace vitrine::ops
