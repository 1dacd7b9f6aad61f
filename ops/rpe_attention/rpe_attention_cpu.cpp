#include <optional>

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
  using E = element_t<T>;
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
      kept.push_back(relpos_rows<A>(index));
      rows.push_back(&kept.back()->rows), mirrored.push_back(&kept.back()->mirrored);
      buckets += index.buckets;
    }
    table_size = round_up(buckets * (bias ? 1 : elements<T>(d)), kLine);
    pairs_size = bias ? 0 : by_rows_size<T>(buckets, d);
    columns_size = bias ? 0 : elements<T>(d) * round_up(buckets, kLine);
    for (const Tensor* table : {&in.q, &in.k, &in.v})
      if (table->defined()) tables = table->size(0);
    memory.emplace(tables * (3 * table_size + 2 * columns_size + pairs_size));
    if (bias) {
      bias_q = read_bias(in.q), bias_k = read_bias(in.k);
    } else {
      q = read(in.q), k = read(in.k), v = read(in.v);
      k_columns = transposed(k), v_columns = transposed(v);
      if (q) read_q_by_rows();
    }
  }
  class Head;

  const E* read(const Tensor& table) {
    if (!table.defined()) return nullptr;
    E* to = memory->template take<E>(tables * table_size);
    for (int64_t h = 0; h < tables; ++h)
      load_rows<T>({table.data<T>() + h * buckets * d, d, 1}, 0, buckets, d, to + h * table_size);
    return to;
  }
  const E* transposed(const E* rows_of) {
    if (!rows_of) return nullptr;
    const int64_t e = elements<T>(d), stride = round_up(buckets, kLine);
    E* to = memory->template take<E>(tables * columns_size);
    for (int64_t h = 0; h < tables; ++h)
      transpose_keys(rows_of + h * table_size, buckets, e, to + h * columns_size, stride, stride);
    return to;
  }
  void read_q_by_rows() {
    E* to = memory->template take<E>(tables * pairs_size);
    q_by_rows = pairs_size ? to : q;
    for (int64_t h = 0; h < tables; ++h) by_rows<T>(q + h * table_size, buckets, d, to + h * pairs_size);
  }
  const A* read_bias(const Tensor& table) {
    if (!table.defined()) return nullptr;
    A* to = memory->take(tables * table_size);
    for (int64_t h = 0; h < tables; ++h)
      for (int64_t t = 0; t < buckets; ++t) to[h * table_size + t] = A(table.data<T>()[h * buckets + t]);
    return to;
  }

  bool bias, backward;
  int64_t d, heads, keys, buckets = 0;
  A scale;
  A *dq, *dk, *dv;  ///< [B, H, K, d], for a bias without d
  std::vector<std::shared_ptr<const RelposRowsPair<A>>> kept;
  std::vector<const RelposRows<A>*> rows, mirrored;  ///< by index
  int64_t tables = 1, table_size, pairs_size, columns_size;
  std::optional<Scratch<A>> memory;
  const E *q = nullptr, *k = nullptr, *v = nullptr;    ///< by table: [K, elements(d)] side by side
  const E* q_by_rows = nullptr;                        ///< by table: [elements(K), d]
  const E *k_columns = nullptr, *v_columns = nullptr;  ///< by table: [elements(d), K], padded to whole lines
  const A *bias_q = nullptr, *bias_k = nullptr;        ///< by table: [K]
  A* products = nullptr;                               ///< of all heads, where several tasks of a head share them
  bool products_ready = false;                         ///< they are made
};

/// The terms of one head; its functions are listed at attention_cpu::NoTerms.
template <class T, class A>
class RpeTerms<T, A>::Head {
 public:
  Head(const RpeTerms& call, int64_t bh)
      : key_rows(call.k ? call.buckets : 0),
        value_rows(call.v ? call.buckets : 0),
        needs_dk(key_rows && call.dk),
        needs_dv(call.dv),
        call_(call),
        bh_(bh),
        table_(call.tables == 1 ? 0 : bh % call.heads),
        stride_(row_stride(call.keys)),
        padded_(call.rows[0]->padded_keys()),
        scratch_(scratch_size(call)) {
    if (call.bias_q) bias_q_ = call.bias_q + table_ * call.table_size, q_sums_ = take_zeros(call.buckets);
    if (call.bias_k) bias_k_ = call.bias_k + table_ * call.table_size, k_sums_ = take_zeros(call.buckets);
    if (!call.q) return;
    dense_ = scratch_.take(call.buckets * stride_);
    products_ = call.products ? call.products + bh * call.buckets * padded_
                              : scratch_.take(call.buckets * std::max(padded_, stride_));
    if (call.backward) q_sums_ = take_zeros(call.buckets * padded_);
  }

