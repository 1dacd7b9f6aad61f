#include "core/cuda/launch.h"
#include "core/strided.h"
#include "ops/matmul/matmul_kernels.h"

namespace vitrine::ops {
namespace {

constexpr int kTile = 64, kDepth = 16, kSide = 16, kPer = kTile / kSide;  // 16 x 16 threads, 4 x 4 outputs each

struct Strides {
  int64_t a_row, a_column, b_row, b_column;
};

/// One block per 64 x 64 tile of y and per matrix of the batch. Slices of 16 of the inner dimension pass through shared
/// memory: thread (tx, ty) loads 4 + 4 elements of a slice and multiplies rows ty + 16 i by columns tx + 16 j.
/// Barriers: after a slice is written, before any thread reads it; and after it is read, before the next one overwrites
/// it.
template <class T>
__global__ void __launch_bounds__(kSide* kSide)
    product_kernel(const T* a, const T* b, const T* bias, T* y, int64_t m, int64_t n, int64_t depth, Strides s,
                   StridedPlan<3> batch, int64_t row_tiles, int64_t column_tiles) {
  using A = accumulate_t<T>;
  VITRINE_SHARED(A, tile_a, [kDepth][kTile + 1]);
  VITRINE_SHARED(A, tile_b, [kDepth][kTile + 1]);
  const int64_t tile = blockIdx.x, tiles = row_tiles * column_tiles;
  int64_t at[3];
  batch.offsets(tile / tiles, at);
  y += at[0], a += at[1], b += at[2];
  const int64_t row0 = tile % tiles / column_tiles * kTile, column0 = tile % column_tiles * kTile;
  const int tx = int(threadIdx.x), ty = int(threadIdx.y), thread = ty * kSide + tx;

  A sum[kPer][kPer] = {};
  for (int64_t k0 = 0; k0 < depth; k0 += kDepth) {
    for (int e = thread; e < kDepth * kTile; e += kSide * kSide) {
      // Neighbouring threads read neighbouring elements along whichever stride is 1.
      const int ka = s.a_column == 1 ? e % kDepth : e / kTile, i = s.a_column == 1 ? e / kDepth : e % kTile;
      const bool in_a = row0 + i < m && k0 + ka < depth;
      tile_a[ka][i] = in_a ? A(a[(row0 + i) * s.a_row + (k0 + ka) * s.a_column]) : A(0);
      const int kb = s.b_row == 1 ? e % kDepth : e / kTile, j = s.b_row == 1 ? e / kDepth : e % kTile;
      const bool in_b = column0 + j < n && k0 + kb < depth;
      tile_b[kb][j] = in_b ? A(b[(k0 + kb) * s.b_row + (column0 + j) * s.b_column]) : A(0);
    }
    __syncthreads();
    for (int k = 0; k < kDepth; ++k) {
      A left[kPer], right[kPer];
      for (int i = 0; i < kPer; ++i) left[i] = tile_a[k][ty + kSide * i], right[i] = tile_b[k][tx + kSide * i];
      for (int i = 0; i < kPer; ++i)
        for (int j = 0; j < kPer; ++j) sum[i][j] += left[i] * right[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < kPer; ++i) {
    for (int j = 0; j < kPer; ++j) {
      const int64_t row = row0 + ty + kSide * i, column = column0 + tx + kSide * j;
      if (row < m && column < n) y[row * n + column] = T(bias ? sum[i][j] + A(bias[column]) : sum[i][j]);
    }
  }
}

Shape leading(const Shape& s) { return Shape(s.begin(), s.end() - 2); }

void run(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const int64_t m = y.size(-2), n = y.size(-1), depth = a.size(-1);
  const int64_t row_tiles = (m + kTile - 1) / kTile, column_tiles = (n + kTile - 1) / kTile;
  const auto batch =
      make_plan<3>(leading(y.shape()), {leading(y.strides()), leading(a.strides()), leading(b.strides())});
  const Strides strides{a.stride(-2), a.stride(-1), b.stride(-2), b.stride(-1)};
  dispatch_floating(y.dtype(), [&]<class T>() {
    const T* dense_bias = bias.defined() ? bias.data<T>() : nullptr;
    cuda::launch("product", product_kernel<T>,
                 {.grid = batch.numel * row_tiles * column_tiles, .block = {kSide, kSide}}, a.data<T>(), b.data<T>(),
                 dense_bias, y.mutable_data<T>(), m, n, depth, strides, batch, row_tiles, column_tiles);
  });
}
const Bind bind_product(product_plain, cuda::kKernelDevice, run);

}  // namespace
}  // namespace vitrine::ops
