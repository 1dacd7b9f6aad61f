#pragma once
#include <cmath>

#include "core/vector_math.h"

namespace vitrine {

/// The elementary functions of CPU kernels as a type, for formulas that an op shares with its device code
/// (core/cuda/math.h): f32 functions that loops vectorize, except sin, cos and pow, which are the C library's.
struct HostMath {
  template <class A>
  static A exp(A x) {
    return vm::exp(x);
  }
  template <class A>
  static A log(A x) {
    return vm::log(x);
  }
  template <class A>
  static A log1p(A x) {
    return vm::log1p(x);
  }
  template <class A>
  static A tanh(A x) {
    return vm::tanh(x);
  }
  template <class A>
  static A sigmoid(A x) {
    return vm::sigmoid(x);
  }
  template <class A>
  static A erf(A x) {
    return vm::erf(x);
  }
  template <class A>
  static A gelu(A x) {
    return vm::gelu(x);
  }
  template <class A>
  static A gelu_slope(A x) {
    return vm::gelu_slope(x);
  }
  template <class A>
  static A abs(A x) {
    return std::fabs(x);
  }
  template <class A>
  static A sqrt(A x) {
    return std::sqrt(x);
  }
  template <class A>
  static A sin(A x) {
    return std::sin(x);
  }
  template <class A>
  static A cos(A x) {
    return std::cos(x);
  }
  template <class A>
  static A pow(A x, A y) {
    return std::pow(x, y);
  }
  template <class A>
  static A floor(A x) {
    return std::floor(x);
  }
  template <class A>
  static A ceil(A x) {
    return std::ceil(x);
  }
  template <class A>
  static A round_even(A x) {
    return std::nearbyint(x);
  }
};

}  // namespace vitrine
