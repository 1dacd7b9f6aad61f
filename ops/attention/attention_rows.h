#pragma once
#include <cmath>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/attention/attention_inputs.h"
#include "ops/attention/attention_operands.h"

/// Fused attention on a CPU, for attention and the ops that add terms to it; private to them.
///
/// A task is one (b, h), or some of its query rows. It copies its part of q, k and v (as attention_operands.h says)
/// into dense scratch that stays in the core's second-level cache, and works on blocks of query rows with the scores of
/// all keys, so that the softmax of a row needs one pass. Rows of scores are padded to whole vectors.
///
/// `Terms` is what a variant adds. Its Head, one of a task, may append rows to k and to v: the products with q and dout
/// then stand behind the scores of a row, where the Head turns them into terms of the scores, and weights that it puts
/// there count for the appended rows of v. So the products that the terms need are part of those that attention makes
/// anyway.
namespace vitrine::ops::attention_cpu {

/// Plain attention: no terms. Also the list of what a Head does.
template <class T, class A = accumulate_t<T>>
struct NoTerms {
  using E = element_t<T>;
  struct Head {
    Head(const NoTerms&, int64_t) {}
    static constexpr int64_t key_rows = 0, value_rows = 0;     ///< rows appended to k and v
    static constexpr bool needs_dk = false, needs_dv = false;  ///< backward: whether their gradients are wanted
    void load_keys(E*) {}                    ///< backward: writes the rows behind k [keys, elements(d)], side by side
    void load_values(E*) {}                  ///< forward: the same for v
    void load_key_columns(E*, int64_t) {}    ///< writes those rows behind k transposed, [elements(d), stride]
    void load_value_columns(E*, int64_t) {}  ///< backward: the same for v
    void begin(const E*, int64_t) {}         ///< sees k transposed, [elements(d), stride], before any score
    void add_row(A*, int64_t) {}             ///< adds to the scores of a query
    void sum_weights(A*, int64_t) {}         ///< puts weights of the appended rows of v behind a row
    void add_products(A*, int64_t) {}        ///< adds to the products of dout and v
    void sum_scores(A*, int64_t) {}          ///< puts gradients of the appended rows of k behind ds
    void finish(const E*, A*, const A*) {}   ///< takes k (by rows), dk / scale and dv, with the appended rows
  };
};

/// s_j += bias_j, and -inf where the mask is false.
template <class T, class A>
void bias_and_mask(A* s, int64_t keys, Matrix<const T> bias, Matrix<const bool> mask, int64_t i) {
  if (bias.data) {
    const T* b = bias.at(i);
    if (bias.column == 1) {
      for (int64_t j = 0; j < keys; ++j) s[j] += A(b[j]);
    } else {
      for (int64_t j = 0; j < keys; ++j) s[j] += A(b[j * bias.column]);
    }
  }
  if (mask.data) {
    const bool* m = mask.at(i);
    for (int64_t j = 0; j < keys; ++j) s[j] = m[j * mask.column] ? s[j] : -A(INFINITY);
  }
}

/// s_j = exp(s_j - m), m = max_j s_j (0 for a row that sees no key), 0 behind the keys of a padded row; returns the sum
/// and sets m.
template <class A>
A exponentiate(A* s, int64_t keys, int64_t padded, A& m) {
  constexpr int64_t kLanes = simd::kLanes<A>;
  const int64_t left = keys % kLanes, whole = keys - left;
  simd::Vec<A> end =
      simd::broadcast(-A(INFINITY));  // the last keys, in a register: a load would wait for narrow stores
  if (left) end = simd::lanes_below<A>(int(left)) ? simd::load(s + whole) : end;
  auto largest = end;
  for (int64_t j = 0; j < whole; j += kLanes) largest = simd::max(largest, simd::load(s + j));
  m = simd::horizontal_max<A>(largest);
  if (m == -A(INFINITY)) m = 0;
  const A shift = m;  // which no store below can be to
  simd::Vec<A> sums{};
  const auto weigh = [&](int64_t j, simd::Vec<A> x) {
    const simd::Vec<A> weights = vm::exp_weight(x - shift);
    simd::store(s + j, weights);
    sums += weights;
  };
  for (int64_t j = 0; j < whole; j += kLanes) weigh(j, simd::load(s + j));
  if (left) weigh(whole, end);
  for (int64_t j = round_up(keys, kLanes); j < padded; j += kLanes) simd::store(s + j, simd::Vec<A>{});
  return simd::horizontal_sum<A>(sums);
}

/// From the largest scores m and the sums of some rows: lse in place of m (as the slot says), 1 / sum in place of the
/// sum, 0 where no key is seen. For all rows together, so that vector instructions do it.
template <class A>
void finish_sums(A* m, A* sums, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i) {
    const A sum = sums[i];
    m[i] = sum == 0 ? A(INFINITY) : m[i] + vm::log(sum);
    sums[i] = sum == 0 ? A(0) : 1 / sum;
  }
}

