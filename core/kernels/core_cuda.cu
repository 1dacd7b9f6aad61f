#include "core/cuda/launch.h"
#include "core/kernels/fold_cuda.h"
#include "core/kernels/kernels.h"
#include "core/strided.h"

// Elementwise kernels: one thread per element, blocks of kBlock along x; no thread waits for another.
namespace vitrine::kernels {
namespace {
constexpr int kBlock = 256;
int64_t blocks_for(int64_t n) { return (n + kBlock - 1) / kBlock; }

template <class T>
__global__ void fill_kernel(T* y, T value, StridedPlan<1> plan) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= plan.numel) return;
  int64_t at[1];
  plan.offsets(i, at);
  y[at[0]] = value;
}

template <class To, class From>
__global__ void copy_kernel(const From* x, To* y, StridedPlan<2> plan) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= plan.numel) return;
  int64_t at[2];
  plan.offsets(i, at);
  y[at[0]] = convert<To>(x[at[1]]);
}

template <class T>
__global__ void accumulate_kernel(const T* x, T* y, StridedPlan<2> plan) {
  using A = accumulate_t<T>;
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= plan.numel) return;
  int64_t at[2];
  plan.offsets(i, at);
  y[at[0]] = T(A(y[at[0]]) + A(x[at[1]]));
}

template <class T>
__global__ void scale_kernel(T* y, accumulate_t<T> factor, StridedPlan<1> plan) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= plan.numel) return;
  int64_t at[1];
  plan.offsets(i, at);
  y[at[0]] = T(accumulate_t<T>(y[at[0]]) * factor);
}

void fill_cuda(Tensor& y, double value) {
  const auto plan = make_plan<1>(y.shape(), {y.strides()});
  dispatch_all(y.dtype(), [&]<class T>() {
    cuda::launch("fill", fill_kernel<T>, {.grid = blocks_for(plan.numel), .block = kBlock}, y.mutable_data<T>(),
                 convert<T>(value), plan);
  });
}

void copy_cuda(const Tensor& x, Tensor& y) {
  const auto plan = make_plan<2>(y.shape(), {y.strides(), x.strides()});
  dispatch_all(y.dtype(), [&]<class To>() {
    To* to = y.mutable_data<To>();
    dispatch_all(x.dtype(), [&]<class From>() {
      cuda::launch("copy", copy_kernel<To, From>, {.grid = blocks_for(plan.numel), .block = kBlock}, x.data<From>(), to,
                   plan);
    });
  });
}

void accumulate_cuda(const Tensor& x, Tensor& y) {
  const auto plan = make_plan<2>(y.shape(), {y.strides(), x.strides()});
  dispatch_floating(y.dtype(), [&]<class T>() {
    cuda::launch("accumulate", accumulate_kernel<T>, {.grid = blocks_for(plan.numel), .block = kBlock}, x.data<T>(),
                 y.mutable_data<T>(), plan);
  });
}

void scale_cuda(Tensor& y, double factor) {
  const auto plan = make_plan<1>(y.shape(), {y.strides()});
  dispatch_floating(y.dtype(), [&]<class T>() {
    cuda::launch("scale", scale_kernel<T>, {.grid = blocks_for(plan.numel), .block = kBlock}, y.mutable_data<T>(),
                 accumulate_t<T>(factor), plan);
  });
}

void sum_to_cuda(const Tensor& x, Tensor& y) {
  const Reduction plan = make_reduction(x, y);
  dispatch_floating(x.dtype(), [&]<class T>() {
    fold_cuda("sum_to", SumFold<accumulate_t<T>>{}, x.data<T>(), nullptr, y.mutable_data<T>(), plan, x.device());
  });
}

const Bind bind_fill(fill, cuda::kKernelDevice, fill_cuda);
const Bind bind_copy(copy, cuda::kKernelDevice, copy_cuda);
const Bind bind_accumulate(accumulate, cuda::kKernelDevice, accumulate_cuda);
const Bind bind_scale(scale, cuda::kKernelDevice, scale_cuda);
const Bind bind_sum_to(sum_to, cuda::kKernelDevice, sum_to_cuda);

}  // namespace
}  // namespace vitrine::kernels
