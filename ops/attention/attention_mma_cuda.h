#pragma once
#include "core/cuda/instructions.h"
#include "core/cuda/vector.h"
#include "ops/attention/attention_rows_cuda.h"

/// Attention for bf16 on tensor cores, in the manner of Dao, "FlashAttention-2", 2023: what its kernels
/// (attention_mma_forward_cuda.h, attention_mma_backward_cuda.h) are made of. A block is four warps; a warp owns 16
/// rows (queries, or keys for dk and dv) whose fragments stay in registers, and the block walks over the other side in
/// tiles of 64 rows. Two tiles lie in shared memory: while one is used the next one arrives by cp.async. Rows of shared
/// memory are 8 elements longer than D, so that the 8 rows of a matrix lie in different banks.
///
/// Barriers, the same in every kernel: one after the wait for a tile, so that all warps see what all threads copied;
/// one after its use, because the following iteration copies over it. Rows behind the end are read from the last row,
/// and their weights are 0; tiles whose keys are all masked are computed like the others, not skipped. Each output
/// element is summed by one thread in a fixed order.
///
/// `Terms` is what a variant of attention adds (NoTerms lists it). Private to attention and the ops that add terms to
/// it.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {
namespace mma {

constexpr int kWarps = 4, kBlock = kWarps * cuda::kWarp, kRows = 16 * kWarps, kTile = 64;

/// Starts to copy rows [row0, row0 + 64) of x; the caller commits.
template <int D>
__device__ __forceinline__ void copy_tile(bf16 (*tile)[D + 8], const bf16* x, int64_t stride, int64_t row0,
                                          int64_t rows) {
  constexpr int kPieces = D / 8;
#pragma unroll
  for (int n = threadIdx.x; n < kTile * kPieces; n += kBlock) {
    const int r = n / kPieces, c = n % kPieces * 8;
    cuda::cp_async16(&tile[r][c], x + min(row0 + r, rows - 1) * stride + c);
  }
}

/// 16 rows of x from `row0` as A fragments; rows behind the end are zeros.
template <int D>
__device__ __forceinline__ void load_fragments(uint32_t (&a)[D / 16][4], const bf16* x, int64_t stride, int64_t row0,
                                               int64_t rows) {
  const int lane = threadIdx.x % cuda::kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int64_t row = row0 + g + 8 * (r % 2);
      const int column = 16 * k + 2 * t + 8 * (r / 2);
      a[k][r] = 0;
      if (row < rows) {
        const auto pair = cuda::load<2>(x + row * stride + column);
        a[k][r] = uint32_t(pair[0].bits) | uint32_t(pair[1].bits) << 16;
      }
    }
  }
}

/// The same from 16 rows of a tile.
template <int D>
__device__ __forceinline__ void load_fragments(uint32_t (&a)[D / 16][4], bf16 (*tile)[D + 8], int row) {
  const int lane = threadIdx.x % cuda::kWarp;
#pragma unroll
  for (int k = 0; k < D / 16; ++k) cuda::ldmatrix_x4(a[k], &tile[row + lane % 16][16 * k + lane / 16 * 8]);
}

/// c [16, 8] = a x^T for the 8 rows of a tile from `row`.
template <int D>
__device__ __forceinline__ void multiply_rows(float (&c)[4], const uint32_t (&a)[D / 16][4], bf16 (*tile)[D + 8],
                                              int row) {
  const int lane = threadIdx.x % cuda::kWarp;
#pragma unroll
  for (int i = 0; i < 4; ++i) c[i] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; k += 2) {
    uint32_t r[4];
    cuda::ldmatrix_x4(r, &tile[row + lane % 8][16 * k + lane / 8 * 8]);
    const uint32_t low[2] = {r[0], r[1]}, high[2] = {r[2], r[3]};
    cuda::mma_m16n8k16(c, a[k], low, c);
    cuda::mma_m16n8k16(c, a[k + 1], high, c);
  }
}

/// sum [16, D] += w x for the 16 rows of a tile from `row`; w is an A fragment.
template <int D>
__device__ __forceinline__ void add_rows(float (&sum)[D / 8][4], const uint32_t (&w)[4], bf16 (*tile)[D + 8], int row) {
  const int lane = threadIdx.x % cuda::kWarp;
#pragma unroll
  for (int n = 0; n < D / 8; n += 2) {
    uint32_t r[4];
    cuda::ldmatrix_x4<true>(r, &tile[row + lane % 16][8 * n + lane / 16 * 8]);
    const uint32_t left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
    cuda::mma_m16n8k16(sum[n], w, left, sum[n]);
    cuda::mma_m16n8k16(sum[n + 1], w, right, sum[n + 1]);
  }
}