/// f(j, z) with z = 0 for the dropped weights of a row and 1 / (1 - p) for the others; `first` is the index of the row
/// in [B, H, Lq, Lk].
template <class A, class F>
void for_each_weight(const AttentionInputs& in, int64_t first, int64_t keys, F f) {
  const A kept = A(in.drop.scale);
  for (int64_t j = 0; j < keys; ++j) f(j, in.drop.keeps(in.drop.draw.bits(first + j)) ? kept : A(0));
}

/// Query rows [first, last) of head `bh`.
template <class T, class Terms, class A = accumulate_t<T>>
void forward_rows(const AttentionInputs& in, const Terms& terms, int64_t bh, int64_t first, int64_t last, Matrix<T> out,
                  A* lse) {
  using E = element_t<T>;
  typename Terms::Head head(terms, bh);
  const int64_t heads = in.q.size(1), b = bh / heads, h = bh % heads;
  const int64_t queries = in.q.size(2), keys = in.k.size(2), d = in.q.size(3), padded = round_up(keys, kLine);
  const int64_t all_keys = keys + head.key_rows, all_values = keys + head.value_rows;
  const int64_t stride = row_stride(std::max(all_keys, all_values)), columns = round_up(all_keys, kLine);
  const int64_t block = block_rows(last - first, stride * int64_t(sizeof(A))), e = elements<T>(d);
  const int64_t rows_size = round_up(all_values * e, kLine), paired = by_rows_size<T>(all_values, d);
  const int64_t bd = round_up(block * d, kLine);
  Scratch<A> scratch(rows_size + paired + e * stride + 2 * bd + round_up(block, kLine) + block * stride + kLine);
  E *kv = scratch.template take<E>(rows_size), *k_t = scratch.template take<E>(e * stride);
  E* q = scratch.template take<E>(bd);
  A *o = scratch.take(bd), *sums = scratch.take(round_up(block, kLine)), *s = scratch.take(block * stride);
  load_rows<T>(matrix<T>(in.k, b, h), 0, keys, d, kv);
  transpose_keys(kv, keys, e, k_t, columns, stride);
  head.load_key_columns(k_t + keys, stride);
  head.begin(k_t, stride);
  load_rows<T>(matrix<T>(in.v, b, h), 0, keys, d, kv);
  head.load_values(kv + keys * e);
  const E* v = by_rows<T>(kv, all_values, d, scratch.template take<E>(paired));
  const auto bias = matrix<T>(in.bias, b, h);
  const auto mask = matrix<bool>(in.mask, b, h);
  const auto next_q = next_head<T>(in.q, bh), next_k = next_head<T>(in.k, bh), next_v = next_head<T>(in.v, bh);
  for (int64_t at = first; at < last; at += block) {
    const int64_t rows = std::min(block, last - at);
    load_rows<T>(matrix<T>(in.q, b, h), at, rows, d, q);
    gemm_small(rows, columns, e, q, {e, 1}, k_t, stride, s, stride, false, A(in.scale));
    for (int64_t i = 0; i < rows; ++i) {
      A* row = s + i * stride;
      const int64_t index = bh * queries + at + i;
      prefetch_row(out, at + i, queries, d);
      prefetch_row(next_q, at + i, queries, d);
      prefetch_row(next_k, at + i, keys, d);
      prefetch_row(next_v, at + i, keys, d);
      head.add_row(row, at + i);
      bias_and_mask(row, keys, bias, mask, at + i);
      sums[i] = exponentiate(row, keys, padded, lse[index]);
      if (in.drops()) for_each_weight<A>(in, index * keys, keys, [row](int64_t j, A z) { row[j] *= z; });
      head.sum_weights(row, at + i);
    }
    finish_sums(lse + bh * queries + at, sums, rows);
    const E* weights = weights_side_by_side<T>(s, rows, all_values, stride);
    gemm_small(rows, d, elements<T>(all_values), weights, {stride, 1}, v, d, o, d, false);
    for (int64_t i = 0; i < rows; ++i) store_row(o + i * d, sums[i], d, out.at(at + i), out.column);
  }
}

