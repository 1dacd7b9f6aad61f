#include "core/cuda/launch.h"
#include "core/cuda/reduce.h"
#include "core/cuda/vector.h"
#include "ops/multi_tensor/multi_tensor_kernels.h"

// One block per row of the table, that is per 16384 elements; its threads take packs of four neighbouring elements
// where all lists are aligned to 16 bytes, and single elements behind the last full pack. No barriers but those of the
// norms.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 256, kNormBlock = 512;

template <int kLists>
__device__ bool aligned(const ChunkRow<kLists>& row) {
  int64_t bits = 0;
  for (int i = 0; i < kLists; ++i) bits |= row.row[2 + i];
  return bits % 16 == 0;
}
/// f<4>(i) for the packs of a chunk, f<1>(i) for what is left.
template <class F>
__device__ void for_packs(int64_t n, bool in_packs, F f) {
  const int64_t packed = in_packs ? n / 4 * 4 : 0;
  for (int64_t i = threadIdx.x * 4; i < packed; i += kBlock * 4) f.template operator()<4>(i);
  for (int64_t i = packed + threadIdx.x; i < n; i += kBlock) f.template operator()<1>(i);
}
/// A pack of N elements; single elements go without the size rules of 16-byte accesses.
template <int N, class T>
__device__ cuda::Pack<T, N> get(const T* p) {
  if constexpr (N == 1) {
    return {{*p}};
  } else {
    return cuda::load<N>(p);
  }
}
template <int N, class T>
__device__ void put(T* p, const cuda::Pack<T, N>& pack) {
  if constexpr (N == 1) {
    *p = pack[0];
  } else {
    cuda::store(p, pack);
  }
}

/// A condition that is not given holds.
__device__ bool holds(const bool* condition) { return !condition || *condition; }

// Thread g takes group g. `step` is read by all before thread 0 raises it: the barrier separates the two.
__global__ void adamw_scalars_kernel(const double* schedule, double* step, const bool* condition, double beta1,
                                     double beta2, double* scalars, int64_t groups) {
  const double t = *step + 1;
  __syncthreads();
  if (threadIdx.x == 0 && holds(condition)) *step = t;
  for (int64_t g = threadIdx.x; g < groups; g += blockDim.x) {
    const double lr = schedule[2 * g], decay = schedule[2 * g + 1];
    scalars[3 * g] = 1 - lr * decay;
    scalars[3 * g + 1] = lr / (1 - pow(beta1, t));
    scalars[3 * g + 2] = sqrt(1 - pow(beta2, t));
  }
}

template <class T, class A = accumulate_t<T>>
struct AdamWPacks {
  AdamWElement<A> element;
  T* p;
  const T* g;
  A *m, *v;
  bf16* copy;
  template <int N>
  __device__ void operator()(int64_t i) const {
    auto ps = get<N>(p + i);
    const auto gs = get<N>(g + i);
    auto ms = get<N>(m + i), vs = get<N>(v + i);
    cuda::Pack<bf16, N> copies;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const A next = element(A(ps[j]), A(gs[j]), ms[j], vs[j]);
      ps[j] = T(next), copies[j] = bf16(float(next));
    }
    put(p + i, ps), put(m + i, ms), put(v + i, vs);
    if (copy) put(copy + i, copies);
  }
};
template <class T, class A = accumulate_t<T>>
__global__ void __launch_bounds__(kBlock) adamw_kernel(const int64_t* table, const double* scalars, const A* factor,
                                                       const bool* condition, double beta1, double beta2, double eps) {
  if (!holds(condition)) return;
  const ChunkRow<5> row(table, blockIdx.x);
  const AdamWElement<A> element(scalars + 3 * row.group(), beta1, beta2, eps, factor ? *factor : A(1));
  for_packs(row.count(), aligned(row),
            AdamWPacks<T>{element, row.list<T>(0), row.list<T>(1), row.list<A>(2), row.list<A>(3), row.list<bf16>(4)});
}

