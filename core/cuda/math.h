#pragma once
#include <cmath>

#include "core/float16.h"

namespace vitrine::cuda {

/// The elementary functions of device code as a type, for formulas that an op shares with its CPU kernel
/// (core/host_math.h).
struct Math {
  template <class A>
  static VITRINE_HD A exp(A x) {
    return ::exp(x);
  }
  template <class A>
  static VITRINE_HD A log(A x) {
    return ::log(x);
  }
  template <class A>
  static VITRINE_HD A log1p(A x) {
    return ::log1p(x);
  }
  template <class A>
  static VITRINE_HD A tanh(A x) {
    return ::tanh(x);
  }
  template <class A>
  static VITRINE_HD A sigmoid(A x) {
    return 1 / (1 + ::exp(-x));
  }
  template <class A>
  static VITRINE_HD A erf(A x) {
    return ::erf(x);
  }
  template <class A>
  static VITRINE_HD A abs(A x) {
    return ::fabs(x);
  }
  template <class A>
  static VITRINE_HD A sqrt(A x) {
    return ::sqrt(x);
  }
  template <class A>
  static VITRINE_HD A sin(A x) {
    return ::sin(x);
  }
  template <class A>
  static VITRINE_HD A cos(A x) {
    return ::cos(x);
  }
  template <class A>
  static VITRINE_HD A pow(A x, A y) {
    return ::pow(x, y);
  }
  template <class A>
  static VITRINE_HD A floor(A x) {
    return ::floor(x);
  }
  template <class A>
  static VITRINE_HD A ceil(A x) {
    return ::ceil(x);
  }
  template <class A>
  static VITRINE_HD A round_even(A x) {
    return ::rint(x);
  }
};

}  // namespace vitrine::cuda
