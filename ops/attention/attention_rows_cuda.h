#pragma once
#include "core/cuda/launch.h"
#include "core/cuda/reduce.h"
#include "core/cuda/vector.h"
#include "ops/attention/attention_inputs.h"

/// Plain kernels for any dtype, head size and strides. A block has four warps; a warp owns one row (a query, or a key
/// for dk and dv) and its lanes own the 32 columns of a tile (keys, or queries). Tiles pass through shared memory in
/// chunks of 32 head dims, each between two block barriers: one before it is overwritten, one before it is read. The
/// same barriers order what the lanes of a warp hand each other (its row, its weights): a chunk is loaded between each
/// write of those and the reads, and between the reads and the next write. All threads of a block run the same loops.
///
/// `Terms` is what a variant of attention adds (NoTerms lists it). Private to attention and the ops that add terms to
/// it.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {

constexpr int kRowWarps = 4, kRowTile = 32, kRowBlock = kRowWarps * cuda::kWarp;

/// A [B, H, rows, columns] tensor with any strides, in elements; without data it is absent.
template <class T>
struct Grid {
  T* data = nullptr;
  int64_t b = 0, h = 0, row = 0, column = 0;
  __device__ T* head(int64_t bh, int64_t heads) const { return data + bh / heads * b + bh % heads * h; }
};
template <class T>
Grid<const T> grid_of(const Tensor& x) {
  if (!x.defined()) return {};
  return {x.data<T>(), x.stride(0), x.stride(1), x.stride(2), x.stride(3)};
}
template <class T>
Grid<T> writable_grid(Tensor& x) {
  if (!x.defined()) return {};
  return {x.mutable_data<T>(), x.stride(0), x.stride(1), x.stride(2), x.stride(3)};
}

/// One call of attention, as a kernel's parameter.
template <class T>
struct Problem {
  Grid<const T> q, k, v, bias;
  Grid<const bool> mask;
  int64_t heads, queries, keys, d;
  accumulate_t<T> scale;
  DropMask drop;
};
template <class T>
Problem<T> problem_of(const AttentionInputs& in) {
  return {grid_of<T>(in.q), grid_of<T>(in.k), grid_of<T>(in.v), grid_of<T>(in.bias), grid_of<bool>(in.mask),
          in.q.size(1),     in.q.size(2),     in.k.size(2),     in.q.size(3),        accumulate_t<T>(in.scale),
          in.drop};
}

/// What turns a product q_i k_j of one head into a logit, and its weight into a dropped one.
template <class T, class A = accumulate_t<T>>
struct Scores {
  __device__ Scores(const Problem<T>& p, int64_t bh)
      : bias(p.bias.data ? p.bias.head(bh, p.heads) : nullptr),
        mask(p.mask.data ? p.mask.head(bh, p.heads) : nullptr),
        first(bh * p.queries),
        problem(p) {}

  /// -inf where (i, j) is masked or outside.
  __device__ A logit(A product, int64_t i, int64_t j) const {
    if (i >= problem.queries || j >= problem.keys) return A(-INFINITY);
    if (mask && !mask[i * problem.mask.row + j * problem.mask.column]) return A(-INFINITY);
    const A s = product * problem.scale;
    return bias ? s + A(bias[i * problem.bias.row + j * problem.bias.column]) : s;
  }
  /// z_ij; only called if drop.threshold is not 0.
  __device__ A kept(int64_t i, int64_t j) const {
    const int64_t index = (first + i) * problem.keys + j;
    return problem.drop.keeps(problem.drop.draw.bits(index)) ? A(problem.drop.scale) : A(0);
  }

  const T* bias;
  const bool* mask;
  int64_t first;  ///< row of query 0 in [B * H * Lq]
  const Problem<T>& problem;
};