/// Where one head's gradients go; those without data are not wanted.
template <class T>
struct HeadGradients {
  Matrix<T> dq, dk, dv;
  T* dbias;
};

/// delta_i = sum_d dout_id out_id of rows [first, first + rows).
template <class T, class A>
void deltas(Matrix<const T> dout, Matrix<const T> out, int64_t first, int64_t rows, int64_t d, A* delta) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *g = dout.at(first + i), *o = out.at(first + i);
    if (dout.column == 1 && out.column == 1) {
      delta[i] = row_sum_of<A>(
          d, [](auto x, auto y) { return x * y; }, g, o);
    } else {
      delta[i] = row_sum<A>(d, [=](int64_t c) { return A(g[c * dout.column]) * A(o[c * out.column]); });
    }
  }
}

/// One row of backward. From scores s and products dp = dout v: p = exp(s - lse) (times z) into s, ds into dp.
template <class A>
void backward_row(const AttentionInputs& in, int64_t index, int64_t keys, int64_t padded, A lse, A delta, A* s, A* dp) {
  if (in.drops()) {
    for (int64_t j = 0; j < keys; ++j) s[j] = vm::exp_weight(s[j] - lse);
    for_each_weight<A>(in, index * keys, keys, [=](int64_t j, A z) {
      dp[j] = s[j] * (z * dp[j] - delta);
      s[j] *= z;
    });
    return;
  }
  for (int64_t j = 0; j < padded; j += simd::kLanes<A>) {
    const simd::Vec<A> p = vm::exp_weight(simd::load(s + j) - lse);
    simd::store(dp + j, p * (simd::load(dp + j) - delta));
    simd::store(s + j, p);
  }
}

