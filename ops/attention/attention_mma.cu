#include "core/cuda/instructions.h"
#include "core/cuda/vector.h"
#include "ops/attention/attention_cuda.h"

// bf16 attention on tensor cores, in the manner of Dao, "FlashAttention-2", 2023. A block is four warps; a warp owns 16
// rows (queries, or keys for dk and dv) whose fragments stay in registers, and the block walks over the other side in
// tiles of 64 rows. Two tiles lie in shared memory: while one is used the next one arrives by cp.async.
//
// Barriers, the same in every kernel: one after the wait for a tile, so that all warps see what all threads copied; one
// after its use, because the following iteration copies over it. Rows behind the end are read from the last row, and
// their weights are 0. Each output element is summed by one thread in a fixed order.
namespace vitrine::ops {
namespace {
constexpr int kWarps = 4, kBlock = kWarps * cuda::kWarp, kRows = 16 * kWarps, kTile = 64;

/// Rows of shared memory are 8 elements longer than D: the 8 rows of a matrix then lie in different banks.
template <int D>
using Tile = bf16[kTile][D + 8];

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

/// 16 rows from `row0` as A fragments; rows behind the end are zeros.
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

/// A warp owns 16 queries. The maximum and the sum of a row are in the four lanes of a quad, the sum in four parts that
/// meet at the end.
template <int D, bool kDropout>
__global__ void __launch_bounds__(kBlock)
    attention_forward_mma_kernel(Problem<bf16> p, Grid<bf16> out, float* lse, int64_t blocks) {
  VITRINE_SHARED_ALIGNED(16, bf16, k, [2][kTile][D + 8]);
  VITRINE_SHARED_ALIGNED(16, bf16, v, [2][kTile][D + 8]);
  const int lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / blocks, row0 = blockIdx.x % blocks * kRows + threadIdx.x / cuda::kWarp * 16;
  const bf16 *keys = p.k.head(bh, p.heads), *values = p.v.head(bh, p.heads);
  const Scores<bf16> scores(p, bh);
  uint32_t q[D / 16][4];
  load_fragments<D>(q, p.q.head(bh, p.heads), p.q.row, row0, p.queries);
  float o[D / 8][4] = {}, m[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  copy_tile<D>(k[0], keys, p.k.row, 0, p.keys);
  copy_tile<D>(v[0], values, p.v.row, 0, p.keys);
  cuda::cp_async_commit();
  for (int64_t j0 = 0, at = 0; j0 < p.keys; j0 += kTile, at ^= 1) {
    if (j0 + kTile < p.keys) {
      copy_tile<D>(k[at ^ 1], keys, p.k.row, j0 + kTile, p.keys);
      copy_tile<D>(v[at ^ 1], values, p.v.row, j0 + kTile, p.keys);
    }
    cuda::cp_async_commit();
    cuda::cp_async_wait<1>();
    __syncthreads();
    float s[kTile / 8][4], larger[2] = {m[0], m[1]};
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
      multiply_rows<D>(s[n], q, k[at], 8 * n);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        s[n][c] = scores.logit(s[n][c], row0 + lane / 4 + c / 2 * 8, j0 + 8 * n + lane % 4 * 2 + c % 2);
        larger[c / 2] = max(larger[c / 2], s[n][c]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      larger[half] = quad_max(larger[half]);
      const float base = larger[half] == -INFINITY ? 0.0f : larger[half], shrink = weight(m[half] - base);
      m[half] = larger[half], larger[half] = base;
      sum[half] *= shrink;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) o[n][2 * half] *= shrink, o[n][2 * half + 1] *= shrink;
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        s[n][c] = weight(s[n][c] - larger[c / 2]);
        sum[c / 2] += s[n][c];
        if constexpr (kDropout) s[n][c] *= scores.kept(row0 + lane / 4 + c / 2 * 8, j0 + 8 * n + lane % 4 * 2 + c % 2);
      }
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; n += 2) {
      uint32_t w[4];
      to_fragment(w, s[n], s[n + 1]);
      add_rows<D>(o, w, v[at], 8 * n);
    }
    __syncthreads();
  }
  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = quad_sum(sum[half]);
    const int64_t i = row0 + lane / 4 + 8 * half;
    inverse[half] = total == 0 ? 0.0f : 1 / total;
    if (lane % 4 == 0 && i < p.queries) lse[bh * p.queries + i] = total == 0 ? INFINITY : m[half] + logf(total);
  }
  store_rows<D>(o, inverse[0], inverse[1], out.head(bh, p.heads), out, row0, p.queries);
}

