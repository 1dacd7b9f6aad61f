#pragma once
#include <cmath>

#include "core/kernel_slot.h"

/// Private to this folder; tensors are contiguous: x [*, n], target [*] or [*, n], the rest one value per row in
/// accumulate_t unless said otherwise.
namespace vitrine::ops {

/// The numbers that say what a target means.
struct TargetRules {
  double label_smoothing;
  int64_t ignore_index;
};

/// losses, the weight of each row in the mean's denominator, and lse = ln sum_c exp(x_c).
inline constinit KernelSlot<void(const Tensor& x, const Tensor& target, const Tensor& weight, const TargetRules& rules,
                                 Tensor& losses, Tensor& row_weights, Tensor& lse)>
    cross_entropy_forward{"cross_entropy_forward"};
/// loss [] = sum of losses, divided by the sum of row_weights if `mean`; scale [] = what multiplies each row: 1, or 1 /
/// that sum.
inline constinit KernelSlot<void(const Tensor& losses, const Tensor& row_weights, bool mean, Tensor& loss,
                                 Tensor& scale)>
    cross_entropy_reduce{"cross_entropy_reduce"};
/// With g = dy * scale if scale is defined (dy and scale []), else dy of the row:  dx_c = g (softmax(x)_c sum_k q_k -
/// q_c) and, if dtarget is defined, dtarget_c = g (1 - e) w_c (lse - x_c).
inline constinit KernelSlot<void(const Tensor& dy, const Tensor& scale, const Tensor& x, const Tensor& target,
                                 const Tensor& weight, const TargetRules& rules, const Tensor& lse, Tensor& dx,
                                 Tensor& dtarget)>
    cross_entropy_backward{"cross_entropy_backward"};

/// Calls f<A>() with the type of a tensor of sums.
template <class F>
void dispatch_sums(const Tensor& sums, F f) {
  if (sums.dtype() == Dtype::f64) {
    f.template operator()<double>();
  } else {
    f.template operator()<float>();
  }
}

/// The rows of logits with their targets, as kernels on every device read them.
template <class T>
struct TargetRows {
  using A = accumulate_t<T>;
  const T *x = nullptr, *weight = nullptr, *soft = nullptr;
  const int64_t* ids64 = nullptr;
  const int32_t* ids32 = nullptr;
  A keep = 1, smooth = 0;  ///< 1 - e and e / n
  int64_t ignore = -100, n = 0;

  VITRINE_HD int64_t id(int64_t row) const { return ids64 ? ids64[row] : ids32[row]; }
  VITRINE_HD bool ignored(int64_t row) const { return !soft && id(row) == ignore; }
  VITRINE_HD bool in_range(int64_t row) const { return soft || (id(row) >= 0 && id(row) < n); }
  VITRINE_HD A weight_of(int64_t c) const { return weight ? A(weight[c]) : A(1); }
  /// The part of q that every class has: all of it for soft targets, the smoothing for class ids.
  VITRINE_HD A dense_q(int64_t row, int64_t c) const {
    return weight_of(c) * (soft ? keep * A(soft[row * n + c]) + smooth : smooth);
  }
  /// Whether dense_q can be other than 0; if not, logits of -inf do no harm.
  VITRINE_HD bool has_dense_q() const { return soft || smooth > 0; }
  /// What class ids add to q at their own class.
  VITRINE_HD A id_q(int64_t row) const { return keep * weight_of(id(row)); }
};

template <class T>
TargetRows<T> target_rows(const Tensor& x, const Tensor& target, const Tensor& weight, const TargetRules& rules) {
  using A = accumulate_t<T>;
  TargetRows<T> rows{.x = x.data<T>(),
                     .weight = weight.defined() ? weight.data<T>() : nullptr,
                     .keep = A(1 - rules.label_smoothing),
                     .smooth = A(rules.label_smoothing / double(x.size(-1))),
                     .ignore = rules.ignore_index,
                     .n = x.size(-1)};
  if (target.dtype() == Dtype::i64) {
    rows.ids64 = target.data<int64_t>();
  } else if (target.dtype() == Dtype::i32) {
    rows.ids32 = target.data<int32_t>();
  } else {
    rows.soft = target.data<T>();
  }
  return rows;
}

}  // namespace vitrine::ops
