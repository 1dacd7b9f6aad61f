#pragma once
#include "ops/attention/attention_rows_cuda.h"
#include "ops/relpos/relpos_view.h"

/// The terms of rpe_attention for the plain kernels of attention, which run where those of rpe_attention_mma.cu do not
/// apply. As there a warp's row is its "own" side, a query (the forward pass and dq) or a key (dk and dv), and a tile
/// the "other". The row's products with all buckets, and the sums by bucket over the other side, are lists of K numbers
/// in shared memory, or in device memory where they are more than kListBytes. The products of the other side's rows
/// (with q's table in the forward pass) would be made anew for each four rows, so they are made before, [B, H, N, K];
/// and the backward pass writes each row's sums once, for the gradients of the tables. Bucket t belongs to lane t % 32
/// of the warp that owns the row, which adds the weights of a tile in ascending order. No two threads write one sum,
/// and nothing is [N, N].
namespace vitrine::ops {
inline namespace VITRINE_WORLD {

constexpr int64_t kListBytes = 48 << 10;  ///< of a block's four rows: leaves room for four blocks on an SM

/// One call of one kernel. A pointer is null where there is no such table, or nobody wants those sums.
template <class T, class A = accumulate_t<T>>
struct RpeRowsTerms {
  RelposView first, second;  ///< the same twice if there is one index
  int indices;
  bool shared = true;
  int64_t heads = 0, n = 0, buckets = 0;  ///< buckets of all indices
  A scale = 1;
  const T *own_table = nullptr, *value_table = nullptr;  ///< contextual, [Ht, K, D]
  const T *own_bias = nullptr, *other_bias = nullptr;    ///< [Ht, K]
  const A *other = nullptr, *other_values = nullptr;     ///< products of the other side's rows: scale x.W, dout.Wv
  bool own_values = false;                               ///< the row's dout.Wv is wanted
  bool sums_weights = false, sums_scores = false;
  A *weight_sums = nullptr, *score_sums = nullptr;  ///< [B, H, N, K] for z p and ds, where they are written at the end
  A* lists = nullptr;                               ///< in device memory [B, H, N, list_count() K]; else null

  static constexpr int64_t kTileBytes = kRowBlock * 2 * (sizeof(A) + sizeof(int32_t));

  VITRINE_HD int64_t list_count() const { return (own_table != nullptr) + own_values + sums_weights + sums_scores; }
  int64_t list_bytes() const { return kRowWarps * list_count() * buckets * int64_t(sizeof(A)); }
  int64_t shared_bytes() const { return kTileBytes + (lists ? 0 : list_bytes()); }

  __device__ const RelposView& index(int x) const { return x ? second : first; }
  __device__ int64_t head(int64_t bh) const { return shared ? 0 : bh % heads; }

  /// The warp's row of the own side.
  struct Line {
    const RpeRowsTerms& call;
    int64_t bh, fixed;
    A *weights, *scores;                         ///< of the warp's tile, in shared memory
    int32_t* ids;                                ///< [2][32]: id(fixed, other) of the tile; -1 outside
    A *own, *values, *weight_sums, *score_sums;  ///< lists; each is written by the lanes that own its buckets

    __device__ bool inside() const { return fixed < call.n; }
    __device__ static int lane() { return int(threadIdx.x % cuda::kWarp); }
    __device__ int64_t line(int64_t i) const { return (bh * call.n + i) * call.buckets; }

    /// list[t] = factor sum_c x[c] table[t][c], where x is the warp's row in shared memory.
    __device__ void multiply(const A* x, int64_t d, const T* table, A factor, A* list) const {
      const T* w = table + call.head(bh) * call.buckets * d;
      for (int64_t t = lane(); t < call.buckets; t += cuda::kWarp) {
        A total = 0;
        for (int64_t c = 0; c < d; ++c) total += x[c] * A(w[t * d + c]);
        list[t] = total * factor;
      }
    }
    __device__ void start(const A* x, int64_t d) {
      __syncwarp();
      if (!inside()) return;
      if (call.own_table) multiply(x, d, call.own_table, call.scale, own);
      for (int64_t t = lane(); t < call.buckets; t += cuda::kWarp) {
        if (call.sums_weights) weight_sums[t] = 0;
        if (call.sums_scores) score_sums[t] = 0;
      }
    }
    __device__ void start_products(const A* dout, int64_t d) {
      if (call.own_values && inside()) multiply(dout, d, call.value_table, A(1), values);
    }

    __device__ A logit(A s, int64_t to) const {
      if (s == A(-INFINITY)) return s;
      const int64_t table = call.head(bh) * call.buckets;
      for (int x = 0, base = 0; x < call.indices; base += int(call.index(x).buckets), ++x) {
        const int64_t id = base + call.index(x).id(fixed, to), mirrored = base + call.index(x).id(to, fixed);
        if (call.own_table) s += own[id];
        if (call.other) s += call.other[line(to) + mirrored];
        if (call.own_bias) s += A(call.own_bias[table + id]);
        if (call.other_bias) s += A(call.other_bias[table + mirrored]);
      }
      return s;
    }
    __device__ A product(A dp, int64_t to) const {
      if (!inside() || to >= call.n) return dp;
      for (int x = 0, base = 0; x < call.indices; base += int(call.index(x).buckets), ++x) {
        if (call.own_values) dp += values[base + call.index(x).id(fixed, to)];
        if (call.other_values) dp += call.other_values[line(to) + base + call.index(x).id(to, fixed)];
      }
      return dp;
    }

    __device__ void put_ids(int64_t to) {
      const bool in_grid = inside() && to < call.n;
      ids[lane()] = in_grid ? int32_t(call.first.id(fixed, to)) : -1;
      ids[cuda::kWarp + lane()] =
          in_grid && call.indices > 1 ? int32_t(call.first.buckets + call.second.id(fixed, to)) : -1;
    }
    __device__ void put_weight(A w, int64_t to) {
      if (!call.sums_weights) return;
      put_ids(to);
      weights[lane()] = w;
    }
    __device__ void put_score(A ds, int64_t to) {
      if (!call.sums_scores) return;
      if (!call.sums_weights) put_ids(to);
      scores[lane()] = ds;
    }

    /// sums[t] = sums[t] * factor + the values of the tile whose id is t.
    __device__ void sum(A* sums, A factor, const A* tile) const {
      __syncwarp();
      if (!inside()) return;
      for (int64_t t = lane(); t < call.buckets; t += cuda::kWarp) {
        A total = sums[t] * factor;
        for (int c = 0; c < cuda::kWarp; ++c)
          if (ids[c] == t || ids[cuda::kWarp + c] == t) total += tile[c];
        sums[t] = total;
      }
    }
    __device__ void sum_weights(A factor) {
      if (call.sums_weights) sum(weight_sums, factor, weights);
    }
    __device__ void sum_scores() {
      if (call.sums_scores) sum(score_sums, A(1), scores);
    }

    /// into[c] += sum_t sums[t] table[t][c].
    __device__ void add_products(A* into, int64_t d, const A* sums, const T* table) const {
      __syncwarp();
      if (!table || !inside()) return;
      const T* w = table + call.head(bh) * call.buckets * d;
      for (int64_t c = lane(); c < d; c += cuda::kWarp) {
        A total = into[c];
        for (int64_t t = 0; t < call.buckets; ++t) total += sums[t] * A(w[t * d + c]);
        into[c] = total;
      }
    }
    __device__ void write(const A* sums, A* to) const {
      if (!to || !inside()) return;
      for (int64_t t = lane(); t < call.buckets; t += cuda::kWarp) to[line(fixed) + t] = sums[t];
    }
    __device__ void add_values(A* out, int64_t d) const { add_products(out, d, weight_sums, call.value_table); }
    __device__ void add_own(A* into, int64_t d) const {
      add_products(into, d, score_sums, call.own_table);
      write(score_sums, call.score_sums);
      write(weight_sums, call.weight_sums);
    }
    __device__ void add_keys(A* dq, int64_t d) const { add_own(dq, d); }
    __device__ void add_queries(A* dk, int64_t d) const { add_own(dk, d); }
  };

  __device__ Line row(unsigned char* raw, int warp, int64_t bh, int64_t i) const {
    A* weights = reinterpret_cast<A*>(raw) + warp * cuda::kWarp;
    int32_t* ids = reinterpret_cast<int32_t*>(reinterpret_cast<A*>(raw) + 2 * kRowBlock) + warp * 2 * cuda::kWarp;
    const int64_t size = list_count() * buckets;
    A* own = lists ? lists + (bh * n + i) * size : reinterpret_cast<A*>(raw + kTileBytes) + warp * size;
    A* values = own + (own_table ? buckets : 0);
    A* weight_list = values + (own_values ? buckets : 0);
    return {*this, bh,  i,      weights,     weights + kRowBlock,
            ids,   own, values, weight_list, weight_list + (sums_weights ? buckets : 0)};
  }
  __device__ Line column(unsigned char* raw, int warp, int64_t bh, int64_t j) const { return row(raw, warp, bh, j); }
};

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
