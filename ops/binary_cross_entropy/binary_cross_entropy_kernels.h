#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; tensors have one shape and any strides. losses and dy are in accumulate_t.
namespace vitrine::ops {

inline constinit KernelSlot<void(const Tensor& x, const Tensor& target, Tensor& losses)> binary_cross_entropy_forward{
    "binary_cross_entropy_forward"};
/// dx = dy (sigmoid(x) - target)
inline constinit KernelSlot<void(const Tensor& dy, const Tensor& x, const Tensor& target, Tensor& dx)>
    binary_cross_entropy_backward{"binary_cross_entropy_backward"};
/// dtarget = -dy x
inline constinit KernelSlot<void(const Tensor& dy, const Tensor& x, Tensor& dtarget)> binary_cross_entropy_target{
    "binary_cross_entropy_target"};

/// The formulas, with the elementary functions of a device.
template <class M>
struct LogisticLoss {
  template <class A>
  VITRINE_HD A operator()(A x, A t) const {
    const A size = x > 0 ? x : -x;
    return (x > 0 ? x * (1 - t) : -x * t) + M::log1p(M::exp(-size));
  }
};
template <class M>
struct LogisticSlope {
  template <class A>
  VITRINE_HD A operator()(A dy, A x, A t) const {
    return dy * (M::sigmoid(x) - t);
  }
};
struct LogisticTargetSlope {
  template <class A>
  VITRINE_HD A operator()(A dy, A x) const {
    return -dy * x;
  }
};

}  // namespace vitrine::ops