/// Plain attention: no terms. Row is those of a query, Column of a key, each held by all lanes of the warp that owns
/// it; `raw` is shared_bytes() of the block's shared memory. What start_ wrote is read after at least one barrier of
/// the block, and the next put_ comes at least one after what sum_ read.
template <class A>
struct NoTerms {
  int64_t shared_bytes() const { return 0; }
  struct Line {
    __device__ void start(const A*, int64_t) {}           ///< with the warp's row of q (Column: of k), in shared memory
    __device__ void start_products(const A*, int64_t) {}  ///< with its row of dout, for dq
    __device__ A logit(A s, int64_t) const { return s; }  ///< s with its terms at a key (Column: a query)
    __device__ A product(A dp, int64_t) const { return dp; }  ///< the same for the product of dout and v
    __device__ void put_weight(A, int64_t) {}                 ///< this lane's z p
    __device__ void put_score(A, int64_t) {}                  ///< this lane's ds
    __device__ void sum_weights(A) {}                         ///< sums times a factor, plus the tile that was put
    __device__ void sum_scores() {}
    __device__ void add_values(A*, int64_t) {}   ///< adds the sums' products to out,
    __device__ void add_keys(A*, int64_t) {}     ///< to dq,
    __device__ void add_queries(A*, int64_t) {}  ///< to dk
  };
  __device__ Line row(unsigned char*, int, int64_t, int64_t) const { return {}; }
  __device__ Line column(unsigned char*, int, int64_t, int64_t) const { return {}; }
};

/// Elements from one row in shared memory to the next: rows are read by fours, their last one filled with zeros.
VITRINE_HD inline int64_t row_dims(int64_t d) { return (d + 3) / 4 * 4; }

/// chunk[r][c] = x[row0 + r][d0 + c], zeros outside. A thread has one column.
template <class T, class A>
__device__ void load_chunk(A (*chunk)[kRowTile + 1], const T* x, const Grid<const T>& g, int64_t row0, int64_t rows,
                           int64_t d0, int64_t d) {
  const int first = threadIdx.x / kRowTile, c = threadIdx.x % kRowTile;
  const T* from = x + (row0 + first) * g.row + (d0 + c) * g.column;
  const int64_t end = d0 + c < d ? rows - row0 : 0, step = kRowBlock / kRowTile * g.row;
  __syncthreads();
#pragma unroll
  for (int r = first; r < kRowTile; r += kRowBlock / kRowTile, from += step) chunk[r][c] = r < end ? A(*from) : A(0);
  __syncthreads();
}

/// This lane's product: sum_d own[d] x[row0 + lane][d], where `own` is the warp's row in shared memory.
template <class T, class A>
__device__ A products(A (*chunk)[kRowTile + 1], const A* own, const T* x, const Grid<const T>& g, int64_t row0,
                      int64_t rows, int64_t d) {
  const int lane = threadIdx.x % cuda::kWarp;
  A sum = 0;
  for (int64_t d0 = 0; d0 < d; d0 += kRowTile) {
    load_chunk<T, A>(chunk, x, g, row0, rows, d0, d);
    const int n = int(min(int64_t(kRowTile), d - d0));
    for (int c = 0; c < n; c += 4) {
      const auto four = cuda::load4(own + d0 + c);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum += four[e] * chunk[lane][c + e];
    }
  }
  return sum;
}

/// into[d] = into[d] * factor + sum_j weight[j] x[row0 + j][d]; each lane has its own d.
template <class T, class A>
__device__ void add_rows(A (*chunk)[kRowTile + 1], A* into, A factor, const A* weight, const T* x,
                         const Grid<const T>& g, int64_t row0, int64_t rows, int64_t d) {
  const int lane = threadIdx.x % cuda::kWarp;
  for (int64_t d0 = 0; d0 < d; d0 += kRowTile) {
    load_chunk<T, A>(chunk, x, g, row0, rows, d0, d);
    if (d0 + lane >= d) continue;
    A sum = into[d0 + lane] * factor;
#pragma unroll
    for (int j = 0; j < kRowTile; j += 4) {
      const auto four = cuda::load4(weight + j);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum += four[e] * chunk[j + e][lane];
    }
    into[d0 + lane] = sum;
  }
}