/// dq and dbias. A warp owns 16 queries and their dout; keys pass by 16 at a time.
template <int D, bool kDropout>
__global__ void __launch_bounds__(kBlock)
    attention_dq_mma_kernel(Problem<bf16> p, Grid<const bf16> dout, const float* lse, const float* delta, Grid<bf16> dq,
                            bf16* dbias, int64_t blocks) {
  VITRINE_SHARED_ALIGNED(16, bf16, k, [2][kTile][D + 8]);
  VITRINE_SHARED_ALIGNED(16, bf16, v, [2][kTile][D + 8]);
  const int lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / blocks, row0 = blockIdx.x % blocks * kRows + threadIdx.x / cuda::kWarp * 16;
  const bf16 *keys = p.k.head(bh, p.heads), *values = p.v.head(bh, p.heads);
  const Scores<bf16> scores(p, bh);
  uint32_t q[D / 16][4], g[D / 16][4];
  load_fragments<D>(q, p.q.head(bh, p.heads), p.q.row, row0, p.queries);
  load_fragments<D>(g, dout.head(bh, p.heads), dout.row, row0, p.queries);
  float sum[D / 8][4] = {}, row_lse[2], row_delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t i = row0 + lane / 4 + 8 * half;
    row_lse[half] = i < p.queries ? lse[bh * p.queries + i] : INFINITY;
    row_delta[half] = i < p.queries ? delta[bh * p.queries + i] : 0.0f;
  }
  copy_tile<D>(k[0], keys, p.k.row, 0, p.keys);
  copy_tile<D>(v[0], values, p.v.row, 0, p.keys);
  cuda::cp_async_commit();
  for (int64_t j0 = 0, at = 0; j0 < p.keys; j0 += kTile, at ^= 1) {
    if (j0 + kTile < p.keys) {
      copy_tile<D>(k[at ^ 1], keys, p.k.row, j0 + kTile, p.keys);
      copy_tile<D>(v[at ^ 1], values, p.v.row, j0 + kTile, p.keys);
    }
    cuda::cp_async_commit();
    cuda::cp_async_wait<1>();
    __syncthreads();
#pragma unroll 1
    for (int n = 0; n < kTile; n += 16) {
      float ds[2][4];
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        float s[4], dp[4];
        multiply_rows<D>(s, q, k[at], n + 8 * side);
        multiply_rows<D>(dp, g, v[at], n + 8 * side);
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const int64_t i = row0 + lane / 4 + c / 2 * 8, j = j0 + n + 8 * side + lane % 4 * 2 + c % 2;
          const float w = weight(scores.logit(s[c], i, j) - row_lse[c / 2]);
          if constexpr (kDropout) dp[c] *= scores.kept(i, j);
          ds[side][c] = w * (dp[c] - row_delta[c / 2]);
          if (dbias && i < p.queries && j < p.keys) dbias[(bh * p.queries + i) * p.keys + j] = bf16(ds[side][c]);
        }
      }
      uint32_t w[4];
      to_fragment(w, ds[0], ds[1]);
      add_rows<D>(sum, w, k[at], n);
    }
    __syncthreads();
  }
  if (dq.data) store_rows<D>(sum, p.scale, p.scale, dq.head(bh, p.heads), dq, row0, p.queries);
}

