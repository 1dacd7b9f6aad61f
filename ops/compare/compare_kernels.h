#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; any strides, inputs broadcast to y's shape. The entries are shared by CPU and CUDA loops;
/// values arrive in accumulate_t.
namespace vitrine::ops::compare {

struct Eq {
  static constexpr const char* name = "eq";
  template <class A>
  VITRINE_HD bool operator()(A a, A b) const {
    return a == b;
  }
};
struct Ne {
  static constexpr const char* name = "ne";
  template <class A>
  VITRINE_HD bool operator()(A a, A b) const {
    return a != b;
  }
};
struct Lt {
  static constexpr const char* name = "lt";
  template <class A>
  VITRINE_HD bool operator()(A a, A b) const {
    return a < b;
  }
};
struct Le {
  static constexpr const char* name = "le";
  template <class A>
  VITRINE_HD bool operator()(A a, A b) const {
    return a <= b;
  }
};
struct Gt {
  static constexpr const char* name = "gt";
  template <class A>
  VITRINE_HD bool operator()(A a, A b) const {
    return a > b;
  }
};
struct Ge {
  static constexpr const char* name = "ge";
  template <class A>
  VITRINE_HD bool operator()(A a, A b) const {
    return a >= b;
  }
};
struct And {
  static constexpr const char* name = "logical_and";
  VITRINE_HD bool operator()(bool a, bool b) const { return a & b; }
};
struct Or {
  static constexpr const char* name = "logical_or";
  VITRINE_HD bool operator()(bool a, bool b) const { return a | b; }
};
struct Not {
  static constexpr const char* name = "logical_not";
  VITRINE_HD bool operator()(bool x) const { return !x; }
};
struct IsNan {
  static constexpr const char* name = "isnan";
  template <class A>
  VITRINE_HD bool operator()(A x) const {
    return x != x;
  }
};
struct IsFinite {
  static constexpr const char* name = "isfinite";
  template <class A>
  VITRINE_HD bool operator()(A x) const {
    return x - x == 0;
  }
};

template <class E>
inline constinit KernelSlot<void(const Tensor& a, const Tensor& b, Tensor& y)> pair_kernel{E::name};
template <class E>
inline constinit KernelSlot<void(const Tensor& x, Tensor& y)> single_kernel{E::name};

}  // namespace vitrine::ops::compare
