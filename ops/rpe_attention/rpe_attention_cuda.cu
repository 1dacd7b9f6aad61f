#include "ops/attention/attention_rows_cuda.h"
#include "ops/relpos/relpos_view.h"
#include "ops/rpe_attention/rpe_attention_cuda.h"

// The plain kernels of attention with terms, for every dtype, where those of rpe_attention_mma.cu do not apply. The
// products of queries with all buckets of k's table, of keys with q's and of dout with v's are made first, [B, H, N,
// K]; a lane reads them by id where it forms a logit. Sums by bucket are [B, H, N, K] too: those of a row belong to the
// warp that owns the row, and bucket t to its lane t % 32, which adds the weights of a tile in ascending order. No two
// threads write one sum, and nothing is [N, N].
namespace vitrine::ops {
namespace {

constexpr int kThreads = 128;

/// One call. A pointer is null where there is no such table, or nobody wants those sums.
template <class T, class A = accumulate_t<T>>
struct RpeTerms {
  RelposView first, second;  ///< the same twice if there is one index
  int indices;
  bool shared = true;
  int64_t heads = 0, n = 0, buckets = 0;                ///< buckets of all indices
  const T *wq = nullptr, *wk = nullptr, *wv = nullptr;  ///< contextual tables [Ht, K, D]
  const T *bq = nullptr, *bk = nullptr;                 ///< bias tables [Ht, K]
  const A *q_with_k = nullptr, *k_with_q = nullptr;     ///< scale q.Wk and scale k.Wq
  const A* dout_with_v = nullptr;                       ///< dout.Wv
  A *row_scores = nullptr, *row_weights = nullptr;      ///< of a query: sums of ds and of z p over a bucket's keys
  A* column_scores = nullptr;                           ///< of a key: sums of ds over a bucket's queries

  static constexpr int64_t kSharedBytes = kRowBlock * 2 * (sizeof(A) + sizeof(int32_t));

  __device__ const RelposView& index(int x) const { return x ? second : first; }
  __device__ int64_t head(int64_t bh) const { return shared ? 0 : bh % heads; }

  /// A row of scores (`fixed` is a query) or a column (a key), as attention's kernels see it.
  template <bool Row>
  struct Line {
    const RpeTerms& call;
    int64_t bh, fixed;
    A *weights, *scores;  ///< of the warp's tile, in shared memory
    int32_t* ids;         ///< [2][32]: id(fixed, other) of the tile; -1 outside

    __device__ bool inside() const { return fixed < call.n; }
    __device__ static int lane() { return int(threadIdx.x % cuda::kWarp); }
    __device__ int64_t line(int64_t i) const { return (bh * call.n + i) * call.buckets; }

    __device__ A logit(A s, int64_t other) const {
      if (s == A(-INFINITY)) return s;
      const int64_t i = Row ? fixed : other, j = Row ? other : fixed, table = call.head(bh) * call.buckets;
      for (int x = 0, base = 0; x < call.indices; base += int(call.index(x).buckets), ++x) {
        const int64_t id = base + call.index(x).id(i, j), mirrored = base + call.index(x).id(j, i);
        if (call.q_with_k) s += call.q_with_k[line(i) + id];
        if (call.k_with_q) s += call.k_with_q[line(j) + mirrored];
        if (call.bk) s += A(call.bk[table + id]);
        if (call.bq) s += A(call.bq[table + mirrored]);
      }
      return s;
    }
    __device__ A product(A dp, int64_t other) const {
      const int64_t i = Row ? fixed : other, j = Row ? other : fixed;
      if (!call.dout_with_v || i >= call.n || j >= call.n) return dp;
      for (int x = 0, base = 0; x < call.indices; base += int(call.index(x).buckets), ++x)
        dp += call.dout_with_v[line(i) + base + call.index(x).id(i, j)];
      return dp;
    }

    __device__ void put_ids(int64_t other) {
      const bool in_grid = inside() && other < call.n;
      ids[lane()] = in_grid ? int32_t(call.first.id(fixed, other)) : -1;
      ids[cuda::kWarp + lane()] =
          in_grid && call.indices > 1 ? int32_t(call.first.buckets + call.second.id(fixed, other)) : -1;
    }
    __device__ void put_weight(A w, int64_t other) {
      if (!call.row_weights) return;
      put_ids(other);
      weights[lane()] = w;
    }
    __device__ void put_score(A ds, int64_t other) {
      put_ids(other);
      scores[lane()] = ds;
    }