/// All gradients of head `bh`.
template <class T, class Terms, class A = accumulate_t<T>>
void backward_head(const AttentionInputs& in, const Terms& terms, int64_t bh, const Tensor& out, const A* lse,
                   const Tensor& dout, const HeadGradients<T>& to, A* delta) {
  using E = element_t<T>;
  typename Terms::Head head(terms, bh);
  const int64_t heads = in.q.size(1), b = bh / heads, h = bh % heads;
  const int64_t queries = in.q.size(2), keys = in.k.size(2), d = in.q.size(3), padded = round_up(keys, kLine);
  const int64_t all_keys = keys + head.key_rows, all_values = keys + head.value_rows;
  const int64_t stride = row_stride(std::max(all_keys, all_values));
  const int64_t key_columns = round_up(all_keys, kLine), value_columns = round_up(all_values, kLine);
  const int64_t block = block_rows(queries, 2 * stride * int64_t(sizeof(A))), e = elements<T>(d);
  const int64_t kd = round_up(std::max(all_keys, all_values) * d, kLine), bd = round_up(block * d, kLine);
  const int64_t paired_keys = by_rows_size<T>(all_keys, d), paired = by_rows_size<T>(block, d);
  Scratch<A> scratch(3 * kd + paired_keys + 2 * e * stride + 3 * bd + 2 * paired + 2 * block * stride + kLine);
  E *kv = scratch.template take<E>(kd), *k_t = scratch.template take<E>(e * stride);
  E *v_t = scratch.template take<E>(e * stride), *q = scratch.template take<E>(bd), *g = scratch.template take<E>(bd);
  A *dk = scratch.take(kd), *dv = scratch.take(kd), *dq = scratch.take(bd);
  A *p = scratch.take(block * stride), *ds = scratch.take(block * stride);
  load_rows<T>(matrix<T>(in.v, b, h), 0, keys, d, kv);
  transpose_keys(kv, keys, e, v_t, value_columns, stride);
  head.load_value_columns(v_t + keys, stride);
  load_rows<T>(matrix<T>(in.k, b, h), 0, keys, d, kv);
  head.load_keys(kv + keys * e);
  transpose_keys(kv, keys, e, k_t, key_columns, stride);
  head.load_key_columns(k_t + keys, stride);
  head.begin(k_t, stride);
  const E* k = by_rows<T>(kv, all_keys, d, scratch.template take<E>(paired_keys));
  E *q_pairs = scratch.template take<E>(paired), *g_pairs = scratch.template take<E>(paired);
  const auto bias = matrix<T>(in.bias, b, h);
  const auto mask = matrix<bool>(in.mask, b, h);
  const Matrix<const T> next[] = {next_head<T>(in.q, bh), next_head<T>(out, bh), next_head<T>(dout, bh),
                                  next_head<T>(in.k, bh), next_head<T>(in.v, bh)};
  for (int64_t at = 0; at < queries; at += block) {
    const int64_t rows = std::min(block, queries - at), first = bh * queries + at;
    const auto douts = matrix<T>(dout, b, h);
    load_rows<T>(douts, at, rows, d, g);
    deltas(douts, matrix<T>(out, b, h), at, rows, d, delta + first);
    load_rows<T>(matrix<T>(in.q, b, h), at, rows, d, q);
    gemm_small(rows, key_columns, e, q, {e, 1}, k_t, stride, p, stride, false, A(in.scale));
    gemm_small(rows, value_columns, e, g, {e, 1}, v_t, stride, ds, stride, false);
    // A row late, as vectors that straddle others wait until those are stored.
    const auto sum_row = [&](int64_t i) {
      if (head.needs_dv) head.sum_weights(p + i * stride, at + i);
      head.sum_scores(ds + i * stride, at + i);
    };
    for (int64_t i = 0; i < rows; ++i) {
      A *p_row = p + i * stride, *ds_row = ds + i * stride;
      prefetch_row(to.dq, at + i, queries, d);
      prefetch_row(to.dk, at + i, keys, d);
      prefetch_row(to.dv, at + i, keys, d);
      for (int n = 0; n < 5; ++n) prefetch_row(next[n], at + i, n < 3 ? queries : keys, d);
      head.add_row(p_row, at + i);
      bias_and_mask(p_row, keys, bias, mask, at + i);
      head.add_products(ds_row, at + i);
      backward_row(in, first + i, keys, padded, lse[first + i], delta[first + i], p_row, ds_row);
      if (to.dbias) store_row(ds_row, A(1), keys, to.dbias + (at + i) * keys, 1);
      if (i > 0) sum_row(i - 1);
    }
    sum_row(rows - 1);
    // Of p only sums over rows are needed, which leaves room for those of ds: a row below. Blocks have an even number
    // of rows, so this one exists below the last row too.
    const auto p_t = weights_by_rows<T>(p, rows, all_values, stride, p);
    const auto ds_t = weights_by_rows<T>(ds, rows, all_keys, stride, p + stride);
    const E* ds_rows = weights_side_by_side<T>(ds, rows, all_keys, stride);
    if (to.dq.data) {
      gemm_small(rows, d, elements<T>(all_keys), ds_rows, {stride, 1}, k, d, dq, d, false);
      for (int64_t i = 0; i < rows; ++i) store_row(dq + i * d, A(in.scale), d, to.dq.at(at + i), to.dq.column);
    }
    const bool add = at > 0;
    if (to.dk.data || head.needs_dk) {
      const E* rows_of_q = by_rows<T>(q, rows, d, q_pairs);
      gemm_small(all_keys, d, elements<T>(rows), ds_t.data, {1, ds_t.stride}, rows_of_q, d, dk, d, add);
    }
    if (to.dv.data || head.needs_dv) {
      const E* rows_of_g = by_rows<T>(g, rows, d, g_pairs);
      gemm_small(head.needs_dv ? all_values : keys, d, elements<T>(rows), p_t.data, {1, p_t.stride}, rows_of_g, d, dv,
                 d, add);
    }
  }
  head.finish(k, dk, dv);
  for (int64_t j = 0; j < keys; ++j) {
    if (to.dk.data) store_row(dk + j * d, A(in.scale), d, to.dk.at(j), to.dk.column);
    if (to.dv.data) store_row(dv + j * d, A(1), d, to.dv.at(j), to.dv.column);
  }
}

