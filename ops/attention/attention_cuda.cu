#include "core/cuda/reduce.h"
#include "ops/attention/attention_cuda.h"

// Plain kernels for any dtype, head size and strides. A block has four warps; a warp owns one row (a query, or a key
// for dk and dv) and its lanes own the 32 columns of a tile (keys, or queries). Tiles pass through shared memory in
// chunks of 32 head dims, each between two block barriers: one before it is overwritten, one before it is read. The
// same barriers order what the lanes of a warp hand each other (its row, its weights): a chunk is loaded between each
// write of those and the reads, and between the reads and the next write. All threads of a block run the same loops.
namespace vitrine::ops {
namespace {
constexpr int kRows = 4, kTile = 32, kBlock = kRows * cuda::kWarp;

/// chunk[r][c] = x[row0 + r][d0 + c], zeros outside.
template <class T, class A>
__device__ void load_chunk(A (*chunk)[kTile + 1], const T* x, const Grid<const T>& g, int64_t row0, int64_t rows,
                           int64_t d0, int64_t d) {
  __syncthreads();
  for (int n = threadIdx.x; n < kTile * kTile; n += kBlock) {
    const int64_t r = n / kTile, c = n % kTile;
    const bool inside = row0 + r < rows && d0 + c < d;
    chunk[r][c] = inside ? A(x[(row0 + r) * g.row + (d0 + c) * g.column]) : A(0);
  }
  __syncthreads();
}

/// This lane's product: sum_d own[d] x[row0 + lane][d], where `own` is the warp's row in shared memory.
template <class T, class A>
__device__ A products(A (*chunk)[kTile + 1], const A* own, const T* x, const Grid<const T>& g, int64_t row0,
                      int64_t rows, int64_t d) {
  const int lane = threadIdx.x % cuda::kWarp;
  A sum = 0;
  for (int64_t d0 = 0; d0 < d; d0 += kTile) {
    load_chunk<T, A>(chunk, x, g, row0, rows, d0, d);
    const int n = int(min(int64_t(kTile), d - d0));
    for (int c = 0; c < n; ++c) sum += own[d0 + c] * chunk[lane][c];
  }
  return sum;
}

/// into[d] = into[d] * factor + sum_j weight[j] x[row0 + j][d]; each lane has its own d.
template <class T, class A>
__device__ void add_rows(A (*chunk)[kTile + 1], A* into, A factor, const A* weight, const T* x, const Grid<const T>& g,
                         int64_t row0, int64_t rows, int64_t d) {
  const int lane = threadIdx.x % cuda::kWarp;
  for (int64_t d0 = 0; d0 < d; d0 += kTile) {
    load_chunk<T, A>(chunk, x, g, row0, rows, d0, d);
    if (d0 + lane >= d) continue;
    A sum = into[d0 + lane] * factor;
    for (int j = 0; j < kTile; ++j) sum += weight[j] * chunk[j][lane];
    into[d0 + lane] = sum;
  }
}

/// The warp's row of x into shared memory; zeros if there is none.
template <class T, class A>
__device__ void load_row(A* own, const T* x, const Grid<const T>& g, int64_t i, int64_t rows, int64_t d) {
  for (int64_t c = threadIdx.x % cuda::kWarp; c < d; c += cuda::kWarp)
    own[c] = i < rows ? A(x[i * g.row + c * g.column]) : A(0);
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

template <class T, class A = accumulate_t<T>>
__global__ void attention_forward_kernel(Problem<T> p, Grid<T> out, A* lse, int64_t tiles) {
  VITRINE_SHARED(A, chunk, [kTile][kTile + 1]);
  VITRINE_SHARED(A, weights, [kRows][kTile]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int warp = threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / tiles, i = blockIdx.x % tiles * kRows + warp;
  A* q = reinterpret_cast<A*>(raw) + warp * 2 * p.d;
  A* o = q + p.d;
  const Scores<T> scores(p, bh);
  load_row(q, p.q.head(bh, p.heads), p.q, i, p.queries, p.d);
  clear_row(o, p.d);
  A m = -INFINITY, sum = 0;
  for (int64_t j0 = 0; j0 < p.keys; j0 += kTile) {
    const A product = products<T, A>(chunk, q, p.k.head(bh, p.heads), p.k, j0, p.keys, p.d);
    const A s = scores.logit(product, i, j0 + lane);
    const A larger = max(m, cuda::warp_reduce<cuda::Max>(s)), base = larger == A(-INFINITY) ? A(0) : larger;
    const A w = exp(s - base), shrink = exp(m - base);
    sum = sum * shrink + cuda::warp_reduce<cuda::Sum>(w);
    m = larger;
    weights[warp][lane] = p.drop.threshold && w > 0 ? w * scores.kept(i, j0 + lane) : w;
    add_rows<T, A>(chunk, o, shrink, weights[warp], p.v.head(bh, p.heads), p.v, j0, p.keys, p.d);
  }
  store_row(o, sum == 0 ? A(0) : 1 / sum, out.head(bh, p.heads), out, i, p.queries, p.d);
  if (lane == 0 && i < p.queries) lse[bh * p.queries + i] = sum == 0 ? A(INFINITY) : m + log(sum);
}

/// delta_i = sum_d dout_id out_id, a warp per row.
template <class T, class A = accumulate_t<T>>
__global__ void attention_delta_kernel(Grid<const T> out, Grid<const T> dout, A* delta, int64_t rows, int64_t heads,
                                       int64_t queries, int64_t d) {
  const int64_t row = int64_t(blockIdx.x) * kRows + threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
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
template <class T, class A = accumulate_t<T>>
__global__ void attention_dq_kernel(Problem<T> p, Grid<const T> dout, const A* lse, const A* delta, Grid<T> dq,
                                    T* dbias, int64_t tiles) {
  VITRINE_SHARED(A, chunk, [kTile][kTile + 1]);
  VITRINE_SHARED(A, weights, [kRows][kTile]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int warp = threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / tiles, i = blockIdx.x % tiles * kRows + warp;
  A *q = reinterpret_cast<A*>(raw) + warp * 3 * p.d, *g = q + p.d, *sum = g + p.d;
  const Scores<T> scores(p, bh);
  load_row(q, p.q.head(bh, p.heads), p.q, i, p.queries, p.d);
  load_row(g, dout.head(bh, p.heads), dout, i, p.queries, p.d);
  clear_row(sum, p.d);
  const bool inside = i < p.queries;
  const A row_lse = inside ? lse[bh * p.queries + i] : A(INFINITY);
  const A row_delta = inside ? delta[bh * p.queries + i] : A(0);
  for (int64_t j0 = 0; j0 < p.keys; j0 += kTile) {
    const int64_t j = j0 + lane;
    const T* k = p.k.head(bh, p.heads);
    A dp = products<T, A>(chunk, g, p.v.head(bh, p.heads), p.v, j0, p.keys, p.d);
    const A w = exp(scores.logit(products<T, A>(chunk, q, k, p.k, j0, p.keys, p.d), i, j) - row_lse);
    if (p.drop.threshold) dp *= scores.kept(i, j);
    const A ds = w * (dp - row_delta);
    if (dbias && inside && j < p.keys) dbias[(bh * p.queries + i) * p.keys + j] = T(ds);
    weights[warp][lane] = ds;
    add_rows<T, A>(chunk, sum, A(1), weights[warp], k, p.k, j0, p.keys, p.d);
  }
  if (dq.data) store_row(sum, p.scale, dq.head(bh, p.heads), dq, i, p.queries, p.d);
}

/// dk and dv: a warp owns a key.
template <class T, class A = accumulate_t<T>>
__global__ void attention_dkv_kernel(Problem<T> p, Grid<const T> dout, const A* lse, const A* delta, Grid<T> dk,
                                     Grid<T> dv, int64_t tiles) {
  VITRINE_SHARED(A, chunk, [kTile][kTile + 1]);
  VITRINE_SHARED(A, dscores, [kRows][kTile]);
  VITRINE_SHARED(A, weights, [kRows][kTile]);
  VITRINE_SHARED_DYNAMIC(raw);
  const int warp = threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  const int64_t bh = blockIdx.x / tiles, j = blockIdx.x % tiles * kRows + warp;
  A *k = reinterpret_cast<A*>(raw) + warp * 4 * p.d, *v = k + p.d, *sum_k = v + p.d, *sum_v = sum_k + p.d;
  const Scores<T> scores(p, bh);
  load_row(k, p.k.head(bh, p.heads), p.k, j, p.keys, p.d);
  load_row(v, p.v.head(bh, p.heads), p.v, j, p.keys, p.d);
  clear_row(sum_k, p.d);
  clear_row(sum_v, p.d);
  for (int64_t i0 = 0; i0 < p.queries; i0 += kTile) {
    const int64_t i = i0 + lane;
    const T *q = p.q.head(bh, p.heads), *g = dout.head(bh, p.heads);
    A dp = products<T, A>(chunk, v, g, dout, i0, p.queries, p.d);
    const A s = scores.logit(products<T, A>(chunk, k, q, p.q, i0, p.queries, p.d), i, j);
    const A w = i < p.queries ? exp(s - lse[bh * p.queries + i]) : A(0);
    const A z = p.drop.threshold && i < p.queries ? scores.kept(i, j) : A(1);
    dscores[warp][lane] = i < p.queries ? w * (z * dp - delta[bh * p.queries + i]) : A(0);
    weights[warp][lane] = z * w;
    if (dk.data) add_rows<T, A>(chunk, sum_k, A(1), dscores[warp], q, p.q, i0, p.queries, p.d);
    if (dv.data) add_rows<T, A>(chunk, sum_v, A(1), weights[warp], g, dout, i0, p.queries, p.d);
  }
  if (dk.data) store_row(sum_k, p.scale, dk.head(bh, p.heads), dk, j, p.keys, p.d);
  if (dv.data) store_row(sum_v, A(1), dv.head(bh, p.heads), dv, j, p.keys, p.d);
}

int64_t tiles_of(int64_t rows) { return (rows + kRows - 1) / kRows; }

void forward(const AttentionInputs& in, Tensor& out, Tensor& lse) {
  if (launch_mma_forward(in, out, lse)) return;
  const int64_t heads = in.q.size(0) * in.q.size(1), tiles = tiles_of(in.q.size(2));
  dispatch_floating(in.q.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const int64_t shared = 2 * kRows * in.q.size(3) * int64_t(sizeof(A));
    cuda::launch("attention_forward", attention_forward_kernel<T>,
                 {.grid = heads * tiles, .block = kBlock, .shared = shared}, problem_of<T>(in), writable_grid<T>(out),
                 lse.mutable_data<A>(), tiles);
  });
}

template <class T>
void launch_backward(const AttentionInputs& in, const Tensor& lse, const Tensor& dout, AttentionGradients& to) {
  using A = accumulate_t<T>;
  const int64_t heads = in.q.size(0) * in.q.size(1), row = kRows * in.q.size(3) * int64_t(sizeof(A));
  const A *sums = lse.data<A>(), *delta = to.delta.data<A>();
  if (to.dq.defined() || to.dbias.defined()) {
    const int64_t tiles = tiles_of(in.q.size(2));
    cuda::launch("attention_dq", attention_dq_kernel<T>, {.grid = heads * tiles, .block = kBlock, .shared = 3 * row},
                 problem_of<T>(in), grid_of<T>(dout), sums, delta, writable_grid<T>(to.dq),
                 to.dbias.defined() ? to.dbias.mutable_data<T>() : nullptr, tiles);
  }
  if (to.dk.defined() || to.dv.defined()) {
    const int64_t tiles = tiles_of(in.k.size(2));
    cuda::launch("attention_dkv", attention_dkv_kernel<T>, {.grid = heads * tiles, .block = kBlock, .shared = 4 * row},
                 problem_of<T>(in), grid_of<T>(dout), sums, delta, writable_grid<T>(to.dk), writable_grid<T>(to.dv),
                 tiles);
  }
}

void backward(const AttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& to) {
  const int64_t queries = in.q.size(2), rows = in.q.size(0) * in.q.size(1) * queries;
  dispatch_floating(in.q.dtype(), [&]<class T>() {
    cuda::launch("attention_delta", attention_delta_kernel<T>, {.grid = tiles_of(rows), .block = kBlock},
                 grid_of<T>(out), grid_of<T>(dout), to.delta.mutable_data<accumulate_t<T>>(), rows, in.q.size(1),
                 queries, in.q.size(3));
    if (!launch_mma_backward(in, lse, dout, to)) launch_backward<T>(in, lse, dout, to);
  });
}

const Bind bind_forward(attention_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(attention_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
