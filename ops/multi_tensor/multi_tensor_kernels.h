#pragma once
#include <cmath>

#include "core/kernel_slot.h"

/// Private to this folder. A table is i64 [chunks, 2 + lists]: a row names one piece of at most kChunk elements of the
/// tensors at one index of the lists: number of elements, group, and the address of the piece in each list (0: none).
namespace vitrine::ops {

/// Elements of a chunk; what one thread block or one CPU task works on.
inline constexpr int64_t kChunk = 16384;

/// scalars f64 [groups, 3] = {1 - lr wd, lr / (1 - beta1^t), sqrt(1 - beta2^t)} with t = step + 1; step = t unless the
/// condition is false.
inline constinit KernelSlot<void(const Tensor& schedule, Tensor& step, const Tensor& condition, double beta1,
                                 double beta2, Tensor& scalars)>
    adamw_scalars{"adamw_scalars"};

/// What adamw and sgd have in common besides the table: dtype of the parameters, f64 scalars per group, an optional
/// factor on the gradients, and an optional bool without which nothing is written.
struct StepArguments {
  Dtype dtype;
  const Tensor& scalars;
  const Tensor& factor;
  const Tensor& condition;
};
/// Lists: p, g, m, v, bf16 copy.
inline constinit KernelSlot<void(const Tensor& table, const StepArguments& arguments, double beta1, double beta2,
                                 double eps)>
    adamw_step{"adamw_step"};
/// Lists: p, g, momentum. Scalars [groups, 2]: lr, wd.
inline constinit KernelSlot<void(const Tensor& table, const StepArguments& arguments, double momentum, bool nesterov)>
    sgd_step{"sgd_step"};
/// partials [chunks] = sums of squares of the one list.
inline constinit KernelSlot<void(const Tensor& table, Dtype dtype, Tensor& partials)> square_sums{"square_sums"};
/// norm [] = square root of the sum of partials.
inline constinit KernelSlot<void(const Tensor& partials, Tensor& norm)> norm_of_sums{"norm_of_sums"};
/// factor [] = min(1, limit / (norm + 1e-6)).
inline constinit KernelSlot<void(const Tensor& norm, double limit, Tensor& factor)> norm_factor{"norm_factor"};
/// result [] = both scalars are finite.
inline constinit KernelSlot<void(const Tensor& a, const Tensor& b, Tensor& result)> finite_pair{"finite_pair"};
/// The one list, times factor.
inline constinit KernelSlot<void(const Tensor& table, Dtype dtype, const Tensor& factor)> scale_list{"scale_list"};
/// Lists: average, value.
inline constinit KernelSlot<void(const Tensor& table, Dtype dtype, double decay, const Tensor& condition)> ema_step{
    "ema_step"};

/// x - x is 0 for a number and NaN for an infinity or a NaN.
template <class A>
VITRINE_HD bool is_finite(A x) {
  return x - x == A(0);
}

/// One row of a table.
template <int kLists>
struct ChunkRow {
  const int64_t* row;
  VITRINE_HD ChunkRow(const int64_t* table, int64_t chunk) : row(table + chunk * (2 + kLists)) {}
  VITRINE_HD int64_t count() const { return row[0]; }
  VITRINE_HD int64_t group() const { return row[1]; }
  template <class T>
  VITRINE_HD T* list(int i) const {
    return reinterpret_cast<T*>(row[2 + i]);
  }
};

/// One element of an AdamW step.
template <class A>
struct AdamWElement {
  A keep, step_size, root_correction, gain1, beta2, gain2, eps, factor;
  VITRINE_HD AdamWElement(const double* scalars, double beta1, double beta2_, double eps_, A factor_)
      : keep(A(scalars[0])),
        step_size(A(scalars[1])),
        root_correction(A(scalars[2])),
        gain1(A(1 - beta1)),
        beta2(A(beta2_)),
        gain2(A(1 - beta2_)),
        eps(A(eps_)),
        factor(factor_) {}
  VITRINE_HD A operator()(A p, A g, A& m, A& v) const {
    using std::sqrt;
    g *= factor;
    m += gain1 * (g - m);
    v = beta2 * v + gain2 * g * g;
    return p * keep - step_size * (m / (sqrt(v) / root_correction + eps));
  }
};

/// One element of an SGD step.
template <class A>
struct SgdElement {
  A lr, decay, momentum, factor;
  bool nesterov;
  VITRINE_HD SgdElement(const double* scalars, double momentum_, bool nesterov_, A factor_)
      : lr(A(scalars[0])), decay(A(scalars[1])), momentum(A(momentum_)), factor(factor_), nesterov(nesterov_) {}
  VITRINE_HD A operator()(A p, A g) const { return p - lr * (g * factor + decay * p); }
  VITRINE_HD A operator()(A p, A g, A& b) const {
    g = g * factor + decay * p;
    b = momentum * b + g;
    return p - lr * (nesterov ? g + momentum * b : b);
  }
};

}  // namespace vitrine::ops
