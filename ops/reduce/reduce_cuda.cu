#include "core/kernels/fold_cuda.h"
#include "ops/reduce/reduce_kernels.h"

// Forward kernels are those of core/kernels/fold_cuda.h. Backward kernels: one thread per element; none waits for
// another.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 256;
int64_t blocks_for(int64_t n) { return (n + kBlock - 1) / kBlock; }

template <class A>
struct LogSumExpFold {
  VITRINE_HD A start() const { return 0; }
  VITRINE_HD A term(A x, A m, int64_t) const { return exp(x - finite_or_zero(m)); }
  VITRINE_HD static A combine(A a, A b) { return a + b; }
  VITRINE_HD A finish(A s, A m) const { return finite_or_zero(m) + log(s); }
};

/// y = Fold(arguments...) of x, with an optional parameter per output. Output is y's element type, void: accumulate_t.
template <template <class> class Fold, class Output = void, class... Argument>
void fold(const char* name, const Tensor& x, const Tensor& parameter, Tensor& y, Argument... arguments) {
  const Reduction plan = make_reduction(x, y);
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    using O = std::conditional_t<std::is_void_v<Output>, A, Output>;
    kernels::fold_cuda(name, Fold<A>{A(arguments)...}, x.data<T>(), parameter ? parameter.data<A>() : nullptr,
                       y.mutable_data<O>(), plan, x.device());
  });
}

void sum(const Tensor& x, Tensor& y, double factor) { fold<kernels::SumFold>("reduce_sum", x, Tensor(), y, factor); }
void squares(const Tensor& x, const Tensor& centre, Tensor& y, double divisor) {
  fold<SquaresFold>("reduce_squares", x, centre, y, divisor);
}
void norm(const Tensor& x, Tensor& y) { fold<NormFold>("reduce_norm", x, Tensor(), y); }
void extreme(const Tensor& x, Tensor& y, int sign) { fold<ExtremeFold>("reduce_extreme", x, Tensor(), y, sign); }
void first(const Tensor& x, const Tensor& value, Tensor& index) {
  fold<FirstFold, int64_t>("reduce_first", x, value, index);
}
void logsumexp(const Tensor& x, const Tensor& max, Tensor& y) { fold<LogSumExpFold>("reduce_logsumexp", x, max, y); }

template <class A>
struct VarGradient {
  A factor;
  __device__ A operator()(A x, A mean, A dy) const { return factor * dy * (x - mean); }
};
template <class A>
struct NormGradient {
  __device__ A operator()(A x, A y, A dy) const { return y == 0 ? A(0) : dy * (x / y); }
};
template <class A>
struct LogSumExpGradient {
  __device__ A operator()(A x, A y, A dy) const { return dy * exp(x - (y == -A(INFINITY) ? A(0) : y)); }
};

template <class T, class F>
__global__ void backward_kernel(F f, const T* x, const accumulate_t<T>* s, const T* dy, T* dx, StridedPlan<4> plan) {
  using A = accumulate_t<T>;
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= plan.numel) return;
  int64_t at[4];
  plan.offsets(i, at);
  dx[at[0]] = T(f(A(x[at[1]]), s[at[2]], A(dy[at[3]])));
}
/// dx = F(arguments...)(x, s, dy), where s and dy broadcast.
template <template <class> class F, class... Argument>
void backward(const char* name, const Tensor& x, const Tensor& s, const Tensor& dy, Tensor& dx, Argument... arguments) {
  const Shape& shape = x.shape();
  const auto plan =
      make_plan<4>(shape, {dx.strides(), x.strides(), broadcast_strides(s, shape), broadcast_strides(dy, shape)});
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    cuda::launch(name, backward_kernel<T, F<A>>, {.grid = blocks_for(plan.numel), .block = kBlock},
                 F<A>{A(arguments)...}, x.data<T>(), s.data<A>(), dy.data<T>(), dx.mutable_data<T>(), plan);
  });
}

void var_backward(const Tensor& x, const Tensor& mean, const Tensor& dy, Tensor& dx, double factor) {
  backward<VarGradient>("reduce_var_backward", x, mean, dy, dx, factor);
}
void norm_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward<NormGradient>("reduce_norm_backward", x, y, dy, dx);
}
void logsumexp_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward<LogSumExpGradient>("reduce_logsumexp_backward", x, y, dy, dx);
}

/// One thread per output: each has its own elements of dx, so no two threads write the same one.
template <class T>
__global__ void extreme_backward_kernel(const int64_t* index, const T* dy, T* dx, Reduction plan,
                                        StridedPlan<1> plan_dy) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= plan.kept.numel) return;
  int64_t at[2], point[1], source[1];
  plan.kept.offsets(i, at);
  plan.reduced.offsets(index[at[0]], point);
  plan_dy.offsets(i, source);
  dx[at[1] + point[0]] = dy[source[0]];
}
void extreme_backward(const Tensor& index, const Tensor& dy, Tensor& dx) {
  const Reduction plan = make_reduction(dx, index);
  const auto plan_dy = make_plan<1>(dy.shape(), {dy.strides()});
  dispatch_floating(dx.dtype(), [&]<class T>() {
    cuda::launch("reduce_extreme_backward", extreme_backward_kernel<T>,
                 {.grid = blocks_for(plan.kept.numel), .block = kBlock}, index.data<int64_t>(), dy.data<T>(),
                 dx.mutable_data<T>(), plan, plan_dy);
  });
}

const Bind bind_sum(reduce_sum, cuda::kKernelDevice, sum);
const Bind bind_squares(reduce_squares, cuda::kKernelDevice, squares);
const Bind bind_norm(reduce_norm, cuda::kKernelDevice, norm);
const Bind bind_extreme(reduce_extreme, cuda::kKernelDevice, extreme);
const Bind bind_first(reduce_first, cuda::kKernelDevice, first);
const Bind bind_logsumexp(reduce_logsumexp, cuda::kKernelDevice, logsumexp);
const Bind bind_var_backward(reduce_var_backward, cuda::kKernelDevice, var_backward);
const Bind bind_norm_backward(reduce_norm_backward, cuda::kKernelDevice, norm_backward);
const Bind bind_logsumexp_backward(reduce_logsumexp_backward, cuda::kKernelDevice, logsumexp_backward);
const Bind bind_extreme_backward(reduce_extreme_backward, cuda::kKernelDevice, extreme_backward);

}  // namespace
}  // namespace vitrine::ops
