#include <cmath>

#include "core/kernels/fold_cpu.h"
#include "core/vector_math.h"
#include "ops/reduce/reduce_kernels.h"

namespace vitrine::ops {
namespace {

template <class A>
struct LogSumExpFold {
  A start() const { return 0; }
  A term(A x, A m, int64_t) const { return vm::exp(x - finite_or_zero(m)); }
  static A combine(A a, A b) { return a + b; }
  A finish(A s, A m) const { return finite_or_zero(m) + std::log(s); }
};

/// y = Fold(arguments...) of x, with an optional parameter per output. Output is y's element type, void: accumulate_t.
template <template <class> class Fold, class Output = void, class... Argument>
void fold(const Tensor& x, const Tensor& parameter, Tensor& y, Argument... arguments) {
  const Reduction plan = make_reduction(x, y);
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    using O = std::conditional_t<std::is_void_v<Output>, A, Output>;
    kernels::fold_cpu(Fold<A>{A(arguments)...}, x.data<T>(), parameter ? parameter.data<A>() : nullptr,
                      y.mutable_data<O>(), plan);
  });
}

void sum(const Tensor& x, Tensor& y, double factor) { fold<kernels::SumFold>(x, Tensor(), y, factor); }
void squares(const Tensor& x, const Tensor& centre, Tensor& y, double divisor) {
  fold<SquaresFold>(x, centre, y, divisor);
}
void norm(const Tensor& x, Tensor& y) { fold<NormFold>(x, Tensor(), y); }
void extreme(const Tensor& x, Tensor& y, int sign) { fold<ExtremeFold>(x, Tensor(), y, sign); }
void first(const Tensor& x, const Tensor& value, Tensor& index) { fold<FirstFold, int64_t>(x, value, index); }
void logsumexp(const Tensor& x, const Tensor& max, Tensor& y) { fold<LogSumExpFold>(x, max, y); }

/// dx = f(x, s, dy), where s and dy broadcast. Along a row they are constant (the innermost dim is reduced) or dense.
template <class F>
void backward(const Tensor& x, const Tensor& s, const Tensor& dy, Tensor& dx, F f) {
  const Shape& shape = x.shape();
  const auto plan =
      make_plan<4>(shape, {dx.strides(), x.strides(), broadcast_strides(s, shape), broadcast_strides(dy, shape)});
  int64_t step[4] = {1, 1, 1, 1};
  for (int k = 0; k < 4 && plan.dims; ++k) step[k] = plan.strides[k][plan.dims - 1];
  const auto steps_are = [&](int64_t a, int64_t b, int64_t c, int64_t d) {
    return step[0] == a && step[1] == b && step[2] == c && step[3] == d;
  };
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    const A* ss = s.data<A>();
    T* out = dx.mutable_data<T>();
    for_each_row(plan, [&](const int64_t(&at)[4], int64_t n) {
      T* to = out + at[0];
      const T *from = xs + at[1], *d = dys + at[3];
      const A* stat = ss + at[2];
      if (steps_are(1, 1, 0, 0)) {
        const A s0 = stat[0], d0 = A(d[0]);
        for (int64_t i = 0; i < n; ++i) to[i] = T(f(A(from[i]), s0, d0));
      } else if (steps_are(1, 1, 1, 1)) {
        for (int64_t i = 0; i < n; ++i) to[i] = T(f(A(from[i]), stat[i], A(d[i])));
      } else {
        for (int64_t i = 0; i < n; ++i)
          to[i * step[0]] = T(f(A(from[i * step[1]]), stat[i * step[2]], A(d[i * step[3]])));
      }
    });
  });
}

void var_backward(const Tensor& x, const Tensor& mean, const Tensor& dy, Tensor& dx, double factor) {
  backward(x, mean, dy, dx, [=]<class A>(A v, A m, A d) { return A(factor) * d * (v - m); });
}
void norm_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(x, y, dy, dx, []<class A>(A v, A s, A d) { return s == 0 ? A(0) : d * (v / s); });
}
void logsumexp_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(x, y, dy, dx, []<class A>(A v, A s, A d) { return d * vm::exp(v - (s == -A(INFINITY) ? A(0) : s)); });
}
void extreme_backward(const Tensor& index, const Tensor& dy, Tensor& dx) {
  const Reduction plan = make_reduction(dx, index);
  const auto plan_dy = make_plan<1>(dy.shape(), {dy.strides()});
  dispatch_floating(dx.dtype(), [&]<class T>() {
    const int64_t* ids = index.data<int64_t>();
    const T* from = dy.data<T>();
    T* to = dx.mutable_data<T>();
    parallel_for(plan.kept.numel, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t at[2], point[1], source[1];
        plan.kept.offsets(i, at);
        plan.reduced.offsets(ids[at[0]], point);
        plan_dy.offsets(i, source);
        to[at[1] + point[0]] = from[source[0]];
      }
    });
  });
}

const Bind bind_sum(reduce_sum, DeviceType::cpu, sum);
const Bind bind_squares(reduce_squares, DeviceType::cpu, squares);
const Bind bind_norm(reduce_norm, DeviceType::cpu, norm);
const Bind bind_extreme(reduce_extreme, DeviceType::cpu, extreme);
const Bind bind_first(reduce_first, DeviceType::cpu, first);
const Bind bind_logsumexp(reduce_logsumexp, DeviceType::cpu, logsumexp);
const Bind bind_var_backward(reduce_var_backward, DeviceType::cpu, var_backward);
const Bind bind_norm_backward(reduce_norm_backward, DeviceType::cpu, norm_backward);
const Bind bind_logsumexp_backward(reduce_logsumexp_backward, DeviceType::cpu, logsumexp_backward);
const Bind bind_extreme_backward(reduce_extreme_backward, DeviceType::cpu, extreme_backward);

}  // namespace
}  // namespace vitrine::ops
