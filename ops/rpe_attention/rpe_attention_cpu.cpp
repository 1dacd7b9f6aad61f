#include "ops/attention/attention_rows.h"
#include "ops/relpos/relpos_rows.h"
#include "ops/rpe_attention/rpe_attention_kernels.h"

// The loops are those of attention (ops/attention/attention_rows.h). The tables of k and v are appended to k and v, so
// that their products are columns of the scores and their weights stand behind a row of p; the products of the table
// of q with the keys are made once per head, and added to the scores by blocks of keys, transposed.
namespace vitrine::ops {
namespace {

using namespace attention_cpu;

/// One call. A pointer is null where there is no table, or its gradient is not wanted.
template <class T, class A = accumulate_t<T>>
struct RpeTerms {
  explicit RpeTerms(const RpeAttentionInputs& in, RpeTableGradients gradients = {})
      : bias(in.bias),
        d(in.attention.q.size(3)),
        heads(in.attention.q.size(1)),
        keys(in.attention.k.size(2)),
        scale(A(in.attention.scale)),
        dq(writable<A>(gradients.q)),
        dk(writable<A>(gradients.k)),
        dv(writable<A>(gradients.v)) {
    for (const RelposIndex& index : in.indices) {
      rows.emplace_back(index);
      if (bias && in.q.defined()) mirrored.emplace_back(index, true);
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

  bool bias, shared = true;
  int64_t d, heads, keys, buckets = 0;
  A scale;
  std::vector<RelposRows> rows, mirrored;
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  A *dq, *dk, *dv;
};

/// y_j += table[id(i, j)] over all indices, whose tables stand behind each other.
template <class A>
void add_lookups(const std::vector<RelposRows>& all, int64_t i, const A* table, int64_t begin, int64_t end, A* y) {
  for (const RelposRows& rows : all) {
    rows.add_lookup(i, table, begin, end, y);
    table += rows.buckets();
  }
}
template <class A>
void add_bucket_sums(const std::vector<RelposRows>& all, int64_t i, const A* x, int64_t begin, int64_t end, A* sums) {
  for (const RelposRows& rows : all) {
    rows.add_sums(i, x, begin, end, sums);
    sums += rows.buckets();
  }
}

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
        q_stride_(row_stride(call.buckets)),
        scratch_(scratch_size(call)) {
    if (call.bias) {
      for (const auto& [from, table, sums] : {std::tuple(call.q, &bias_q_, &q_sums_), {call.k, &bias_k_, &k_sums_}}) {
        if (!from) continue;
        *table = scratch_.take(q_stride_), *sums = scratch_.take(q_stride_);
        for (int64_t t = 0; t < call.buckets; ++t) (*table)[t] = A(from[h_ * call.buckets + t]), (*sums)[t] = 0;
      }
    } else if (call.q) {
      wq_ = scratch_.take(round_up(call.buckets * call.d, kLine));
      wq_t_ = scratch_.take(call.d * q_stride_);
      products_ = scratch_.take(call.keys * q_stride_);
      sums_ = scratch_.take(call.keys * q_stride_);
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

  /// scale k_j.Wq[:, t] for all keys and buckets.
  void begin(const A* k) {
    if (!wq_) return;
    load_table(call_.q, call_.scale, wq_);
    transpose_keys(wq_, call_.buckets, call_.d, wq_t_, round_up(call_.buckets, kLine), q_stride_);
    gemm_small(call_.keys, call_.buckets, call_.d, k, {call_.d, 1}, wq_t_, q_stride_, products_, q_stride_, false);
    std::fill_n(sums_, call_.keys * q_stride_, A(0));
  }

  /// s_ij += products[j, id(j, i)]: for each key the ids of all queries of the block are a row of the index.
  void add_columns(A* s, int64_t stride, int64_t at, int64_t rows) const {
    if (!wq_) return;
    const int64_t length = row_stride(rows);
    Scratch<A> scratch(2 * kLine * length);
    A *by_key = scratch.take(kLine * length), *by_query = scratch.take(kLine * length);
    for (int64_t j = 0; j < call_.keys; j += kLine) {
      const int64_t n = std::min<int64_t>(kLine, call_.keys - j);
      std::fill_n(by_key, n * length, A(0));
      for (int64_t r = 0; r < n; ++r)
        add_lookups(call_.rows, j + r, products_ + (j + r) * q_stride_, at, at + rows, by_key + r * length);
      transpose_small(n, rows, by_key, length, by_query, kLine);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t r = 0; r < n; ++r) s[i * stride + j + r] += by_query[i * kLine + r];
    }
  }

  void add_row(A* s, int64_t i) const {
    if (key_rows) add_lookups(call_.rows, i, s + call_.keys, 0, call_.keys, s);
    if (bias_k_) add_lookups(call_.rows, i, bias_k_, 0, call_.keys, s);
    if (bias_q_) add_lookups(call_.mirrored, i, bias_q_, 0, call_.keys, s);
  }

  void sum_weights(A* p, int64_t i) const {
    if (value_rows) sum_behind(p, i);
  }

  void add_products(A* dp, int64_t i) const {
    if (value_rows) add_lookups(call_.rows, i, dp + call_.keys, 0, call_.keys, dp);
  }

  void sum_scores(A* ds, int64_t i) {
    if (key_rows) sum_behind(ds, i);
    if (bias_k_ && call_.dk) add_bucket_sums(call_.rows, i, ds, 0, call_.keys, k_sums_);
    if (bias_q_ && call_.dq) add_bucket_sums(call_.mirrored, i, ds, 0, call_.keys, q_sums_);
  }

  /// sums[j, t] += the ds_ij with id(j, i) = t.
  void sum_columns(const A* ds, int64_t stride, int64_t at, int64_t rows) {
    if (!wq_) return;
    const int64_t length = row_stride(rows);
    Scratch<A> scratch(kLine * length);
    A* by_key = scratch.take(kLine * length);
    for (int64_t j = 0; j < call_.keys; j += kLine) {
      const int64_t n = std::min<int64_t>(kLine, call_.keys - j);
      transpose_small(rows, n, ds + j, stride, by_key, length);
      for (int64_t r = 0; r < n; ++r)
        add_bucket_sums(call_.rows, j + r, by_key + r * length, at, at + rows, sums_ + (j + r) * q_stride_);
    }
  }

  void finish(const A* k, A* dk, const A* dv) {
    const int64_t keys = call_.keys, d = call_.d, table = call_.buckets * d;
    if (needs_dk) std::copy_n(dk + keys * d, table, call_.dk + bh_ * table);
    if (needs_dv) std::copy_n(dv + keys * d, table, call_.dv + bh_ * table);
    if (bias_k_ && call_.dk) std::copy_n(k_sums_, call_.buckets, call_.dk + bh_ * call_.buckets);
    if (bias_q_ && call_.dq) std::copy_n(q_sums_, call_.buckets, call_.dq + bh_ * call_.buckets);
    if (!wq_) return;
    gemm_small(keys, d, call_.buckets, sums_, {q_stride_, 1}, wq_, d, dk, d, true);
    if (!call_.dq) return;
    A* to = call_.dq + bh_ * table;
    gemm_small(call_.buckets, d, keys, sums_, {1, q_stride_}, k, d, to, d, false);
    for (int64_t e = 0; e < table; ++e) to[e] *= call_.scale;
  }

 private:
  int64_t scratch_size(const RpeTerms& call) const {
    if (call.bias) return 4 * q_stride_;
    return call.q ? round_up(call.buckets * call.d, kLine) + (call.d + 2 * call.keys) * q_stride_ : 0;
  }
  void load_table(const T* table, A factor, A* to) const {
    const int64_t n = call_.buckets * call_.d;
    load_rows(Matrix<const T>{table + h_ * n, n, 1}, 0, 1, n, factor, to);
  }
  /// Behind a row x: its sums over the keys of each bucket.
  void sum_behind(A* x, int64_t i) const {
    std::fill_n(x + call_.keys, call_.buckets, A(0));
    add_bucket_sums(call_.rows, i, x, 0, call_.keys, x + call_.keys);
  }

  const RpeTerms& call_;
  const int64_t bh_, h_, q_stride_;
  Scratch<A> scratch_;
  A *bias_q_ = nullptr, *bias_k_ = nullptr, *q_sums_ = nullptr, *k_sums_ = nullptr;
  A *wq_ = nullptr, *wq_t_ = nullptr;        // scale Wq [K, d], and transposed
  A *products_ = nullptr, *sums_ = nullptr;  // [keys, q_stride]: scale k.Wq, and the sums of ds by column
};

void forward(const RpeAttentionInputs& in, Tensor& out, Tensor& lse) {
  dispatch_floating(in.attention.q.dtype(),
                    [&]<class T>() { forward_tasks<T>(in.attention, RpeTerms<T>(in), out, lse); });
}

void backward(const RpeAttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& gradients, RpeTableGradients& tables) {
  dispatch_floating(in.attention.q.dtype(), [&]<class T>() {
    backward_tasks<T>(in.attention, RpeTerms<T>(in, tables), out, lse, dout, gradients);
  });
}

const Bind bind_forward(rpe_attention_forward, DeviceType::cpu, forward);
const Bind bind_backward(rpe_attention_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