/// Two neighbouring [16, 8] accumulators as one [16, 16] A fragment.
__device__ __forceinline__ void to_fragment(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = cuda::pack_bf16(left[0], left[1]), a[1] = cuda::pack_bf16(left[2], left[3]);
  a[2] = cuda::pack_bf16(right[0], right[1]), a[3] = cuda::pack_bf16(right[2], right[3]);
}

/// Rows row0 + g and row0 + g + 8 of x = factor * sum.
template <int D>
__device__ __forceinline__ void store_rows(const float (&sum)[D / 8][4], float factor0, float factor1, bf16* x,
                                           const Grid<bf16>& g, int64_t row0, int64_t rows) {
  const int lane = threadIdx.x % cuda::kWarp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row = row0 + lane / 4 + 8 * half;
    if (row >= rows) continue;
    const float factor = half ? factor1 : factor0;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      cuda::Pack<bf16, 2> pair;
      pair[0] = bf16(sum[n][2 * half] * factor), pair[1] = bf16(sum[n][2 * half + 1] * factor);
      cuda::store(x + row * g.row + 8 * n + 2 * (lane % 4), pair);
    }
  }
}

/// e^x through the base-2 exponential, the GPU's own.
__device__ __forceinline__ float weight(float x) { return exp2f(x * 1.4426950408889634f); }
/// The largest, and the sum, over the four lanes that share a row of an accumulator.
__device__ __forceinline__ float quad_max(float x) {
  x = max(x, __shfl_xor_sync(cuda::kAllLanes, x, 1));
  return max(x, __shfl_xor_sync(cuda::kAllLanes, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(cuda::kAllLanes, x, 1);
  return x + __shfl_xor_sync(cuda::kAllLanes, x, 2);
}

/// Plain attention: no terms. Lines are the 64 rows that a block owns (queries if kQueries, else keys), of which each
/// warp has the 16 from `row0`; the other side passes in tiles, and `column` is one of a tile. `raw` is the launch's
/// dynamic shared memory, a stage any tile that is free until the next barrier of the kernel.
struct NoTerms {
  template <int D, bool kQueries>
  struct Lines {
    using Stage = bf16 (*)[D + 8];
    using Fragments = uint32_t[D / 16][4];
    __device__ Lines(const NoTerms&, unsigned char*, int64_t, int64_t) {}
    /// All of the block come, before the first tile: own rows of q (or k), of dout.
    __device__ void start(const Fragments&, Stage) {}
    __device__ void start_products(const Fragments&, Stage) {}
    /// Before the barrier that shows a tile of the other side, which begins at row `first`; and after it, all of the
    /// block, with the tile of k (or q) and of v (or dout).
    __device__ void place(int64_t) {}
    __device__ void multiply(Stage, Stage) {}
    /// To the products of columns column, ..., column + 7: the terms, which the scale then multiplies; the same for
    /// dout v.
    __device__ void add_scores(float (&)[4], int) const {}
    __device__ void add_products(float (&)[4], int) const {}
    /// The weights z p (the ds) of 16 columns, and when a whole tile was put.
    __device__ void put_weights(const uint32_t (&)[4], int) {}
    __device__ void put_scores(const uint32_t (&)[4], int) {}
    __device__ void sum_weights(const float (&)[2]) {}  ///< sums times the factor of a lane's two rows, plus the tile
    __device__ void sum_scores() {}
    /// After the last tile, all of the block: adds the sums' products to out; to dq or dk.
    __device__ void add_values(float (&)[D / 8][4], Stage) {}
    __device__ void add_tables(float (&)[D / 8][4], Stage) {}
    /// The block's part of the gradients of tables, from the owned side's rows and dout.
    __device__ void store_gradients(const Grid<const bf16>&, const bf16*, const Grid<const bf16>&, const bf16*, Stage) {
    }
  };
};

/// Rows of x may be copied by 16 bytes.
inline bool fits(const Tensor& x) {
  if (!x.defined()) return true;
  return x.stride(3) == 1 && x.stride(2) % 8 == 0 && x.stride(1) % 8 == 0 && x.stride(0) % 8 == 0 &&
         cuda::aligned_to(x.raw_data(), 16);
}
inline bool fits(const AttentionInputs& in) {
  const int64_t d = in.q.size(3);
  return in.q.dtype() == Dtype::bf16 && (d == 32 || d == 64) && in.k.size(2) > 0 && fits(in.q) && fits(in.k) &&
         fits(in.v);
}

/// f.template operator()<D, kDropout>().
template <class F>
void choose(const AttentionInputs& in, F f) {
  if (in.q.size(3) == 32) {
    in.drops() ? f.template operator()<32, true>() : f.template operator()<32, false>();
  } else {
    in.drops() ? f.template operator()<64, true>() : f.template operator()<64, false>();
  }
}
inline int64_t blocks_of(int64_t rows) { return (rows + kRows - 1) / kRows; }

}  // namespace mma
}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
