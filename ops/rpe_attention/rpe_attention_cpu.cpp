#include "ops/attention/attention_rows.h"
#include "ops/relpos/relpos_rows.h"
#include "ops/rpe_attention/rpe_attention_kernels.h"

// The loops are those of attention (ops/attention/attention_rows.h). The tables of k and v are appended to k and v, so
// that their products are columns of the scores and their weights stand behind a row of p; the products of the table
// of q with the keys are made once per head, [K, keys], and a row of scores takes each from the row of its bucket.
namespace vitrine::ops {
namespace {

using namespace attention_cpu;

/// One call. A pointer is null where there is no table, or its gradient is not wanted.
template <class T, class A = accumulate_t<T>>
struct RpeTerms {
  explicit RpeTerms(const RpeAttentionInputs& in, bool backward_ = false, RpeTableGradients gradients = {})
      : bias(in.bias),
        backward(backward_),
        d(in.attention.q.size(3)),
        heads(in.attention.q.size(1)),
        keys(in.attention.k.size(2)),
        scale(A(in.attention.scale)),
        dq(writable<A>(gradients.q)),
        dk(writable<A>(gradients.k)),
        dv(writable<A>(gradients.v)) {
    for (const RelposIndex& index : in.indices) {
      rows.emplace_back(index);
      if (in.q.defined()) mirrored.emplace_back(index, true);
      buckets += index.buckets;
    }
    q = read(in.q), k = read(in.k), v = read(in.v);
  }
  class Head;

  const T* read(const Tensor& table) {
    if (!table.defined()) return nullptr;
    shared = table.size(0) == 1;
    return table.data<T>();
  }

  bool bias, backward, shared = true;
  int64_t d, heads, keys, buckets = 0;
  A scale;
  std::vector<RelposRows<A>> rows, mirrored;
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  A *dq, *dk, *dv;
  A* products = nullptr;        ///< of all heads, where several tasks of a head share them
  bool products_ready = false;  ///< they are made
};

/// The terms of one head; its functions are listed at attention_cpu::NoTerms.
template <class T, class A>
class RpeTerms<T, A>::Head {
 public:
  Head(const RpeTerms& call, int64_t bh)
      : key_rows(call.bias || !call.k ? 0 : call.buckets),
        value_rows(call.v ? call.buckets : 0),
        needs_dk(key_rows && call.dk),
        needs_dv(call.dv),
        call_(call),
        bh_(bh),
        h_(call.shared ? 0 : bh % call.heads),
        stride_(row_stride(call.keys)),
        padded_(call.rows[0].padded_keys()),
        scratch_(scratch_size(call)) {
    if (call.bias) {
      if (call.q) bias_q_ = take_bias(call.q, &q_sums_);
      if (call.k) bias_k_ = take_bias(call.k, &k_sums_);
    } else if (call.q) {
      wq_ = scratch_.take(round_up(call.buckets * call.d, kLine));
      dense_ = scratch_.take(call.buckets * stride_);
      products_ = call.products ? call.products + bh * call.buckets * padded_ : scratch_.take(call.buckets * padded_);
      q_sums_ = scratch_.take(call.buckets * padded_);
    }
  }

  const int64_t key_rows, value_rows;
  const bool needs_dk, needs_dv;

  void load_keys(A* to) const {
    if (key_rows) load_table(call_.k, A(1), to);
  }
  void load_values(A* to) const {
    if (value_rows) load_table(call_.v, A(1), to);
  }

  /// products[t, j] = scale k_j.Wq[:, t], its rows in the layout of RelposRows::add_columns.
  void begin(const A* k_t, int64_t k_stride) {
    if (!wq_ || call_.products_ready) return;
    load_table(call_.q, call_.scale, wq_);
    gemm_small(call_.buckets, round_up(call_.keys, kLine), call_.d, wq_, {call_.d, 1}, k_t, k_stride, dense_, stride_,
               false);
    for (int64_t t = 0; t < call_.buckets; ++t) call_.rows[0].pad_keys(dense_ + t * stride_, products_ + t * padded_);
    if (call_.backward) std::fill_n(q_sums_, call_.buckets * padded_, A(0));
  }

  void add_row(A* s, int64_t i) const {
    int64_t base = 0;  // of an index's buckets among all
    for (size_t x = 0; x < call_.rows.size(); base += call_.rows[x].buckets(), ++x) {
      if (key_rows) call_.rows[x].add_lookup(i, s + call_.keys + base, s);
      if (bias_k_) call_.rows[x].add_lookup(i, bias_k_ + base, s);
      if (bias_q_) call_.mirrored[x].add_lookup(i, bias_q_ + base, s);
      if (wq_) call_.mirrored[x].add_columns(i, products_ + base * padded_, s);
    }
  }

  void sum_weights(A* p, int64_t i) const {
    if (value_rows) sum_behind(p, i);
  }

  void add_products(A* dp, int64_t i) const {
    if (!value_rows) return;
    A* products = dp + call_.keys;
    for (const RelposRows<A>& rows : call_.rows) {
      rows.add_lookup(i, products, dp);
      products += rows.buckets();
    }
  }

