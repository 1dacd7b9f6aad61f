#include "core/cuda/launch.h"
#include "core/cuda/reduce.h"
#include "ops/softmax/softmax_kernels.h"

// One block per row. Three passes over a row that stays in cache; block_reduce ends with a barrier, so its scratch can
// be used again.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 128;

template <class A>
struct Statistics {
  A max, sum;
};
/// m = max_i x_i and sum_i exp(x_i - m) of the block's row.
template <class T, class A = accumulate_t<T>>
__device__ Statistics<A> row_statistics(const T* x, int64_t n) {
  A m = -INFINITY, s = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) m = max(m, A(x[i]));
  m = cuda::block_reduce<cuda::Max>(m, A(-INFINITY));
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) s += exp(A(x[i]) - m);
  s = cuda::block_reduce<cuda::Sum>(s, A(0));
  return {m, s};
}

template <class T>
__global__ void softmax_kernel(const T* x, T* y, int64_t n) {
  using A = accumulate_t<T>;
  x += blockIdx.x * n, y += blockIdx.x * n;
  const auto [m, s] = row_statistics(x, n);
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = T(exp(A(x[i]) - m) / s);
}
template <class T>
__global__ void softmax_backward_kernel(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  y += blockIdx.x * n, dy += blockIdx.x * n, dx += blockIdx.x * n;
  A dot = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) dot += A(y[i]) * A(dy[i]);
  dot = cuda::block_reduce<cuda::Sum>(dot, A(0));
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) dx[i] = T(A(y[i]) * (A(dy[i]) - dot));
}
template <class T>
__global__ void log_softmax_kernel(const T* x, T* y, int64_t n) {
  using A = accumulate_t<T>;
  x += blockIdx.x * n, y += blockIdx.x * n;
  const auto [m, s] = row_statistics(x, n);
  const A log_sum = log(s);
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = T(A(x[i]) - m - log_sum);
}
template <class T>
__global__ void log_softmax_backward_kernel(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  y += blockIdx.x * n, dy += blockIdx.x * n, dx += blockIdx.x * n;
  A sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += A(dy[i]);
  sum = cuda::block_reduce<cuda::Sum>(sum, A(0));
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) dx[i] = T(A(dy[i]) - exp(A(y[i])) * sum);
}

int64_t rows_of(const Tensor& x) { return x.size(-1) ? x.numel() / x.size(-1) : 0; }

void forward(const Tensor& x, Tensor& y) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::launch("softmax_forward", softmax_kernel<T>, {.grid = rows_of(x), .block = kBlock}, x.data<T>(),
                 y.mutable_data<T>(), x.size(-1));
  });
}
void backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_floating(y.dtype(), [&]<class T>() {
    cuda::launch("softmax_backward", softmax_backward_kernel<T>, {.grid = rows_of(y), .block = kBlock}, y.data<T>(),
                 dy.data<T>(), dx.mutable_data<T>(), y.size(-1));
  });
}
void log_forward(const Tensor& x, Tensor& y) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::launch("log_softmax_forward", log_softmax_kernel<T>, {.grid = rows_of(x), .block = kBlock}, x.data<T>(),
                 y.mutable_data<T>(), x.size(-1));
  });
}
void log_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_floating(y.dtype(), [&]<class T>() {
    cuda::launch("log_softmax_backward", log_softmax_backward_kernel<T>, {.grid = rows_of(y), .block = kBlock},
                 y.data<T>(), dy.data<T>(), dx.mutable_data<T>(), y.size(-1));
  });
}
const Bind bind_forward(softmax_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(softmax_backward, cuda::kKernelDevice, backward);
const Bind bind_log_forward(log_softmax_forward, cuda::kKernelDevice, log_forward);
const Bind bind_log_backward(log_softmax_backward, cuda::kKernelDevice, log_backward);

}  // namespace
}  // namespace vitrine::ops
