#pragma once
#include "core/float16.h"

/// The elementwise formulas of the family, shared by CPU and CUDA loops. `M` gives pow and log of the device; values
/// arrive in accumulate_t.
namespace vitrine::ops::binary {

struct Add {
  static constexpr const char* name = "add";
  template <class M, class A>
  VITRINE_HD A f(A a, A b) const {
    return a + b;
  }
};
struct Sub {
  static constexpr const char* name = "sub";
  template <class M, class A>
  VITRINE_HD A f(A a, A b) const {
    return a - b;
  }
};
struct Mul {
  static constexpr const char* name = "mul";
  template <class M, class A>
  VITRINE_HD A f(A a, A b) const {
    return a * b;
  }
};
struct Div {
  static constexpr const char* name = "div";
  template <class M, class A>
  VITRINE_HD A f(A a, A b) const {
    return a / b;
  }
};
struct Pow {
  static constexpr const char* name = "pow";
  template <class M, class A>
  VITRINE_HD A f(A a, A b) const {
    return M::pow(a, b);
  }
};
struct Maximum {
  static constexpr const char* name = "maximum";
  template <class M, class A>
  VITRINE_HD A f(A a, A b) const {
    return a > b || a != a ? a : b;
  }
};
struct Minimum {
  static constexpr const char* name = "minimum";
  template <class M, class A>
  VITRINE_HD A f(A a, A b) const {
    return a < b || a != a ? a : b;
  }
};

// Gradients that are not one of the functions above; f(dy, a, b).

struct DivB {
  static constexpr const char* name = "div_backward_b";
  template <class M, class A>
  VITRINE_HD A f(A dy, A a, A b) const {
    return -dy * a / (b * b);
  }
};
struct PowA {
  static constexpr const char* name = "pow_backward_a";
  template <class M, class A>
  VITRINE_HD A f(A dy, A a, A b) const {
    return b == 0 ? A(0) : dy * b * M::pow(a, b - 1);
  }
};
struct PowB {
  static constexpr const char* name = "pow_backward_b";
  template <class M, class A>
  VITRINE_HD A f(A dy, A a, A b) const {
    return a == 0 && b >= 0 ? A(0) : dy * M::pow(a, b) * M::log(a);
  }
};
/// Of a; with a and b exchanged, of b.
struct MaximumA {
  static constexpr const char* name = "maximum_backward";
  template <class M, class A>
  VITRINE_HD A f(A dy, A a, A b) const {
    return a > b ? dy : a == b ? dy / 2 : A(0);
  }
};
struct MinimumA {
  static constexpr const char* name = "minimum_backward";
  template <class M, class A>
  VITRINE_HD A f(A dy, A a, A b) const {
    return a < b ? dy : a == b ? dy / 2 : A(0);
  }
};

template <class... E>
struct List {};
using Functions = List<Add, Sub, Mul, Div, Pow, Maximum, Minimum>;
using GradientFunctions = List<DivB, PowA, PowB, MaximumA, MinimumA>;

}  // namespace vitrine::ops::binary