    /// sums[t] = sums[t] * factor + the values of the tile whose id is t.
    __device__ void sum(A* sums, A factor, const A* values) const {
      if (!sums || !inside()) return;
      for (int64_t t = lane(); t < call.buckets; t += cuda::kWarp) {
        A total = sums[line(fixed) + t] * factor;
        for (int c = 0; c < cuda::kWarp; ++c)
          if (ids[c] == t || ids[cuda::kWarp + c] == t) total += values[c];
        sums[line(fixed) + t] = total;
      }
    }
    __device__ void sum_weights(A factor) { sum(call.row_weights, factor, weights); }
    __device__ void sum_scores() { sum(Row ? call.row_scores : call.column_scores, A(1), scores); }

    /// into[c] += sum_t sums[t] table[t][c]. The barrier puts the sums of other lanes before the reads.
    __device__ void add_products(A* into, int64_t d, const A* sums, const T* table) const {
      __syncthreads();
      if (!sums || !table || !inside()) return;
      const T* w = table + call.head(bh) * call.buckets * d;
      for (int64_t c = lane(); c < d; c += cuda::kWarp) {
        A total = into[c];
        for (int64_t t = 0; t < call.buckets; ++t) total += sums[line(fixed) + t] * A(w[t * d + c]);
        into[c] = total;
      }
    }
    __device__ void add_values(A* out, int64_t d) const { add_products(out, d, call.row_weights, call.wv); }
    __device__ void add_keys(A* dq, int64_t d) const { add_products(dq, d, call.row_scores, call.wk); }
    __device__ void add_queries(A* dk, int64_t d) const { add_products(dk, d, call.column_scores, call.wq); }
  };

  template <bool Row>
  __device__ Line<Row> make(unsigned char* raw, int warp, int64_t bh, int64_t fixed) const {
    A* weights = reinterpret_cast<A*>(raw) + warp * cuda::kWarp;
    int32_t* ids = reinterpret_cast<int32_t*>(reinterpret_cast<A*>(raw) + 2 * kRowBlock) + warp * 2 * cuda::kWarp;
    return {*this, bh, fixed, weights, weights + kRowBlock, ids};
  }
  __device__ Line<true> row(unsigned char* raw, int warp, int64_t bh, int64_t i) const {
    return make<true>(raw, warp, bh, i);
  }
  __device__ Line<false> column(unsigned char* raw, int warp, int64_t bh, int64_t j) const {
    return make<false>(raw, warp, bh, j);
  }
};

/// y[bh, i, t] = factor * sum_c x[bh, i, c] table[h, t, c]; a thread per element.
template <class T, class A = accumulate_t<T>>
__global__ void table_products_kernel(Grid<const T> x, const T* table, A* y, A factor, int64_t count, int64_t heads,
                                      int64_t n, int64_t buckets, int64_t d, bool shared) {
  const int64_t e = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e >= count) return;
  const int64_t t = e % buckets, i = e / buckets % n, bh = e / buckets / n;
  const T* row = x.head(bh, heads) + i * x.row;
  const T* w = table + ((shared ? 0 : bh % heads) * buckets + t) * d;
  A sum = 0;
  for (int64_t c = 0; c < d; ++c) sum += A(row[c * x.column]) * A(w[c]);
  y[e] = sum * factor;
}

/// to[bh, t, c] = factor * sum_i sums[bh, i, t] x[bh, i, c], or sum_i sums[bh, i, t] without x (d = 1); a thread per
/// element, i in ascending order.
template <class T, class A = accumulate_t<T>>
__global__ void table_gradient_kernel(const A* sums, Grid<const T> x, A* to, A factor, int64_t count, int64_t heads,
                                      int64_t n, int64_t buckets, int64_t d) {
  const int64_t e = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e >= count) return;
  const int64_t c = e % d, t = e / d % buckets, bh = e / d / buckets;
  A sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const A part = sums[(bh * n + i) * buckets + t];
    sum += x.data ? part * A(x.head(bh, heads)[i * x.row + c * x.column]) : part;
  }
  to[e] = sum * factor;
}

