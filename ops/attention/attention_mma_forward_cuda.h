#pragma once
#include "ops/attention/attention_mma_cuda.h"

/// Private to attention and the ops that add terms to it.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {
namespace mma {

/// A warp owns 16 queries. The maximum and the sum of a row are in the four lanes of a quad, the sum in four parts that
/// meet at the end.
template <int D, bool kDropout, class Terms>
__global__ void __launch_bounds__(kBlock)
    attention_forward_mma_kernel(Problem<bf16> p, Terms terms, Grid<bf16> out, float* lse, int64_t blocks) {
  VITRINE_SHARED_ALIGNED(16, bf16, k, [2][kTile][D + 8]);
  VITRINE_SHARED_ALIGNED(16, bf16, v, [2][kTile][D + 8]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / blocks, row0 = blockIdx.x % blocks * kRows + threadIdx.x / cuda::kWarp * 16;
  const bf16 *keys = p.k.head(bh, p.heads), *values = p.v.head(bh, p.heads);
  const Scores<bf16> scores(p, bh);
  uint32_t q[D / 16][4];
  load_fragments<D>(q, p.q.head(bh, p.heads), p.q.row, row0, p.queries);
  typename Terms::template Lines<D, true> lines(terms, raw, bh, row0);
  lines.start(q, k[0]);
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
    lines.place(j0);
    cuda::cp_async_wait<1>();
    __syncthreads();
    lines.multiply(k[at], v[at]);
    float s[kTile / 8][4], larger[2] = {m[0], m[1]}, shrink[2];
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
      multiply_rows<D>(s[n], q, k[at], 8 * n);
      lines.add_scores(s[n], 8 * n);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        s[n][c] = scores.logit(s[n][c], row0 + lane / 4 + c / 2 * 8, j0 + 8 * n + lane % 4 * 2 + c % 2);
        larger[c / 2] = max(larger[c / 2], s[n][c]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      larger[half] = quad_max(larger[half]);
      const float base = larger[half] == -INFINITY ? 0.0f : larger[half];
      shrink[half] = weight(m[half] - base);
      m[half] = larger[half], larger[half] = base;
      sum[half] *= shrink[half];
#pragma unroll
      for (int n = 0; n < D / 8; ++n) o[n][2 * half] *= shrink[half], o[n][2 * half + 1] *= shrink[half];
    }
    uint32_t kept = 0;  // a bit per weight; the generator would need many registers in the unrolled loop below
    if constexpr (kDropout) {
#pragma unroll 1
      for (int n = 0; n < kTile / 8; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const bool keeps = scores.kept(row0 + lane / 4 + c / 2 * 8, j0 + 8 * n + lane % 4 * 2 + c % 2) > 0;
          kept |= uint32_t(keeps) << (4 * n + c);
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        s[n][c] = weight(s[n][c] - larger[c / 2]);
        sum[c / 2] += s[n][c];
        if constexpr (kDropout) s[n][c] *= kept >> (4 * n + c) & 1 ? float(p.drop.scale) : 0.0f;
      }
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; n += 2) {
      uint32_t w[4];
      to_fragment(w, s[n], s[n + 1]);
      add_rows<D>(o, w, v[at], 8 * n);
      lines.put_weights(w, 8 * n);
    }
    lines.sum_weights(shrink);
    __syncthreads();
  }
  lines.add_values(o, k[0]);
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

template <class Terms>
void launch_forward(const AttentionInputs& in, const Terms& terms, int64_t shared, Tensor& out, Tensor& lse) {
  const int64_t heads = in.q.size(0) * in.q.size(1), blocks = blocks_of(in.q.size(2));
  choose(in, [&]<int D, bool kDropout>() {
    cuda::launch("attention_forward_mma", attention_forward_mma_kernel<D, kDropout, Terms>,
                 {.grid = heads * blocks, .block = kBlock, .shared = shared}, problem_of<bf16>(in), terms,
                 writable_grid<bf16>(out), lse.mutable_data<float>(), blocks);
  });
}

}  // namespace mma
}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
