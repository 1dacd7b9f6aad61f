#pragma once
#include "ops/attention/attention_mma_cuda.h"

/// Private to attention and the ops that add terms to it.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {
namespace mma {

/// dq and dbias. A warp owns 16 queries and their dout; keys pass by 16 at a time.
template <int D, bool kDropout, class Terms>
__global__ void __launch_bounds__(kBlock)
    attention_dq_mma_kernel(Problem<bf16> p, Terms terms, Grid<const bf16> dout, const float* lse, const float* delta,
                            Grid<bf16> dq, bf16* dbias, int64_t blocks) {
  VITRINE_SHARED_ALIGNED(16, bf16, k, [2][kTile][D + 8]);
  VITRINE_SHARED_ALIGNED(16, bf16, v, [2][kTile][D + 8]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / blocks, row0 = blockIdx.x % blocks * kRows + threadIdx.x / cuda::kWarp * 16;
  const bf16 *keys = p.k.head(bh, p.heads), *values = p.v.head(bh, p.heads);
  const Scores<bf16> scores(p, bh);
  uint32_t q[D / 16][4], g[D / 16][4];
  load_fragments<D>(q, p.q.head(bh, p.heads), p.q.row, row0, p.queries);
  load_fragments<D>(g, dout.head(bh, p.heads), dout.row, row0, p.queries);
  typename Terms::template Lines<D, true> lines(terms, raw, bh, row0);
  lines.start(q, k[0]);
  lines.start_products(g, k[0]);
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
    lines.place(j0);
    cuda::cp_async_wait<1>();
    __syncthreads();
    lines.multiply(k[at], v[at]);
#pragma unroll 1
    for (int n = 0; n < kTile; n += 16) {
      float w[2][4], ds[2][4];
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        multiply_rows<D>(w[side], q, k[at], n + 8 * side);
        lines.add_scores(w[side], n + 8 * side);
        multiply_rows<D>(ds[side], g, v[at], n + 8 * side);
        lines.add_products(ds[side], n + 8 * side);
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const int64_t i = row0 + lane / 4 + c / 2 * 8, j = j0 + n + 8 * side + lane % 4 * 2 + c % 2;
          const float x = weight(scores.logit(w[side][c], i, j) - row_lse[c / 2]),
                      z = kDropout ? scores.kept(i, j) : 1.0f;
          ds[side][c] = x * (z * ds[side][c] - row_delta[c / 2]);
          w[side][c] = z * x;
          if (dbias && i < p.queries && j < p.keys) dbias[(bh * p.queries + i) * p.keys + j] = bf16(ds[side][c]);
        }
      }
      uint32_t a[4];
      to_fragment(a, w[0], w[1]);
      lines.put_weights(a, n);
      to_fragment(a, ds[0], ds[1]);
      lines.put_scores(a, n);
      add_rows<D>(sum, a, k[at], n);
    }
    lines.sum_weights({1, 1});
    lines.sum_scores();
    __syncthreads();
  }
  lines.add_tables(sum, k[0]);
  lines.store_gradients(p.q, p.q.head(bh, p.heads), dout, dout.head(bh, p.heads), k[0]);
  if (dq.data) store_rows<D>(sum, p.scale, p.scale, dq.head(bh, p.heads), dq, row0, p.queries);
}

