#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; tensors are contiguous [..., n] and softmax runs along n.
namespace vitrine::ops {
inline constinit KernelSlot<void(const Tensor& x, Tensor& y)> softmax_forward{"softmax_forward"};
inline constinit KernelSlot<void(const Tensor& y, const Tensor& dy, Tensor& dx)> softmax_backward{"softmax_backward"};
inline constinit KernelSlot<void(const Tensor& x, Tensor& y)> log_softmax_forward{"log_softmax_forward"};
inline constinit KernelSlot<void(const Tensor& y, const Tensor& dy, Tensor& dx)> log_softmax_backward{
    "log_softmax_backward"};
}  // namespace vitrine::ops