/// The warp's row of x into shared memory; zeros if there is none.
template <class T, class A>
__device__ void load_row(A* own, const T* x, const Grid<const T>& g, int64_t i, int64_t rows, int64_t d) {
  for (int64_t c = threadIdx.x % cuda::kWarp; c < row_dims(d); c += cuda::kWarp)
    own[c] = i < rows && c < d ? A(x[i * g.row + c * g.column]) : A(0);
}
template <class T, class A>
__device__ void store_row(const A* own, A factor, T* x, const Grid<T>& g, int64_t i, int64_t rows, int64_t d) {
  if (i >= rows) return;
  for (int64_t c = threadIdx.x % cuda::kWarp; c < d; c += cuda::kWarp) x[i * g.row + c * g.column] = T(own[c] * factor);
}
template <class A>
__device__ void clear_row(A* own, int64_t d) {
  for (int64_t c = threadIdx.x % cuda::kWarp; c < d; c += cuda::kWarp) own[c] = 0;
}

template <class T, class Terms, class A = accumulate_t<T>>
__global__ void attention_forward_kernel(Problem<T> p, Terms terms, Grid<T> out, A* lse, int64_t tiles) {
  VITRINE_SHARED(A, chunk, [kRowTile][kRowTile + 1]);
  VITRINE_SHARED_ALIGNED(16, A, weights, [kRowWarps][kRowTile]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int warp = threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / tiles, i = blockIdx.x % tiles * kRowWarps + warp;
  const int64_t d = row_dims(p.d);
  A *q = reinterpret_cast<A*>(raw) + warp * 2 * d, *o = q + d;
  const Scores<T> scores(p, bh);
  auto row = terms.row(raw + kRowWarps * 2 * d * int64_t(sizeof(A)), warp, bh, i);
  load_row(q, p.q.head(bh, p.heads), p.q, i, p.queries, p.d);
  clear_row(o, p.d);
  row.start(q, p.d);
  A m = -INFINITY, sum = 0;
  for (int64_t j0 = 0; j0 < p.keys; j0 += kRowTile) {
    const A product = products<T, A>(chunk, q, p.k.head(bh, p.heads), p.k, j0, p.keys, p.d);
    const A s = row.logit(scores.logit(product, i, j0 + lane), j0 + lane);
    const A larger = max(m, cuda::warp_reduce<cuda::Max>(s)), base = larger == A(-INFINITY) ? A(0) : larger;
    const A w = exp(s - base), shrink = exp(m - base);
    sum = sum * shrink + cuda::warp_reduce<cuda::Sum>(w);
    m = larger;
    const A kept = p.drop.threshold && w > 0 ? w * scores.kept(i, j0 + lane) : w;
    weights[warp][lane] = kept;
    row.put_weight(kept, j0 + lane);
    add_rows<T, A>(chunk, o, shrink, weights[warp], p.v.head(bh, p.heads), p.v, j0, p.keys, p.d);
    row.sum_weights(shrink);
  }
  row.add_values(o, p.d);
  store_row(o, sum == 0 ? A(0) : 1 / sum, out.head(bh, p.heads), out, i, p.queries, p.d);
  if (lane == 0 && i < p.queries) lse[bh * p.queries + i] = sum == 0 ? A(INFINITY) : m + log(sum);
}

/// delta_i = sum_d dout_id out_id, a warp per row.
template <class T, class A = accumulate_t<T>>
__global__ void attention_delta_kernel(Grid<const T> out, Grid<const T> dout, A* delta, int64_t rows, int64_t heads,
                                       int64_t queries, int64_t d) {
  const int64_t row = int64_t(blockIdx.x) * kRowWarps + threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  A sum = 0;
  if (row < rows) {
    const int64_t bh = row / queries, i = row % queries;
    const T *x = out.head(bh, heads) + i * out.row, *y = dout.head(bh, heads) + i * dout.row;
    for (int64_t c = lane; c < d; c += cuda::kWarp) sum += A(x[c * out.column]) * A(y[c * dout.column]);
  }
  sum = cuda::warp_reduce<cuda::Sum>(sum);
  if (row < rows && lane == 0) delta[row] = sum;
}

/// dq and dbias: a warp owns a query.
template <class T, class Terms, class A = accumulate_t<T>>
__global__ void attention_dq_kernel(Problem<T> p, Terms terms, Grid<const T> dout, const A* lse, const A* delta,
                                    Grid<T> dq, T* dbias, int64_t tiles) {
  VITRINE_SHARED(A, chunk, [kRowTile][kRowTile + 1]);
  VITRINE_SHARED_ALIGNED(16, A, weights, [kRowWarps][kRowTile]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int warp = threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / tiles, i = blockIdx.x % tiles * kRowWarps + warp;
  const int64_t d = row_dims(p.d);
  A *q = reinterpret_cast<A*>(raw) + warp * 3 * d, *g = q + d, *sum = g + d;
  const Scores<T> scores(p, bh);
  auto row = terms.row(raw + kRowWarps * 3 * d * int64_t(sizeof(A)), warp, bh, i);
  load_row(q, p.q.head(bh, p.heads), p.q, i, p.queries, p.d);
  load_row(g, dout.head(bh, p.heads), dout, i, p.queries, p.d);
  clear_row(sum, p.d);
  row.start(q, p.d);
  row.start_products(g, p.d);
  const bool inside = i < p.queries;
  const A row_lse = inside ? lse[bh * p.queries + i] : A(INFINITY);
  const A row_delta = inside ? delta[bh * p.queries + i] : A(0);
  for (int64_t j0 = 0; j0 < p.keys; j0 += kRowTile) {
    const int64_t j = j0 + lane;
    const T* k = p.k.head(bh, p.heads);
    A dp = row.product(products<T, A>(chunk, g, p.v.head(bh, p.heads), p.v, j0, p.keys, p.d), j);
    const A s = scores.logit(products<T, A>(chunk, q, k, p.k, j0, p.keys, p.d), i, j);
    const A w = exp(row.logit(s, j) - row_lse), z = p.drop.threshold ? scores.kept(i, j) : A(1);
    dp *= z;
    const A ds = w * (dp - row_delta);
    row.put_weight(z * w, j);
    row.put_score(ds, j);
    if (dbias && inside && j < p.keys) dbias[(bh * p.queries + i) * p.keys + j] = T(ds);
    weights[warp][lane] = ds;
    add_rows<T, A>(chunk, sum, A(1), weights[warp], k, p.k, j0, p.keys, p.d);
    row.sum_weights(A(1));
    row.sum_scores();
  }
  row.add_keys(sum, p.d);
  if (dq.data) store_row(sum, p.scale, dq.head(bh, p.heads), dq, i, p.queries, p.d);
}

/// dk and dv: a warp owns a key.
template <class T, class Terms, class A = accumulate_t<T>>
__global__ void attention_dkv_kernel(Problem<T> p, Terms terms, Grid<const T> dout, const A* lse, const A* delta,
                                     Grid<T> dk, Grid<T> dv, int64_t tiles) {
  VITRINE_SHARED(A, chunk, [kRowTile][kRowTile + 1]);
  VITRINE_SHARED_ALIGNED(16, A, dscores, [kRowWarps][kRowTile]);
  VITRINE_SHARED_ALIGNED(16, A, weights, [kRowWarps][kRowTile]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int warp = threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / tiles, j = blockIdx.x % tiles * kRowWarps + warp;
  const int64_t d = row_dims(p.d);
  A *k = reinterpret_cast<A*>(raw) + warp * 4 * d, *v = k + d, *sum_k = v + d, *sum_v = sum_k + d;
  const Scores<T> scores(p, bh);
  auto column = terms.column(raw + kRowWarps * 4 * d * int64_t(sizeof(A)), warp, bh, j);
  load_row(k, p.k.head(bh, p.heads), p.k, j, p.keys, p.d);
  load_row(v, p.v.head(bh, p.heads), p.v, j, p.keys, p.d);
  clear_row(sum_k, p.d);
  clear_row(sum_v, p.d);
  column.start(k, p.d);
  for (int64_t i0 = 0; i0 < p.queries; i0 += kRowTile) {
    const int64_t i = i0 + lane;
    const T *q = p.q.head(bh, p.heads), *g = dout.head(bh, p.heads);
    const A dp = column.product(products<T, A>(chunk, v, g, dout, i0, p.queries, p.d), i);
    const A s = column.logit(scores.logit(products<T, A>(chunk, k, q, p.q, i0, p.queries, p.d), i, j), i);
    const A w = i < p.queries ? exp(s - lse[bh * p.queries + i]) : A(0);
    const A z = p.drop.threshold && i < p.queries ? scores.kept(i, j) : A(1);
    const A ds = i < p.queries ? w * (z * dp - delta[bh * p.queries + i]) : A(0);
    dscores[warp][lane] = ds;
    weights[warp][lane] = z * w;
    column.put_score(ds, i);
    if (dk.data) add_rows<T, A>(chunk, sum_k, A(1), dscores[warp], q, p.q, i0, p.queries, p.d);
    if (dv.data) add_rows<T, A>(chunk, sum_v, A(1), weights[warp], g, dout, i0, p.queries, p.d);
    column.sum_scores();
  }
  column.add_queries(sum_k, p.d);
  if (dk.data) store_row(sum_k, p.scale, dk.head(bh, p.heads), dk, j, p.keys, p.d);
  if (dv.data) store_row(sum_v, A(1), dv.head(bh, p.heads), dv, j, p.keys, p.d);
}

inline int64_t row_tiles(int64_t rows) { return (rows + kRowWarps - 1) / kRowWarps; }

/// out and lse, as attention_forward has them.
template <class T, class Terms>
void launch_rows_forward(const AttentionInputs& in, const Terms& terms, Tensor& out, Tensor& lse) {
  using A = accumulate_t<T>;
  const int64_t heads = in.q.size(0) * in.q.size(1), tiles = row_tiles(in.q.size(2));
  const int64_t shared = 2 * kRowWarps * row_dims(in.q.size(3)) * int64_t(sizeof(A)) + terms.shared_bytes();
  cuda::launch("attention_forward", attention_forward_kernel<T, Terms>,
               {.grid = heads * tiles, .block = kRowBlock, .shared = shared}, problem_of<T>(in), terms,
               writable_grid<T>(out), lse.mutable_data<A>(), tiles);
}

/// Fills gradients.delta.
template <class T>
void launch_delta(const AttentionInputs& in, const Tensor& out, const Tensor& dout, AttentionGradients& to) {
  const int64_t queries = in.q.size(2), rows = in.q.size(0) * in.q.size(1) * queries;
  cuda::launch("attention_delta", attention_delta_kernel<T>, {.grid = row_tiles(rows), .block = kRowBlock},
               grid_of<T>(out), grid_of<T>(dout), to.delta.mutable_data<accumulate_t<T>>(), rows, in.q.size(1), queries,
               in.q.size(3));
}

/// dq and dbias, and what the terms sum by rows.
template <class T, class Terms>
void launch_rows_dq(const AttentionInputs& in, const Terms& terms, const Tensor& lse, const Tensor& dout,
                    AttentionGradients& to) {
  using A = accumulate_t<T>;
  const int64_t heads = in.q.size(0) * in.q.size(1), tiles = row_tiles(in.q.size(2));
  const int64_t shared = 3 * kRowWarps * row_dims(in.q.size(3)) * int64_t(sizeof(A)) + terms.shared_bytes();
  cuda::launch("attention_dq", attention_dq_kernel<T, Terms>,
               {.grid = heads * tiles, .block = kRowBlock, .shared = shared}, problem_of<T>(in), terms,
               grid_of<T>(dout), lse.data<A>(), to.delta.data<A>(), writable_grid<T>(to.dq),
               to.dbias.defined() ? to.dbias.mutable_data<T>() : nullptr, tiles);
}

/// dk and dv, and what the terms sum by columns.
template <class T, class Terms>
void launch_rows_dkv(const AttentionInputs& in, const Terms& terms, const Tensor& lse, const Tensor& dout,
                     AttentionGradients& to) {
  using A = accumulate_t<T>;
  const int64_t heads = in.q.size(0) * in.q.size(1), tiles = row_tiles(in.k.size(2));
  const int64_t shared = 4 * kRowWarps * row_dims(in.q.size(3)) * int64_t(sizeof(A)) + terms.shared_bytes();
  cuda::launch("attention_dkv", attention_dkv_kernel<T, Terms>,
               {.grid = heads * tiles, .block = kRowBlock, .shared = shared}, problem_of<T>(in), terms,
               grid_of<T>(dout), lse.data<A>(), to.delta.data<A>(), writable_grid<T>(to.dk), writable_grid<T>(to.dv),
               tiles);
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
