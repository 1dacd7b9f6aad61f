#include <algorithm>

#include "core/cuda/launch.h"
#include "core/cuda/math.h"
#include "core/cuda/vector.h"
#include "ops/bias_gelu/bias_gelu_kernels.h"
#include "ops/unary/entries.h"

// A thread owns kPack neighbouring columns; no thread waits for another.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 128;

template <int kPack, class T>
__device__ __forceinline__ cuda::Pack<T, kPack> load(const T* p) {
  if constexpr (kPack == 1) {
    return {{*p}};
  } else {
    return cuda::load<kPack>(p);
  }
}
template <int kPack, class T>
__device__ __forceinline__ void store(T* p, const cuda::Pack<T, kPack>& v) {
  if constexpr (kPack == 1) {
    *p = v[0];
  } else {
    cuda::store(p, v);
  }
}

/// Thread i of the launch: pack i of x in memory order; packs = rows * (n / kPack).
template <int kPack, class T>
__global__ void forward_kernel(const T* x, const T* bias, T* y, int64_t packs, int64_t packs_per_row) {
  using A = accumulate_t<T>;
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  cuda::Pack<T, kPack> v = load<kPack>(x + i * kPack);
  const auto b = load<kPack>(bias + i % packs_per_row * kPack);
#pragma unroll
  for (int k = 0; k < kPack; ++k) v[k] = T(unary::Gelu().f<cuda::Math>(A(v[k]) + A(b[k])));
  store<kPack>(y + i * kPack, v);
}

/// Block (c, g): the c-th run of kBlock packs of columns, rows [g * in_group, (g + 1) * in_group) of x. Each thread
/// sums its columns over these rows in order.
template <int kPack, class T>
__global__ void backward_kernel(const T* x, const T* bias, const T* dy, T* dx, accumulate_t<T>* partial, int64_t rows,
                                int64_t n, int64_t in_group, int64_t blocks_per_row) {
  using A = accumulate_t<T>;
  const int64_t group = int64_t(blockIdx.x) / blocks_per_row;
  const int64_t pack = (int64_t(blockIdx.x) - group * blocks_per_row) * blockDim.x + threadIdx.x;
  if (pack * kPack >= n) return;
  const auto b = load<kPack>(bias + pack * kPack);
  A sum[kPack] = {};
  const int64_t end = min(rows, (group + 1) * in_group);
  for (int64_t r = group * in_group; r < end; ++r) {
    const int64_t at = r * n + pack * kPack;
    const auto v = load<kPack>(x + at);
    cuda::Pack<T, kPack> d = load<kPack>(dy + at);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const A g = A(d[k]) * unary::Gelu().df<cuda::Math>(A(v[k]) + A(b[k]));
      d[k] = T(g);
      sum[k] += g;
    }
    store<kPack>(dx + at, d);
  }
  for (int k = 0; k < kPack; ++k) partial[group * n + pack * kPack + k] = sum[k];
}

int64_t blocks_for(int64_t threads) { return (threads + kBlock - 1) / kBlock; }
template <class T>
bool packs_of_4(int64_t n, std::initializer_list<const T*> pointers) {
  const int bytes = std::min(16, 4 * int(sizeof(T)));
  return n % 4 == 0 &&
         std::all_of(pointers.begin(), pointers.end(), [&](const T* p) { return cuda::aligned_to(p, bytes); });
}

void forward(const Tensor& x, const Tensor& bias, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t n = bias.numel();
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T *from = x.data<T>(), *b = bias.data<T>();
    T* to = y.mutable_data<T>();
    const auto start = [&](int64_t pack, auto kernel) {
      const int64_t packs = x.numel() / pack;
      cuda::launch("bias_gelu_forward", kernel, {.grid = blocks_for(packs), .block = kBlock}, from, b, to, packs,
                   n / pack);
    };
    packs_of_4<T>(n, {from, b, to}) ? start(4, forward_kernel<4, T>) : start(1, forward_kernel<1, T>);
  });
}

void backward(const Tensor& x, const Tensor& bias, const Tensor& dy, Tensor& dx, Tensor& partial) {
  if (x.numel() == 0) return;
  const int64_t n = bias.numel(), rows = x.numel() / n, groups = partial.size(0);
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T *from = x.data<T>(), *b = bias.data<T>(), *d = dy.data<T>();
    T* to = dx.mutable_data<T>();
    const auto start = [&](int64_t pack, auto kernel) {
      const int64_t blocks_per_row = blocks_for(n / pack);
      cuda::launch("bias_gelu_backward", kernel, {.grid = groups * blocks_per_row, .block = kBlock}, from, b, d, to,
                   partial.mutable_data<accumulate_t<T>>(), rows, n, (rows + groups - 1) / groups, blocks_per_row);
    };
    packs_of_4<T>(n, {from, b, d, to}) ? start(4, backward_kernel<4, T>) : start(1, backward_kernel<1, T>);
  });
}

const Bind bind_forward(bias_gelu_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(bias_gelu_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