/// dk and dv. A warp owns 16 keys and their values; queries and their dout pass by 16 at a time, so scores are
/// transposed: row = key, column = query. lse and delta of a tile are copied beside it, between the same barriers.
template <int D, bool kDropout>
__global__ void __launch_bounds__(kBlock)
    attention_dkv_mma_kernel(Problem<bf16> p, Grid<const bf16> dout, const float* lse, const float* delta,
                             Grid<bf16> dk, Grid<bf16> dv, int64_t blocks) {
  VITRINE_SHARED_ALIGNED(16, bf16, q, [2][kTile][D + 8]);
  VITRINE_SHARED_ALIGNED(16, bf16, g, [2][kTile][D + 8]);
  VITRINE_SHARED(float, tile_lse, [kTile]);
  VITRINE_SHARED(float, tile_delta, [kTile]);
  const int lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / blocks, row0 = blockIdx.x % blocks * kRows + threadIdx.x / cuda::kWarp * 16;
  const bf16 *queries = p.q.head(bh, p.heads), *douts = dout.head(bh, p.heads);
  const Scores<bf16> scores(p, bh);
  uint32_t k[D / 16][4], v[D / 16][4];
  load_fragments<D>(k, p.k.head(bh, p.heads), p.k.row, row0, p.keys);
  load_fragments<D>(v, p.v.head(bh, p.heads), p.v.row, row0, p.keys);
  float sum_k[D / 8][4] = {}, sum_v[D / 8][4] = {};
  copy_tile<D>(q[0], queries, p.q.row, 0, p.queries);
  copy_tile<D>(g[0], douts, dout.row, 0, p.queries);
  cuda::cp_async_commit();
  for (int64_t i0 = 0, at = 0; i0 < p.queries; i0 += kTile, at ^= 1) {
    if (i0 + kTile < p.queries) {
      copy_tile<D>(q[at ^ 1], queries, p.q.row, i0 + kTile, p.queries);
      copy_tile<D>(g[at ^ 1], douts, dout.row, i0 + kTile, p.queries);
    }
    cuda::cp_async_commit();
    if (threadIdx.x < kTile) {
      const int64_t i = i0 + threadIdx.x;
      tile_lse[threadIdx.x] = i < p.queries ? lse[bh * p.queries + i] : INFINITY;
      tile_delta[threadIdx.x] = i < p.queries ? delta[bh * p.queries + i] : 0.0f;
    }
    cuda::cp_async_wait<1>();
    __syncthreads();
#pragma unroll 1
    for (int n = 0; n < kTile; n += 16) {
      float w[2][4], ds[2][4];
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        multiply_rows<D>(w[side], k, q[at], n + 8 * side);
        multiply_rows<D>(ds[side], v, g[at], n + 8 * side);
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const int column = n + 8 * side + lane % 4 * 2 + c % 2;
          const int64_t i = i0 + column, j = row0 + lane / 4 + c / 2 * 8;
          const float x = weight(scores.logit(w[side][c], i, j) - tile_lse[column]);
          const float z = kDropout ? scores.kept(i, j) : 1.0f;
          ds[side][c] = x * (z * ds[side][c] - tile_delta[column]);
          w[side][c] = z * x;
        }
      }
      uint32_t a[4];
      to_fragment(a, w[0], w[1]);
      add_rows<D>(sum_v, a, g[at], n);
      to_fragment(a, ds[0], ds[1]);
      add_rows<D>(sum_k, a, q[at], n);
    }
    __syncthreads();
  }
  if (dk.data) store_rows<D>(sum_k, p.scale, p.scale, dk.head(bh, p.heads), dk, row0, p.keys);
  if (dv.data) store_rows<D>(sum_v, 1, 1, dv.head(bh, p.heads), dv, row0, p.keys);
}

/// Rows of x may be copied by 16 bytes.
bool fits(const Tensor& x) {
  if (!x.defined()) return true;
  return x.stride(3) == 1 && x.stride(2) % 8 == 0 && x.stride(1) % 8 == 0 && x.stride(0) % 8 == 0 &&
         cuda::aligned_to(x.raw_data(), 16);
}
bool fits(const AttentionInputs& in) {
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
int64_t blocks_of(int64_t rows) { return (rows + kRows - 1) / kRows; }

}  // namespace

inline namespace VITRINE_WORLD {

bool launch_mma_forward(const AttentionInputs& in, Tensor& out, Tensor& lse) {
  if (!fits(in)) return false;
  const int64_t heads = in.q.size(0) * in.q.size(1), blocks = blocks_of(in.q.size(2));
  choose(in, [&]<int D, bool kDropout>() {
    cuda::launch("attention_forward_mma", attention_forward_mma_kernel<D, kDropout>,
                 {.grid = heads * blocks, .block = kBlock}, problem_of<bf16>(in), writable_grid<bf16>(out),
                 lse.mutable_data<float>(), blocks);
  });
  return true;
}

bool launch_mma_backward(const AttentionInputs& in, const Tensor& lse, const Tensor& dout, AttentionGradients& to) {
  if (!fits(in) || !fits(dout)) return false;
  const int64_t heads = in.q.size(0) * in.q.size(1);
  choose(in, [&]<int D, bool kDropout>() {
    if (to.dq.defined() || to.dbias.defined()) {
      const int64_t blocks = blocks_of(in.q.size(2));
      cuda::launch("attention_dq_mma", attention_dq_mma_kernel<D, kDropout>, {.grid = heads * blocks, .block = kBlock},
                   problem_of<bf16>(in), grid_of<bf16>(dout), lse.data<float>(), to.delta.data<float>(),
                   writable_grid<bf16>(to.dq), to.dbias.defined() ? to.dbias.mutable_data<bf16>() : nullptr, blocks);
    }
    if (to.dk.defined() || to.dv.defined()) {
      const int64_t blocks = blocks_of(in.k.size(2));
      cuda::launch("attention_dkv_mma", attention_dkv_mma_kernel<D, kDropout>,
                   {.grid = heads * blocks, .block = kBlock}, problem_of<bf16>(in), grid_of<bf16>(dout),
                   lse.data<float>(), to.delta.data<float>(), writable_grid<bf16>(to.dk), writable_grid<bf16>(to.dv),
                   blocks);
    }
  });
  return true;
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