/// dk and dv. A warp owns 16 keys and their values; queries and their dout pass by 16 at a time, so scores are
/// transposed: row = key, column = query. lse and delta of a tile are copied beside it, between the same barriers. With
/// D = 32 three blocks an SM are asked for, because ptxas would spill for four.
template <int D, bool kDropout, class Terms>
__global__ void __launch_bounds__(kBlock, D == 32 ? 3 : 0)
    attention_dkv_mma_kernel(Problem<bf16> p, Terms terms, Grid<const bf16> dout, const float* lse, const float* delta,
                             Grid<bf16> dk, Grid<bf16> dv, int64_t blocks) {
  VITRINE_SHARED_ALIGNED(16, bf16, q, [2][kTile][D + 8]);
  VITRINE_SHARED_ALIGNED(16, bf16, g, [2][kTile][D + 8]);
  VITRINE_SHARED(float, tile_lse, [kTile]);
  VITRINE_SHARED(float, tile_delta, [kTile]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / blocks, row0 = blockIdx.x % blocks * kRows + threadIdx.x / cuda::kWarp * 16;
  const bf16 *queries = p.q.head(bh, p.heads), *douts = dout.head(bh, p.heads);
  const Scores<bf16> scores(p, bh);
  uint32_t k[D / 16][4], v[D / 16][4];
  load_fragments<D>(k, p.k.head(bh, p.heads), p.k.row, row0, p.keys);
  load_fragments<D>(v, p.v.head(bh, p.heads), p.v.row, row0, p.keys);
  typename Terms::template Lines<D, false> lines(terms, raw, bh, row0);
  lines.start(k, q[0]);
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
    lines.place(i0);
    cuda::cp_async_wait<1>();
    __syncthreads();
    lines.multiply(q[at], g[at]);
#pragma unroll 1
    for (int n = 0; n < kTile; n += 16) {
      float w[2][4], ds[2][4];
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        multiply_rows<D>(w[side], k, q[at], n + 8 * side);
        lines.add_scores(w[side], n + 8 * side);
        multiply_rows<D>(ds[side], v, g[at], n + 8 * side);
        lines.add_products(ds[side], n + 8 * side);
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
      lines.put_scores(a, n);
      add_rows<D>(sum_k, a, q[at], n);
    }
    lines.sum_scores();
    __syncthreads();
  }
  lines.add_tables(sum_k, q[0]);
  lines.store_gradients(p.k, p.k.head(bh, p.heads), {}, nullptr, q[0]);
  if (dk.data) store_rows<D>(sum_k, p.scale, p.scale, dk.head(bh, p.heads), dk, row0, p.keys);
  if (dv.data) store_rows<D>(sum_v, 1, 1, dv.head(bh, p.heads), dv, row0, p.keys);
}

/// dq and dbias, and what the terms sum by queries.
template <class Terms>
void launch_dq(const AttentionInputs& in, const Terms& terms, int64_t shared, const Tensor& lse, const Tensor& dout,
               AttentionGradients& to) {
  const int64_t heads = in.q.size(0) * in.q.size(1), blocks = blocks_of(in.q.size(2));
  choose(in, [&]<int D, bool kDropout>() {
    cuda::launch("attention_dq_mma", attention_dq_mma_kernel<D, kDropout, Terms>,
                 {.grid = heads * blocks, .block = kBlock, .shared = shared}, problem_of<bf16>(in), terms,
                 grid_of<bf16>(dout), lse.data<float>(), to.delta.data<float>(), writable_grid<bf16>(to.dq),
                 to.dbias.defined() ? to.dbias.mutable_data<bf16>() : nullptr, blocks);
  });
}

/// dk and dv, and what the terms sum by keys.
template <class Terms>
void launch_dkv(const AttentionInputs& in, const Terms& terms, int64_t shared, const Tensor& lse, const Tensor& dout,
                AttentionGradients& to) {
  const int64_t heads = in.q.size(0) * in.q.size(1), blocks = blocks_of(in.k.size(2));
  choose(in, [&]<int D, bool kDropout>() {
    cuda::launch("attention_dkv_mma", attention_dkv_mma_kernel<D, kDropout, Terms>,
                 {.grid = heads * blocks, .block = kBlock, .shared = shared}, problem_of<bf16>(in), terms,
                 grid_of<bf16>(dout), lse.data<float>(), to.delta.data<float>(), writable_grid<bf16>(to.dk),
                 writable_grid<bf16>(to.dv), blocks);
  });
}

}  // namespace mma
}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