  const int64_t key_rows, value_rows;
  const bool needs_dk, needs_dv;

  void load_keys(E* to) const { std::copy_n(call_.k + table_ * call_.table_size, key_rows * elements<T>(call_.d), to); }
  void load_values(E* to) const {
    std::copy_n(call_.v + table_ * call_.table_size, value_rows * elements<T>(call_.d), to);
  }
  void load_key_columns(E* to, int64_t stride) const { copy_columns(call_.k_columns, to, stride); }
  void load_value_columns(E* to, int64_t stride) const { copy_columns(call_.v_columns, to, stride); }

  /// products[t, j] = scale k_j.Wq[:, t], its rows in the layout of RelposRows::add_columns.
  void begin(const E* k_t, int64_t k_stride) {
    if (!call_.q || call_.products_ready) return;
    const int64_t e = elements<T>(call_.d), columns = round_up(call_.keys, kLine);
    gemm_small(call_.buckets, columns, e, call_.q + table_ * call_.table_size, {e, 1}, k_t, k_stride, dense_, stride_,
               false, call_.scale);
    for (int64_t t = 0; t < call_.buckets; ++t) call_.rows[0]->pad_keys(dense_ + t * stride_, products_ + t * padded_);
  }

  void add_row(A* s, int64_t i) const {
    int64_t base = 0;  // of an index's buckets among all
    for (size_t x = 0; x < call_.rows.size(); base += call_.rows[x]->buckets(), ++x) {
      if (key_rows) call_.rows[x]->add_lookup(i, s + call_.keys + base, s);
      if (bias_k_) call_.rows[x]->add_lookup(i, bias_k_ + base, s);
      if (bias_q_) call_.mirrored[x]->add_lookup(i, bias_q_ + base, s);
      if (call_.q) call_.mirrored[x]->add_columns(i, products_ + base * padded_, s);
    }
  }

  void sum_weights(A* p, int64_t i) const {
    if (value_rows) sum_behind(p, i);
  }

  void add_products(A* dp, int64_t i) const {
    if (!value_rows) return;
    A* products = dp + call_.keys;
    for (const RelposRows<A>* rows : call_.rows) {
      rows->add_lookup(i, products, dp);
      products += rows->buckets();
    }
  }

  void sum_scores(A* ds, int64_t i) {
    if (key_rows) sum_behind(ds, i);
    int64_t base = 0;
    for (size_t x = 0; x < call_.rows.size(); base += call_.rows[x]->buckets(), ++x) {
      if (bias_k_ && call_.dk) call_.rows[x]->add_sums(i, ds, k_sums_ + base);
      if (bias_q_ && call_.dq) call_.mirrored[x]->add_sums(i, ds, q_sums_ + base);
      if (call_.q) call_.mirrored[x]->add_column_sums(i, ds, q_sums_ + base * padded_);
    }
  }

  void finish(const E* k, A* dk, const A* dv) {
    const int64_t keys = call_.keys, d = call_.d, buckets = call_.buckets;
    if (needs_dk) store_table(dk + keys * d, d, call_.scale, call_.dk);
    if (needs_dv) store_table(dv + keys * d, d, A(1), call_.dv);
    if (bias_k_ && call_.dk) store_table(k_sums_, 1, A(1), call_.dk);
    if (bias_q_ && call_.dq) store_table(q_sums_, 1, A(1), call_.dq);
    if (!call_.q) return;
    for (int64_t t = 0; t < buckets; ++t) call_.rows[0]->unpad_keys(q_sums_ + t * padded_, dense_ + t * stride_);
    const E* table = call_.q_by_rows + table_ * (kPer<T> == 1 ? call_.table_size : call_.pairs_size);
    const auto sums_t = weights_by_rows<T>(dense_, buckets, keys, stride_, products_);
    gemm_small(keys, d, elements<T>(buckets), sums_t.data, {1, sums_t.stride}, table, d, dk, d, true);
    if (!call_.dq) return;
    const E* sums = weights_side_by_side<T>(dense_, buckets, keys, stride_);
    A* to = q_sums_;
    gemm_small(buckets, d, elements<T>(keys), sums, {stride_, 1}, k, d, to, d, false);
    store_table(to, d, call_.scale, call_.dq);
  }

