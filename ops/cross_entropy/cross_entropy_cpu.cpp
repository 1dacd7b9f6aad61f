#include <algorithm>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/cross_entropy/cross_entropy_kernels.h"

namespace vitrine::ops {
namespace {

template <class F>
void for_rows(int64_t rows, int64_t n, F f) {
  parallel_for(rows, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

/// f(q) with q(c) = rows.dense_q(r, c), the choice between targets made outside the loop over classes.
template <class T, class F>
void with_dense_q(const TargetRows<T>& rows, int64_t r, F f) {
  using A = accumulate_t<T>;
  const T *w = rows.weight, *soft = rows.soft ? rows.soft + r * rows.n : nullptr;
  const A keep = rows.keep, smooth = rows.smooth;
  if (soft && w) {
    f([=](int64_t c) { return A(w[c]) * (keep * A(soft[c]) + smooth); });
  } else if (soft) {
    f([=](int64_t c) { return keep * A(soft[c]) + smooth; });
  } else if (w) {
    f([=](int64_t c) { return A(w[c]) * smooth; });
  } else {
    f([=](int64_t) { return smooth; });
  }
}

void forward(const Tensor& x, const Tensor& target, const Tensor& weight, const TargetRules& rules, Tensor& losses,
             Tensor& row_weights, Tensor& lse) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const TargetRows<T> rows = target_rows<T>(x, target, weight, rules);
    A *loss = losses.mutable_data<A>(), *row_weight = row_weights.mutable_data<A>(), *log_sum = lse.mutable_data<A>();
    for_rows(losses.numel(), rows.n, [=](int64_t r) {
      loss[r] = row_weight[r] = log_sum[r] = 0;
      if (rows.ignored(r)) return;
      const T* logits = rows.x + r * rows.n;
      const A m = row_max<A>(rows.n, [=](int64_t c) { return A(logits[c]); });
      const A l = m + vm::log(row_sum<A>(rows.n, [=](int64_t c) { return vm::exp(A(logits[c]) - m); }));
      log_sum[r] = l, row_weight[r] = rows.soft ? A(1) : rows.weight_of(rows.id(r));
      if (rows.has_dense_q()) {
        with_dense_q(rows, r, [&](auto q) {
          loss[r] = row_sum<A>(rows.n, [=](int64_t c) { return q(c) * (l - A(logits[c])); });
        });
      }
      if (!rows.soft) loss[r] += rows.id_q(r) * (l - A(logits[rows.id(r)]));
    });
  });
}

void reduce(const Tensor& losses, const Tensor& row_weights, bool mean, Tensor& loss, Tensor& scale) {
  dispatch_sums(losses, [&]<class A>() {
    const A *row = losses.data<A>(), *weight = row_weights.data<A>();
    const int64_t rows = losses.numel();
    const A total = row_sum<A>(rows, [=](int64_t r) { return row[r]; });
    const A divisor = mean ? row_sum<A>(rows, [=](int64_t r) { return weight[r]; }) : A(1);
    *loss.mutable_data<A>() = total / divisor;
    *scale.mutable_data<A>() = 1 / divisor;
  });
}

void backward(const Tensor& dy, const Tensor& scale, const Tensor& x, const Tensor& target, const Tensor& weight,
              const TargetRules& rules, const Tensor& lse, Tensor& dx, Tensor& dtarget) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const TargetRows<T> rows = target_rows<T>(x, target, weight, rules);
    const A *upstream = dy.data<A>(), *factor = scale.defined() ? scale.data<A>() : nullptr, *log_sum = lse.data<A>();
    T *to = dx.mutable_data<T>(), *to_target = dtarget.defined() ? dtarget.mutable_data<T>() : nullptr;
    for_rows(lse.numel(), rows.n, [=](int64_t r) {
      const int64_t n = rows.n;
      const T* logits = rows.x + r * n;
      T* out = to + r * n;
      if (rows.ignored(r)) return std::fill(out, out + n, T(0));
      const A g = factor ? *upstream * *factor : upstream[r], l = log_sum[r];
      A sum_q = rows.soft ? A(0) : rows.id_q(r);
      with_dense_q(rows, r, [&](auto q) {
        sum_q += row_sum<A>(n, q);
        const A sum = sum_q;
        for (int64_t c = 0; c < n; ++c) out[c] = T(g * (vm::exp(A(logits[c]) - l) * sum - q(c)));
      });
      if (!rows.soft) {
        const int64_t t = rows.id(r);
        out[t] = T(g * (vm::exp(A(logits[t]) - l) * sum_q - rows.dense_q(r, t) - rows.id_q(r)));
      }
      if (!to_target) return;
      T* out_target = to_target + r * n;
      const A upstream_keep = g * rows.keep;
      for (int64_t c = 0; c < n; ++c) out_target[c] = T(upstream_keep * rows.weight_of(c) * (l - A(logits[c])));
    });
  });
}

const Bind bind_forward(cross_entropy_forward, DeviceType::cpu, forward);
const Bind bind_reduce(cross_entropy_reduce, DeviceType::cpu, reduce);
const Bind bind_backward(cross_entropy_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