/// A call's terms and the device memory they stand in.
template <class T, class A = accumulate_t<T>>
struct Call {
  explicit Call(const RpeAttentionInputs& in_)
      : in(in_),
        terms{.first = RelposView(in.indices.front()),
              .second = RelposView(in.indices.back()),
              .indices = int(in.indices.size())} {
    const Tensor& q = in.attention.q;
    for (const RelposIndex& index : in.indices) terms.buckets += index.buckets;
    terms.heads = q.size(1), terms.n = q.size(2);
    terms.wv = table(in.v);
    (in.bias ? terms.bq : terms.wq) = table(in.q);
    (in.bias ? terms.bk : terms.wk) = table(in.k);
    const A scale = A(in.attention.scale);
    if (terms.wk) terms.q_with_k = products(in.attention.q, terms.wk, scale);
    if (terms.wq) terms.k_with_q = products(in.attention.k, terms.wq, scale);
  }

  const T* table(const Tensor& w) {
    if (!w.defined()) return nullptr;
    terms.shared = w.size(0) == 1;
    return w.data<T>();
  }
  Tensor scratch(bool zero) {
    const Tensor& q = in.attention.q;
    Tensor x = empty({q.size(0), q.size(1), q.size(2), terms.buckets}, {dtype_of<A>, q.device()});
    if (zero) x.zero_();
    return kept.emplace_back(x);
  }
  const A* products(const Tensor& x, const T* w, A factor) {
    Tensor y = scratch(false);
    cuda::launch("rpe_products", table_products_kernel<T>,
                 {.grid = (y.numel() + kThreads - 1) / kThreads, .block = kThreads}, grid_of<T>(x), w,
                 y.mutable_data<A>(), factor, y.numel(), terms.heads, terms.n, terms.buckets, x.size(3), terms.shared);
    return y.data<A>();
  }
  A* sums() { return scratch(true).template mutable_data<A>(); }

  /// The gradient of a table from the sums; x undefined for a bias.
  void gradient(const A* sums, const Tensor& x, double factor, Tensor& to) {
    if (!to.defined()) return;
    cuda::launch("rpe_table_gradient", table_gradient_kernel<T>,
                 {.grid = (to.numel() + kThreads - 1) / kThreads, .block = kThreads}, sums, grid_of<T>(x),
                 to.mutable_data<A>(), A(factor), to.numel(), terms.heads, terms.n, terms.buckets,
                 x.defined() ? x.size(3) : 1);
  }

  const RpeAttentionInputs& in;
  RpeTerms<T> terms;
  std::vector<Tensor> kept;
};

void forward(const RpeAttentionInputs& in, Tensor& out, Tensor& lse) {
  if (launch_rpe_mma_forward(in, out, lse)) return;
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    Call<T> call(in);
    if (in.v.defined()) call.terms.row_weights = call.sums();
    launch_rows_forward<T>(in.attention, call.terms, out, lse);
  });
}

void backward(const RpeAttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& to, RpeTableGradients& tables) {
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    launch_delta<T>(in.attention, out, dout, to);
    if (launch_rpe_mma_backward(in, lse, dout, to, tables)) return;
    Call<T> call(in);
    auto& terms = call.terms;
    if (terms.wv) terms.dout_with_v = call.products(dout, terms.wv, 1);
    if (tables.v.defined()) terms.row_weights = call.sums();
    if (in.k.defined()) terms.row_scores = call.sums();
    if (in.q.defined()) terms.column_scores = call.sums();
    if (to.dq.defined() || tables.k.defined() || tables.v.defined())
      launch_rows_dq<T>(in.attention, terms, lse, dout, to);
    if (to.dk.defined() || to.dv.defined() || tables.q.defined())
      launch_rows_dkv<T>(in.attention, terms, lse, dout, to);
    const Tensor none;
    const double scale = in.bias ? 1 : in.attention.scale;
    call.gradient(terms.row_scores, in.bias ? none : in.attention.q, scale, tables.k);
    call.gradient(terms.column_scores, in.bias ? none : in.attention.k, scale, tables.q);
    call.gradient(terms.row_weights, dout, 1, tables.v);
  });
}

const Bind bind_forward(rpe_attention_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(rpe_attention_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