/// Tasks into which the forward cuts the queries of a head: the fewest that keep all threads busy, to a tenth, as each
/// lays out k and v for itself.
inline int64_t forward_parts(const AttentionInputs& in) {
  const int64_t heads = in.q.size(0) * in.q.size(1), most = (in.q.size(2) + 31) / 32, threads = num_threads();
  const auto idle = [&](int64_t parts) {
    const int64_t tasks = heads * parts, rounds = (tasks + threads - 1) / threads;
    return double(rounds * threads - tasks) / double(tasks);
  };
  int64_t best = 1;
  for (int64_t parts = 2; parts <= most && idle(best) > 0.1; ++parts)
    if (idle(parts) < idle(best)) best = parts;
  return best;
}

/// The forward slot's work for any terms.
template <class T, class Terms>
void forward_tasks(const AttentionInputs& in, const Terms& terms, Tensor& out, Tensor& lse) {
  const int64_t heads = in.q.size(0) * in.q.size(1), queries = in.q.size(2);
  const int64_t parts = forward_parts(in), rows = (queries + parts - 1) / parts;
  T* to = out.mutable_data<T>();
  auto* sums = lse.mutable_data<accumulate_t<T>>();
  parallel_for(heads * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t bh = task / parts, first = task % parts * rows, last = std::min(queries, first + rows);
      if (first < last)
        forward_rows<T>(in, terms, bh, first, last, matrix_of(to, out, bh / in.q.size(1), bh % in.q.size(1)), sums);
    }
  });
}

/// The backward slot's work for any terms.
template <class T, class Terms>
void backward_tasks(const AttentionInputs& in, const Terms& terms, const Tensor& out, const Tensor& lse,
                    const Tensor& dout, AttentionGradients& gradients) {
  const int64_t batch = in.q.size(0), heads = in.q.size(1), scores = in.q.size(2) * in.k.size(2);
  T *dq = writable<T>(gradients.dq), *dk = writable<T>(gradients.dk), *dv = writable<T>(gradients.dv);
  T* dbias = writable<T>(gradients.dbias);
  const auto* sums = lse.data<accumulate_t<T>>();
  auto* delta = gradients.delta.mutable_data<accumulate_t<T>>();
  parallel_for(batch * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t bh = begin; bh < end; ++bh) {
      const int64_t b = bh / heads, h = bh % heads;
      const HeadGradients<T> to{matrix_of(dq, gradients.dq, b, h), matrix_of(dk, gradients.dk, b, h),
                                matrix_of(dv, gradients.dv, b, h), dbias ? dbias + bh * scores : nullptr};
      backward_head<T>(in, terms, bh, out, sums, dout, to, delta);
    }
  });
}

}  // namespace vitrine::ops::attention_cpu
