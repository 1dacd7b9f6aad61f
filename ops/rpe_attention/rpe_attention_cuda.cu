#include "ops/rpe_attention/rpe_attention_cuda.h"
#include "ops/rpe_attention/rpe_rows_terms_cuda.h"

// The plain kernels, and which run: for a bf16 call those of rpe_attention_mma.cu where they apply.
namespace vitrine::ops {
namespace {

constexpr int kThreads = 128;

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

/// A call's device memory, and the terms of its kernels.
template <class T, class A = accumulate_t<T>>
class Call {
 public:
  explicit Call(const RpeAttentionInputs& in) : in_(in) {}

  /// `own` and `other` are the tables of k and q where a warp owns a query, of q and k where it owns a key; `x` the
  /// other side's rows.
  RpeRowsTerms<T> terms(const Tensor& own, const Tensor& other, const Tensor& x) {
    const Tensor& q = in_.attention.q;
    RpeRowsTerms<T> to{.first = RelposView(in_.indices.front()),
                       .second = RelposView(in_.indices.back()),
                       .indices = int(in_.indices.size()),
                       .heads = q.size(1),
                       .n = q.size(2),
                       .scale = A(in_.attention.scale)};
    for (const RelposIndex& index : in_.indices) to.buckets += index.buckets;
    for (const Tensor* table : {&in_.q, &in_.k, &in_.v})
      if (table->defined()) to.shared = table->size(0) == 1;
    (in_.bias ? to.own_bias : to.own_table) = own.defined() ? own.data<T>() : nullptr;
    if (in_.v.defined()) to.value_table = in_.v.data<T>();
    if (other.defined() && in_.bias) to.other_bias = other.data<T>();
    if (other.defined() && !in_.bias) to.other = products(to, x, other, to.scale);
    return to;
  }
  /// Gives the lists a place in device memory if they are too long for a block's.
  void place_lists(RpeRowsTerms<T>& terms) {
    if (terms.list_bytes() > kListBytes) terms.lists = scratch(terms.list_count() * terms.buckets);
  }
  /// [B, H, N, width]
  A* scratch(int64_t width) {
    const Tensor& q = in_.attention.q;
    return kept_.emplace_back(empty({q.size(0), q.size(1), q.size(2), width}, {dtype_of<A>, q.device()}))
        .template mutable_data<A>();
  }
  const A* products(const RpeRowsTerms<T>& terms, const Tensor& x, const Tensor& table, A factor) {
    A* y = scratch(terms.buckets);
    const int64_t count = kept_.back().numel();
    cuda::launch("rpe_products", table_products_kernel<T>,
                 {.grid = (count + kThreads - 1) / kThreads, .block = kThreads}, grid_of<T>(x), table.data<T>(), y,
                 factor, count, terms.heads, terms.n, terms.buckets, x.size(3), terms.shared);
    return y;
  }

  /// The gradient of a table from the sums; x undefined for a bias.
  void gradient(const RpeRowsTerms<T>& terms, const A* sums, const Tensor& x, double factor, Tensor& to) {
    if (!to.defined()) return;
    cuda::launch("rpe_table_gradient", table_gradient_kernel<T>,
                 {.grid = (to.numel() + kThreads - 1) / kThreads, .block = kThreads}, sums, grid_of<T>(x),
                 to.mutable_data<A>(), A(factor), to.numel(), terms.heads, terms.n, terms.buckets,
                 x.defined() ? x.size(3) : 1);
  }

 private:
  const RpeAttentionInputs& in_;
  std::vector<Tensor> kept_;
};

void forward(const RpeAttentionInputs& in, Tensor& out, Tensor& lse) {
  if (launch_rpe_mma_forward(in, out, lse)) return;
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    Call<T> call(in);
    auto terms = call.terms(in.k, in.q, in.attention.k);
    terms.sums_weights = in.v.defined();
    call.place_lists(terms);
    launch_rows_forward<T>(in.attention, terms, out, lse);
  });
}

/// dq and the gradients of the tables of k and v.
template <class T>
void backward_rows(const RpeAttentionInputs& in, const Tensor& lse, const Tensor& dout, AttentionGradients& to,
                   RpeTableGradients& tables) {
  Call<T> call(in);
  auto terms = call.terms(in.k, in.q, in.attention.k);
  terms.own_values = in.v.defined();
  terms.sums_weights = tables.v.defined();
  terms.sums_scores = in.k.defined() && (!in.bias || tables.k.defined());
  if (tables.v.defined()) terms.weight_sums = call.scratch(terms.buckets);
  if (tables.k.defined()) terms.score_sums = call.scratch(terms.buckets);
  call.place_lists(terms);
  launch_rows_dq<T>(in.attention, terms, lse, dout, to);
  call.gradient(terms, terms.score_sums, in.bias ? Tensor() : in.attention.q, in.bias ? 1 : in.attention.scale,
                tables.k);
  call.gradient(terms, terms.weight_sums, dout, 1, tables.v);
}

/// dk, dv and the gradient of the table of q.
template <class T>
void backward_columns(const RpeAttentionInputs& in, const Tensor& lse, const Tensor& dout, AttentionGradients& to,
                      RpeTableGradients& tables) {
  Call<T> call(in);
  auto terms = call.terms(in.q, in.k, in.attention.q);
  if (in.v.defined()) terms.other_values = call.products(terms, dout, in.v, 1);
  terms.sums_scores = in.q.defined() && (!in.bias || tables.q.defined());
  if (tables.q.defined()) terms.score_sums = call.scratch(terms.buckets);
  call.place_lists(terms);
  launch_rows_dkv<T>(in.attention, terms, lse, dout, to);
  call.gradient(terms, terms.score_sums, in.bias ? Tensor() : in.attention.k, in.bias ? 1 : in.attention.scale,
                tables.q);
}

void backward(const RpeAttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& to, RpeTableGradients& tables) {
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    launch_delta<T>(in.attention, out, dout, to);
    if (launch_rpe_mma_backward(in, lse, dout, to, tables)) return;
    if (to.dq.defined() || tables.k.defined() || tables.v.defined()) backward_rows<T>(in, lse, dout, to, tables);
    if (to.dk.defined() || to.dv.defined() || tables.q.defined()) backward_columns<T>(in, lse, dout, to, tables);
  });
}

const Bind bind_forward(rpe_attention_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(rpe_attention_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
