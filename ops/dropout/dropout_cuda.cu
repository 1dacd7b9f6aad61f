#include <algorithm>

#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "ops/dropout/dropout_kernels.h"

// One thread per 4 neighbours, the elements of one Philox block; no thread waits for another.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 256;
int64_t blocks_for(int64_t threads) { return (threads + kBlock - 1) / kBlock; }

/// `packed`: x and y lie on boundaries of 4 elements.
template <class T>
__global__ void dropout_kernel_4(const T* x, T* y, int64_t n, DropMask mask, bool packed) {
  using A = accumulate_t<T>;
  const int64_t block = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, first = 4 * block;
  if (first >= n) return;
  const Philox random = mask.draw.block(uint64_t(block));
  const A scale = A(mask.scale);
  if (packed && first + 4 <= n) {
    cuda::Pack<T, 4> v = cuda::load4(x + first);
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] = mask.keeps(random.word[k]) ? T(A(v[k]) * scale) : T(A(0));
    cuda::store4(y + first, v);
  } else {
    for (int k = 0; k < 4 && first + k < n; ++k)
      y[first + k] = mask.keeps(random.word[k]) ? T(A(x[first + k]) * scale) : T(A(0));
  }
}

/// One thread per element of a [rows, n] tensor, blocks_per_row blocks to a row.
template <class T>
__global__ void drop_path_kernel_1(const T* x, T* y, int64_t n, int64_t blocks_per_row, DropMask mask) {
  using A = accumulate_t<T>;
  const int64_t row = int64_t(blockIdx.x) / blocks_per_row;
  const int64_t i = (int64_t(blockIdx.x) - row * blocks_per_row) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  y[row * n + i] = mask.keeps(mask.draw.bits(row)) ? T(A(x[row * n + i]) * A(mask.scale)) : T(A(0));
}

void dropout_cuda(const Tensor& x, Tensor& y, const DropMask& mask) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    constexpr int kBytes = std::min<int>(16, 4 * sizeof(T));
    const bool packed = cuda::aligned_to(from, kBytes) && cuda::aligned_to(to, kBytes);
    cuda::launch("dropout", dropout_kernel_4<T>, {.grid = blocks_for((x.numel() + 3) / 4), .block = kBlock}, from, to,
                 x.numel(), mask, packed);
  });
}
void drop_path_cuda(const Tensor& x, Tensor& y, const DropMask& mask) {
  if (x.numel() == 0) return;
  const int64_t rows = x.size(0), n = x.numel() / rows;
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::launch("drop_path", drop_path_kernel_1<T>, {.grid = rows * blocks_for(n), .block = kBlock}, x.data<T>(),
                 y.mutable_data<T>(), n, blocks_for(n), mask);
  });
}
const Bind bind_dropout(dropout_kernel, cuda::kKernelDevice, dropout_cuda);
const Bind bind_drop_path(drop_path_kernel, cuda::kKernelDevice, drop_path_cuda);

}  // namespace
}  // namespace vitrine::ops