template <class T, class A = accumulate_t<T>>
struct SgdPacks {
  SgdElement<A> element;
  T* p;
  const T* g;
  A* b;
  template <int N>
  __device__ void operator()(int64_t i) const {
    auto ps = get<N>(p + i);
    const auto gs = get<N>(g + i);
    if (b) {
      auto bs = get<N>(b + i);
#pragma unroll
      for (int j = 0; j < N; ++j) ps[j] = T(element(A(ps[j]), A(gs[j]), bs[j]));
      put(b + i, bs);
    } else {
#pragma unroll
      for (int j = 0; j < N; ++j) ps[j] = T(element(A(ps[j]), A(gs[j])));
    }
    put(p + i, ps);
  }
};
template <class T, class A = accumulate_t<T>>
__global__ void __launch_bounds__(kBlock) sgd_kernel(const int64_t* table, const double* scalars, const A* factor,
                                                     const bool* condition, double momentum, bool nesterov) {
  if (!holds(condition)) return;
  const ChunkRow<3> row(table, blockIdx.x);
  const SgdElement<A> element(scalars + 2 * row.group(), momentum, nesterov, factor ? *factor : A(1));
  for_packs(row.count(), aligned(row), SgdPacks<T>{element, row.list<T>(0), row.list<T>(1), row.list<A>(2)});
}

template <class T, class A = accumulate_t<T>>
struct SquarePacks {
  const T* x;
  A& sum;
  template <int N>
  __device__ void operator()(int64_t i) const {
    const auto xs = get<N>(x + i);
#pragma unroll
    for (int j = 0; j < N; ++j) sum += A(xs[j]) * A(xs[j]);
  }
};
template <class T, class A = accumulate_t<T>>
__global__ void __launch_bounds__(kBlock) square_sums_kernel(const int64_t* table, A* partials) {
  const ChunkRow<1> row(table, blockIdx.x);
  A sum = 0;
  for_packs(row.count(), aligned(row), SquarePacks<T>{row.list<const T>(0), sum});
  sum = cuda::block_reduce<cuda::Sum>(sum, A(0));
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}
// One block; thread t adds the partial sums t, t + 512, ...
template <class A>
__global__ void __launch_bounds__(kNormBlock) norm_kernel(const A* partials, int64_t n, A* norm) {
  A sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kNormBlock) sum += partials[i];
  sum = cuda::block_reduce<cuda::Sum>(sum, A(0));
  if (threadIdx.x == 0) *norm = sqrt(sum);
}
template <class A>
__global__ void factor_kernel(const A* norm, A limit, A* factor) {
  const A f = limit / (*norm + A(1e-6));
  *factor = f > 1 ? A(1) : f;  // in this order, so that a NaN stays
}

template <class A>
__global__ void finite_kernel(const A* a, const A* b, bool* result) {
  *result = is_finite(*a) && is_finite(*b);
}

template <class T, class A = accumulate_t<T>>
struct ScalePacks {
  T* x;
  A factor;
  template <int N>
  __device__ void operator()(int64_t i) const {
    auto xs = get<N>(x + i);
#pragma unroll
    for (int j = 0; j < N; ++j) xs[j] = T(A(xs[j]) * factor);
    put(x + i, xs);
  }
};
template <class T, class A = accumulate_t<T>>
__global__ void __launch_bounds__(kBlock) scale_kernel(const int64_t* table, const A* factor) {
  const ChunkRow<1> row(table, blockIdx.x);
  for_packs(row.count(), aligned(row), ScalePacks<T>{row.list<T>(0), *factor});
}

