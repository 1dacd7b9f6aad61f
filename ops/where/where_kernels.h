#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; any strides, inputs broadcast to the shape of the last argument. The formulas are shared by
/// CPU and CUDA loops.
namespace vitrine::ops {

/// y = condition ? a : b, any dtype
inline constinit KernelSlot<void(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y)> where_forward{
    "where"};
/// d = condition == side ? dy : 0, floating
inline constinit KernelSlot<void(const Tensor& condition, const Tensor& dy, bool side, Tensor& d)> where_backward{
    "where_backward"};

struct Choose {
  template <class A>
  VITRINE_HD A operator()(bool condition, A a, A b) const {
    return condition ? a : b;
  }
};
struct Keep {
  bool side;
  template <class A>
  VITRINE_HD A operator()(bool condition, A dy) const {
    return condition == side ? dy : A(0);
  }
};

}  // namespace vitrine::ops
