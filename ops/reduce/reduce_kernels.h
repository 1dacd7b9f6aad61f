#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/kernel_slot.h"
#include "core/kernels/fold.h"

/// Private to this folder. x has any strides; the outputs have x's dims, reduced ones with size 1, and are contiguous.
/// Statistics are in accumulate_t of x's dtype.
namespace vitrine::ops {

/// y = factor * sum of x
inline constinit KernelSlot<void(const Tensor& x, Tensor& y, double factor)> reduce_sum{"reduce_sum"};
/// y = sum of (x - centre)^2 / divisor
inline constinit KernelSlot<void(const Tensor& x, const Tensor& centre, Tensor& y, double divisor)> reduce_squares{
    "reduce_squares"};
/// y = sqrt(sum of x^2)
inline constinit KernelSlot<void(const Tensor& x, Tensor& y)> reduce_norm{"reduce_norm"};
/// y = sign * max(sign * x): the maximum (sign 1) or minimum (-1)
inline constinit KernelSlot<void(const Tensor& x, Tensor& y, int sign)> reduce_extreme{"reduce_extreme"};
/// index = first position at which x equals `value`, NaN equal to NaN
inline constinit KernelSlot<void(const Tensor& x, const Tensor& value, Tensor& index)> reduce_first{"reduce_first"};
/// y = ln sum of exp(x), with x's maximum given
inline constinit KernelSlot<void(const Tensor& x, const Tensor& max, Tensor& y)> reduce_logsumexp{"reduce_logsumexp"};

/// dx = factor * dy * (x - mean); mean and dy broadcast
inline constinit KernelSlot<void(const Tensor& x, const Tensor& mean, const Tensor& dy, Tensor& dx, double factor)>
    reduce_var_backward{"reduce_var_backward"};
/// dx = dy * x / y, 0 where y is 0; y and dy broadcast
inline constinit KernelSlot<void(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx)> reduce_norm_backward{
    "reduce_norm_backward"};
/// dx = dy * exp(x - y), 0 where y is -inf; y and dy broadcast
inline constinit KernelSlot<void(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx)>
    reduce_logsumexp_backward{"reduce_logsumexp_backward"};
/// dx = dy at position `index`; dx is zero before
inline constinit KernelSlot<void(const Tensor& index, const Tensor& dy, Tensor& dx)> reduce_extreme_backward{
    "reduce_extreme_backward"};

/// A maximum that is not a number, or below every number, is not subtracted: the terms are exact without it.
template <class A>
VITRINE_HD A finite_or_zero(A m) {
  return m - m == 0 ? m : A(0);
}

// The folds (core/kernels/fold.h) of the CPU and the CUDA kernels; the one with exp is in each file.
template <class A>
struct SquaresFold {
  A divisor;
  VITRINE_HD A start() const { return 0; }
  VITRINE_HD A term(A x, A centre, int64_t) const { return (x - centre) * (x - centre); }
  VITRINE_HD static A combine(A a, A b) { return a + b; }
  VITRINE_HD A finish(A s, A) const { return s / divisor; }
};
template <class A>
struct NormFold {
  VITRINE_HD A start() const { return 0; }
  VITRINE_HD A term(A x, A, int64_t) const { return x * x; }
  VITRINE_HD static A combine(A a, A b) { return a + b; }
  VITRINE_HD A finish(A s, A) const { return sqrt(s); }
};
template <class A>
struct ExtremeFold {
  A sign;
  VITRINE_HD A start() const { return -std::numeric_limits<A>::infinity(); }
  VITRINE_HD A term(A x, A, int64_t) const { return sign * x; }
  /// A NaN on either side stays.
  VITRINE_HD static A combine(A a, A b) { return (b > a) | (b != b) ? b : a; }
  VITRINE_HD A finish(A s, A) const { return sign * s; }
};
template <class A>
struct FirstFold {
  VITRINE_HD int64_t start() const { return std::numeric_limits<int64_t>::max(); }
  VITRINE_HD int64_t term(A x, A value, int64_t r) const {
    return (x == value) | ((x != x) & (value != value)) ? r : start();
  }
  VITRINE_HD static int64_t combine(int64_t a, int64_t b) { return b < a ? b : a; }
  VITRINE_HD int64_t finish(int64_t s, A) const { return s; }
};

}  // namespace vitrine::ops