 private:
  int64_t scratch_size(const RpeTerms& call) const {
    if (call.bias) return 2 * round_up(call.buckets, kLine);
    return call.q ? call.buckets * (stride_ + std::max(padded_, stride_) + std::max(padded_, round_up(call.d, kLine)))
                  : 0;
  }
  /// A table's columns, of which there may be none, `stride` from one row of them to the next.
  void copy_columns(const E* columns, E* to, int64_t stride) const {
    if (!columns) return;
    constexpr int64_t kLanes = simd::kLanes<E>;
    const int64_t buckets = call_.buckets, left = buckets % kLanes, whole = buckets - left;
    columns += table_ * call_.columns_size;
    for (int64_t c = 0; c < elements<T>(call_.d); ++c, columns += round_up(buckets, kLine), to += stride) {
      for (int64_t t = 0; t < whole; t += kLanes) simd::store(to + t, simd::load(columns + t));
      if (left) simd::store_first(to + whole, simd::load(columns + whole), int(left));
    }
  }
  A* take_zeros(int64_t n) {
    A* x = scratch_.take(round_up(n, kLine));
    std::fill_n(x, n, A(0));
    return x;
  }
  /// This head's gradient of a table: factor * x [K, width].
  void store_table(const A* x, int64_t width, A factor, A* all) const {
    store_row(x, factor, call_.buckets * width, all + bh_ * call_.buckets * width, 1);
  }
  /// Behind a row x: its sums over the keys of each bucket.
  void sum_behind(A* x, int64_t i) const {
    A* sums = x + call_.keys;
    for (const RelposRows<A>* rows : call_.rows) {
      rows->put_sums(i, x, sums);
      sums += rows->buckets();
    }
  }

  const RpeTerms& call_;
  const int64_t bh_, table_;       // and the table it uses
  const int64_t stride_, padded_;  // elements of a row with a value per key, dense and for RelposRows
  Scratch<A> scratch_;
  const A *bias_q_ = nullptr, *bias_k_ = nullptr;  // [K]
  A* dense_ = nullptr;                             // a buffer [K, stride]
  A* products_ = nullptr;                          // [K, padded]: scale Wq.k
  A *k_sums_ = nullptr, *q_sums_ = nullptr;        // sums of ds: [K] for a bias, else [K, padded]
};

/// Runs Head::begin of every head, for terms.products.
template <class T, class A = accumulate_t<T>>
void make_products(const AttentionInputs& in, const RpeTerms<T>& terms) {
  const int64_t heads = in.q.size(1), columns = round_up(terms.keys, kLine), stride = row_stride(terms.keys);
  parallel_for(in.q.size(0) * heads, 1, [&](int64_t begin, int64_t end) {
    const int64_t e = elements<T>(terms.d);
    Scratch<A> scratch(columns * e + e * stride);
    auto *k = scratch.template take<element_t<T>>(columns * e), *k_t = scratch.template take<element_t<T>>(e * stride);
    for (int64_t bh = begin; bh < end; ++bh) {
      load_rows<T>(matrix<T>(in.k, bh / heads, bh % heads), 0, terms.keys, terms.d, k);
      transpose_keys(k, terms.keys, e, k_t, columns, stride);
      typename RpeTerms<T>::Head(terms, bh).begin(k_t, stride);
    }
  });
}

void forward(const RpeAttentionInputs& in, Tensor& out, Tensor& lse) {
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    RpeTerms<T> terms(in);
    const bool share = terms.q && forward_parts(in.attention) > 1;
    Scratch<A> products(share ? lse.numel() / terms.keys * terms.buckets * terms.rows[0]->padded_keys() : 0);
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
