#include <algorithm>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "ops/multi_tensor/multi_tensor_kernels.h"

namespace vitrine::ops {
namespace {

/// f(row, chunk) on every row of a table, in parallel.
template <int kLists, class F>
void for_chunks(const Tensor& table, F f) {
  const int64_t* cells = table.data<int64_t>();
  parallel_for(table.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) f(ChunkRow<kLists>(cells, c), c);
  });
}
template <class F>
void dispatch_sums(const Tensor& sums, F f) {
  if (sums.dtype() == Dtype::f64) {
    f.template operator()<double>();
  } else {
    f.template operator()<float>();
  }
}
template <class A>
A factor_of(const Tensor& factor) {
  return factor.defined() ? *factor.data<A>() : A(1);
}

/// A condition that is not given holds.
bool holds(const Tensor& condition) { return !condition.defined() || *condition.data<bool>(); }

void scalars_of_adamw(const Tensor& schedule, Tensor& step, const Tensor& condition, double beta1, double beta2,
                      Tensor& scalars) {
  const double t = *step.data<double>() + 1;
  if (holds(condition)) *step.mutable_data<double>() = t;
  const double* from = schedule.data<double>();
  double* to = scalars.mutable_data<double>();
  for (int64_t g = 0; g < schedule.size(0); ++g) {
    const double lr = from[2 * g], decay = from[2 * g + 1];
    to[3 * g] = 1 - lr * decay;
    to[3 * g + 1] = lr / (1 - std::pow(beta1, t));
    to[3 * g + 2] = std::sqrt(1 - std::pow(beta2, t));
  }
}

template <class T, class A>
void adamw_chunk(const AdamWElement<A> f, int64_t n, T* __restrict p, const T* __restrict g, A* __restrict m,
                 A* __restrict v, bf16* __restrict copy) {
  if (copy) {
    for (int64_t i = 0; i < n; ++i) {
      const A next = f(A(p[i]), A(g[i]), m[i], v[i]);
      p[i] = T(next), copy[i] = bf16(float(next));
    }
  } else {
    for (int64_t i = 0; i < n; ++i) p[i] = T(f(A(p[i]), A(g[i]), m[i], v[i]));
  }
}
void adamw(const Tensor& table, const StepArguments& arguments, double beta1, double beta2, double eps) {
  if (!holds(arguments.condition)) return;
  dispatch_floating(arguments.dtype, [&]<class T>() {
    using A = accumulate_t<T>;
    const A factor = factor_of<A>(arguments.factor);
    const double* scalars = arguments.scalars.data<double>();
    for_chunks<5>(table, [=](ChunkRow<5> row, int64_t) {
      adamw_chunk<T, A>(AdamWElement<A>(scalars + 3 * row.group(), beta1, beta2, eps, factor), row.count(),
                        row.list<T>(0), row.list<T>(1), row.list<A>(2), row.list<A>(3), row.list<bf16>(4));
    });
  });
}

template <class T, class A>
void sgd_chunk(const SgdElement<A> f, int64_t n, T* __restrict p, const T* __restrict g, A* __restrict b) {
  if (b) {
    for (int64_t i = 0; i < n; ++i) p[i] = T(f(A(p[i]), A(g[i]), b[i]));
  } else {
    for (int64_t i = 0; i < n; ++i) p[i] = T(f(A(p[i]), A(g[i])));
  }
}
void sgd(const Tensor& table, const StepArguments& arguments, double momentum, bool nesterov) {
  if (!holds(arguments.condition)) return;
  dispatch_floating(arguments.dtype, [&]<class T>() {
    using A = accumulate_t<T>;
    const A factor = factor_of<A>(arguments.factor);
    const double* scalars = arguments.scalars.data<double>();
    for_chunks<3>(table, [=](ChunkRow<3> row, int64_t) {
      sgd_chunk<T, A>(SgdElement<A>(scalars + 2 * row.group(), momentum, nesterov, factor), row.count(), row.list<T>(0),
                      row.list<T>(1), row.list<A>(2));
    });
  });
}

void sums_of_squares(const Tensor& table, Dtype dtype, Tensor& partials) {
  dispatch_floating(dtype, [&]<class T>() {
    using A = accumulate_t<T>;
    A* to = partials.mutable_data<A>();
    for_chunks<1>(table, [=](ChunkRow<1> row, int64_t chunk) {
      const T* x = row.list<const T>(0);
      to[chunk] = row_sum<A>(row.count(), [=](int64_t i) { return A(x[i]) * A(x[i]); });
    });
  });
}
void norm(const Tensor& partials, Tensor& result) {
  dispatch_sums(partials, [&]<class A>() {
    const A* from = partials.data<A>();
    *result.mutable_data<A>() = std::sqrt(row_sum<A>(partials.numel(), [=](int64_t i) { return from[i]; }));
  });
}
void factor_of_norm(const Tensor& norm, double limit, Tensor& factor) {
  dispatch_sums(norm, [&]<class A>() {
    const A f = A(limit) / (*norm.data<A>() + A(1e-6));
    *factor.mutable_data<A>() = f > 1 ? A(1) : f;  // in this order, so that a NaN stays
  });
}
void finite(const Tensor& a, const Tensor& b, Tensor& result) {
  dispatch_sums(a,
                [&]<class A>() { *result.mutable_data<bool>() = is_finite(*a.data<A>()) && is_finite(*b.data<A>()); });
}
void scale(const Tensor& table, Dtype dtype, const Tensor& factor) {
  dispatch_floating(dtype, [&]<class T>() {
    using A = accumulate_t<T>;
    const A f = factor_of<A>(factor);
    for_chunks<1>(table, [=](ChunkRow<1> row, int64_t) {
      T* x = row.list<T>(0);
      for (int64_t i = 0; i < row.count(); ++i) x[i] = T(A(x[i]) * f);
    });
  });
}

template <class T, class A = accumulate_t<T>>
void ema_chunk(int64_t n, A decay, A gain, T* __restrict average, const T* __restrict value) {
  for (int64_t i = 0; i < n; ++i) average[i] = T(decay * A(average[i]) + gain * A(value[i]));
}
void ema(const Tensor& table, Dtype dtype, double decay, const Tensor& condition) {
  if (!holds(condition)) return;
  dispatch_floating(dtype, [&]<class T>() {
    using A = accumulate_t<T>;
    for_chunks<2>(table, [=](ChunkRow<2> row, int64_t) {
      ema_chunk<T>(row.count(), A(decay), A(1 - decay), row.list<T>(0), row.list<const T>(1));
    });
  });
}

const Bind bind_scalars(adamw_scalars, DeviceType::cpu, scalars_of_adamw);
const Bind bind_adamw(adamw_step, DeviceType::cpu, adamw);
const Bind bind_sgd(sgd_step, DeviceType::cpu, sgd);
const Bind bind_squares(square_sums, DeviceType::cpu, sums_of_squares);
const Bind bind_norm(norm_of_sums, DeviceType::cpu, norm);
const Bind bind_factor(norm_factor, DeviceType::cpu, factor_of_norm);
const Bind bind_finite(finite_pair, DeviceType::cpu, finite);
const Bind bind_scale(scale_list, DeviceType::cpu, scale);
const Bind bind_ema(ema_step, DeviceType::cpu, ema);

}  // namespace
}  // namespace vitrine::ops