  void sum_scores(A* ds, int64_t i) {
    if (key_rows) sum_behind(ds, i);
    int64_t base = 0;
    for (size_t x = 0; x < call_.rows.size(); base += call_.rows[x].buckets(), ++x) {
      if (bias_k_ && call_.dk) call_.rows[x].add_sums(i, ds, k_sums_ + base);
      if (bias_q_ && call_.dq) call_.mirrored[x].add_sums(i, ds, q_sums_ + base);
      if (wq_) call_.mirrored[x].add_column_sums(i, ds, q_sums_ + base * padded_);
    }
  }

  void finish(const A* k, A* dk, const A* dv) {
    const int64_t keys = call_.keys, d = call_.d, buckets = call_.buckets, table = buckets * d;
    if (needs_dk) std::copy_n(dk + keys * d, table, call_.dk + bh_ * table);
    if (needs_dv) std::copy_n(dv + keys * d, table, call_.dv + bh_ * table);
    if (bias_k_ && call_.dk) std::copy_n(k_sums_, buckets, call_.dk + bh_ * buckets);
    if (bias_q_ && call_.dq) std::copy_n(q_sums_, buckets, call_.dq + bh_ * buckets);
    if (!wq_) return;
    for (int64_t t = 0; t < buckets; ++t) call_.rows[0].unpad_keys(q_sums_ + t * padded_, dense_ + t * stride_);
    gemm_small(keys, d, buckets, dense_, {1, stride_}, wq_, d, dk, d, true);
    if (!call_.dq) return;
    A* to = call_.dq + bh_ * table;
    gemm_small(buckets, d, keys, dense_, {stride_, 1}, k, d, to, d, false);
    for (int64_t e = 0; e < table; ++e) to[e] *= call_.scale;
  }

 private:
  int64_t scratch_size(const RpeTerms& call) const {
    if (call.bias) return 4 * round_up(call.buckets, kLine);
    return call.q ? round_up(call.buckets * call.d, kLine) + call.buckets * (stride_ + 2 * padded_) : 0;
  }
  /// This head's row of a bias table, and zeros for its gradient.
  A* take_bias(const T* from, A** sums) {
    A* table = scratch_.take(round_up(call_.buckets, kLine));
    load_rows(Matrix<const T>{from, call_.buckets, 1}, h_, 1, call_.buckets, A(1), table);
    *sums = scratch_.take(round_up(call_.buckets, kLine));
    std::fill_n(*sums, call_.buckets, A(0));
    return table;
  }
  void load_table(const T* table, A factor, A* to) const {
    const int64_t n = call_.buckets * call_.d;
    load_rows(Matrix<const T>{table, n, 1}, h_, 1, n, factor, to);
  }
  /// Behind a row x: its sums over the keys of each bucket.
  void sum_behind(A* x, int64_t i) const {
    A* sums = x + call_.keys;
    std::fill_n(sums, call_.buckets, A(0));
    for (const RelposRows<A>& rows : call_.rows) {
      rows.add_sums(i, x, sums);
      sums += rows.buckets();
    }
  }

  const RpeTerms& call_;
  const int64_t bh_, h_;
  const int64_t stride_, padded_;  // elements of a row with a value per key, dense and for RelposRows
  Scratch<A> scratch_;
  A *bias_q_ = nullptr, *bias_k_ = nullptr, *k_sums_ = nullptr;  // [K]
  A *wq_ = nullptr, *dense_ = nullptr;                           // scale Wq, [K, d]; a buffer [K, stride]
  A *products_ = nullptr, *q_sums_ = nullptr;  // [K, padded]: scale Wq.k, and sums of ds; q_sums_ [K] for a bias
};

/// Runs Head::begin of every head, for terms.products.
template <class T, class A = accumulate_t<T>>
void make_products(const AttentionInputs& in, const RpeTerms<T>& terms) {
  const int64_t heads = in.q.size(1), columns = round_up(terms.keys, kLine), stride = row_stride(terms.keys);
  parallel_for(in.q.size(0) * heads, 1, [&](int64_t begin, int64_t end) {
    Scratch<A> scratch(columns * terms.d + terms.d * stride);
    A *k = scratch.take(columns * terms.d), *k_t = scratch.take(terms.d * stride);
    for (int64_t bh = begin; bh < end; ++bh) {
      load_rows(matrix<T>(in.k, bh / heads, bh % heads), 0, terms.keys, terms.d, A(1), k);
      transpose_keys(k, terms.keys, terms.d, k_t, columns, stride);
      typename RpeTerms<T>::Head(terms, bh).begin(k_t, stride);
    }
  });
}

void forward(const RpeAttentionInputs& in, Tensor& out, Tensor& lse) {
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    RpeTerms<T> terms(in);
    const bool share = terms.q && !terms.bias && forward_parts(in.attention) > 1;
    Scratch<A> products(share ? lse.numel() / terms.keys * terms.buckets * terms.rows[0].padded_keys() : 0);
    if (share) {
      terms.products = products.take(0);
      make_products<T>(in.attention, terms);
      terms.products_ready = true;
    }
    forward_tasks<T>(in.attention, terms, out, lse);
  });
}

void backward(const RpeAttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& gradients, RpeTableGradients& tables) {
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    backward_tasks<T>(in.attention, RpeTerms<T>(in, true, tables), out, lse, dout, gradients);
  });
}

const Bind bind_forward(rpe_attention_forward, DeviceType::cpu, forward);
const Bind bind_backward(rpe_attention_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