template <class T, class A = accumulate_t<T>>
struct EmaPacks {
  T* average;
  const T* value;
  A decay, gain;
  template <int N>
  __device__ void operator()(int64_t i) const {
    auto averages = get<N>(average + i);
    const auto values = get<N>(value + i);
#pragma unroll
    for (int j = 0; j < N; ++j) averages[j] = T(decay * A(averages[j]) + gain * A(values[j]));
    put(average + i, averages);
  }
};
template <class T, class A = accumulate_t<T>>
__global__ void __launch_bounds__(kBlock) ema_kernel(const int64_t* table, A decay, A gain, const bool* condition) {
  if (!holds(condition)) return;
  const ChunkRow<2> row(table, blockIdx.x);
  for_packs(row.count(), aligned(row), EmaPacks<T>{row.list<T>(0), row.list<const T>(1), decay, gain});
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
const A* factor_of(const Tensor& factor) {
  return factor.defined() ? factor.data<A>() : nullptr;
}
const bool* condition_of(const Tensor& condition) { return condition.defined() ? condition.data<bool>() : nullptr; }

void scalars_of_adamw(const Tensor& schedule, Tensor& step, const Tensor& condition, double beta1, double beta2,
                      Tensor& scalars) {
  cuda::launch("adamw_scalars", adamw_scalars_kernel, {.grid = 1, .block = 32}, schedule.data<double>(),
               step.mutable_data<double>(), condition_of(condition), beta1, beta2, scalars.mutable_data<double>(),
               schedule.size(0));
}
void adamw(const Tensor& table, const StepArguments& arguments, double beta1, double beta2, double eps) {
  dispatch_floating(arguments.dtype, [&]<class T>() {
    cuda::launch("adamw_step", adamw_kernel<T>, {.grid = table.size(0), .block = kBlock}, table.data<int64_t>(),
                 arguments.scalars.data<double>(), factor_of<accumulate_t<T>>(arguments.factor),
                 condition_of(arguments.condition), beta1, beta2, eps);
  });
}
void sgd(const Tensor& table, const StepArguments& arguments, double momentum, bool nesterov) {
  dispatch_floating(arguments.dtype, [&]<class T>() {
    cuda::launch("sgd_step", sgd_kernel<T>, {.grid = table.size(0), .block = kBlock}, table.data<int64_t>(),
                 arguments.scalars.data<double>(), factor_of<accumulate_t<T>>(arguments.factor),
                 condition_of(arguments.condition), momentum, nesterov);
  });
}
void sums_of_squares(const Tensor& table, Dtype dtype, Tensor& partials) {
  dispatch_floating(dtype, [&]<class T>() {
    cuda::launch("square_sums", square_sums_kernel<T>, {.grid = table.size(0), .block = kBlock}, table.data<int64_t>(),
                 partials.mutable_data<accumulate_t<T>>());
  });
}
void norm(const Tensor& partials, Tensor& result) {
  dispatch_sums(partials, [&]<class A>() {
    cuda::launch("norm_of_sums", norm_kernel<A>, {.grid = 1, .block = kNormBlock}, partials.data<A>(), partials.numel(),
                 result.mutable_data<A>());
  });
}
void factor_of_norm(const Tensor& norm, double limit, Tensor& factor) {
  dispatch_sums(norm, [&]<class A>() {
    cuda::launch("norm_factor", factor_kernel<A>, {.grid = 1, .block = 1}, norm.data<A>(), A(limit),
                 factor.mutable_data<A>());
  });
}
void finite(const Tensor& a, const Tensor& b, Tensor& result) {
  dispatch_sums(a, [&]<class A>() {
    cuda::launch("finite_pair", finite_kernel<A>, {.grid = 1, .block = 1}, a.data<A>(), b.data<A>(),
                 result.mutable_data<bool>());
  });
}
void scale(const Tensor& table, Dtype dtype, const Tensor& factor) {
  dispatch_floating(dtype, [&]<class T>() {
    cuda::launch("scale_list", scale_kernel<T>, {.grid = table.size(0), .block = kBlock}, table.data<int64_t>(),
                 factor.data<accumulate_t<T>>());
  });
}
void ema(const Tensor& table, Dtype dtype, double decay, const Tensor& condition) {
  dispatch_floating(dtype, [&]<class T>() {
    using A = accumulate_t<T>;
    cuda::launch("ema_step", ema_kernel<T>, {.grid = table.size(0), .block = kBlock}, table.data<int64_t>(), A(decay),
                 A(1 - decay), condition_of(condition));
  });
}

const Bind bind_scalars(adamw_scalars, cuda::kKernelDevice, scalars_of_adamw);
const Bind bind_adamw(adamw_step, cuda::kKernelDevice, adamw);
const Bind bind_sgd(sgd_step, cuda::kKernelDevice, sgd);
const Bind bind_squares(square_sums, cuda::kKernelDevice, sums_of_squares);
const Bind bind_norm(norm_of_sums, cuda::kKernelDevice, norm);
const Bind bind_factor(norm_factor, cuda::kKernelDevice, factor_of_norm);
const Bind bind_finite(finite_pair, cuda::kKernelDevice, finite);
const Bind bind_scale(scale_list, cuda::kKernelDevice, scale);
const Bind bind_ema(ema_step, cuda::kKernelDevice, ema);

}  // namespace
}  // namespace vitrine::ops
