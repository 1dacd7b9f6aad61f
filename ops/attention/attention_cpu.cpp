#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/allocator.h"
#include "core/microkernel.h"
#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/attention/attention_kernels.h"

// A task is one (b, h), or some of its query rows. It copies its part of q, k and v (in the accumulator's type, scale
// folded into q) into dense scratch that stays in the core's second-level cache, and works on blocks of query rows with
// the scores of all keys, so that the softmax of a row needs one pass. Rows of scores are padded to whole vectors.
namespace vitrine::ops {
namespace {

constexpr int kLine = 16;                 // rows of scores are padded to this many elements
constexpr int64_t kScoreBytes = 1 << 17;  // of one block of scores
constexpr int64_t kTasks = 16;            // the forward splits the queries of a head until there are about so many

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/// Query rows in a block: equal blocks of whole register tiles, as many as kScoreBytes allows.
int64_t block_rows(int64_t queries, int64_t row_bytes) {
  constexpr int64_t kTile = kTileRows<float>;
  const int64_t most = std::max(kTile, kScoreBytes / std::max<int64_t>(1, row_bytes) / kTile * kTile);
  const int64_t blocks = (queries + most - 1) / most;
  return round_up((queries + blocks - 1) / blocks, kTile);
}

/// Memory of one task, from the allocator (so that its statistics show it).
template <class A>
class Scratch {
 public:
  explicit Scratch(int64_t elements)
      : bytes_(size_t(elements) * sizeof(A)), data_(allocator(Device::cpu()).allocate(bytes_)) {}
  ~Scratch() { allocator(Device::cpu()).free(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// The next `elements`, a multiple of kLine, from the front.
  A* take(int64_t elements) {
    A* p = reinterpret_cast<A*>(data_) + taken_;
    taken_ += elements;
    return p;
  }

 private:
  size_t bytes_;
  std::byte* data_;
  int64_t taken_ = 0;
};

/// One (b, h) of a [B, H, L, D] (or [B, H, Lq, Lk]) tensor.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t row = 0, column = 0;
  T* at(int64_t i) const { return data + i * row; }
};
template <class T>
Matrix<const T> matrix(const Tensor& x, int64_t b, int64_t h) {
  if (!x.defined()) return {};
  return {x.data<T>() + b * x.stride(0) + h * x.stride(1), x.stride(2), x.stride(3)};
}
/// `data` is x.mutable_data<T>(), taken once before the tasks start.
template <class T>
Matrix<T> matrix_of(T* data, const Tensor& x, int64_t b, int64_t h) {
  if (!data) return {};
  return {data + b * x.stride(0) + h * x.stride(1), x.stride(2), x.stride(3)};
}
template <class T>
T* writable(Tensor& x) {
  return x.defined() ? x.mutable_data<T>() : nullptr;
}

/// Brings row i into the second-level cache. The rows of a head lie apart in memory, which the hardware's prefetcher
/// does not follow, so the row loops ask for the next head's rows while they compute.
template <class T>
void prefetch_row(Matrix<T> x, int64_t i, int64_t rows, int64_t d) {
  constexpr int64_t kStep = 64 / int64_t(sizeof(T));
  if (!x.data || x.column != 1 || i >= rows) return;
  for (int64_t c = 0; c < d; c += kStep) __builtin_prefetch(x.at(i) + c, !std::is_const_v<T>, 2);
}
/// The head after `bh` of x, without data if there is none.
template <class T>
Matrix<const T> next_head(const Tensor& x, int64_t bh) {
  const int64_t heads = x.size(1), next = bh + 1;
  return next < x.size(0) * heads ? matrix<T>(x, next / heads, next % heads) : Matrix<const T>{};
}

/// y [rows, d] = factor * x, dense.
template <class T, class A>
void load_rows(Matrix<const T> x, int64_t first, int64_t rows, int64_t d, A factor, A* y) {
  for (int64_t i = 0; i < rows; ++i, y += d) {
    const T* from = x.at(first + i);
    if (x.column == 1) {
      for (int64_t c = 0; c < d; ++c) y[c] = A(from[c]) * factor;
    } else {
      for (int64_t c = 0; c < d; ++c) y[c] = A(from[c * x.column]) * factor;
    }
  }
}
template <class T, class A>
void store_row(const A* x, A factor, int64_t d, T* y, int64_t column) {
  if (column == 1) {
    for (int64_t c = 0; c < d; ++c) y[c] = T(x[c] * factor);
  } else {
    for (int64_t c = 0; c < d; ++c) y[c * column] = T(x[c] * factor);
  }
}

/// y [d, padded] = x [keys, d] transposed, zeros behind column `keys`.
template <class A>
void transpose_keys(const A* x, int64_t keys, int64_t d, A* y, int64_t padded) {
  transpose_small(keys, d, x, d, y, padded);
  for (int64_t c = 0; c < d; ++c) std::fill(y + c * padded + keys, y + (c + 1) * padded, A(0));
}

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

/// s_j = exp(s_j - m), m = max_j s_j, over a padded row; returns the sum and sets lse (as the slot says).
template <class A>
A exponentiate(A* s, int64_t keys, int64_t padded, A& lse) {
  std::fill(s + keys, s + padded, -A(INFINITY));
  auto largest = simd::broadcast(-A(INFINITY));
  for (int64_t j = 0; j < padded; j += simd::kLanes<A>) largest = simd::max(largest, simd::load(s + j));
  A m = simd::horizontal_max<A>(largest);
  if (m == -A(INFINITY)) m = 0;
  for (int64_t j = 0; j < padded; ++j) s[j] = vm::exp_weight(s[j] - m);
  simd::Vec<A> sums{};
  for (int64_t j = 0; j < padded; j += simd::kLanes<A>) sums += simd::load(s + j);
  const A sum = simd::horizontal_sum<A>(sums);
  lse = sum == 0 ? A(INFINITY) : m + std::log(sum);
  return sum;
}

/// f(j, z) with z = 0 for the dropped weights of a row and 1 / (1 - p) for the others; `first` is the index of the row
/// in [B, H, Lq, Lk].
template <class A, class F>
void for_each_weight(const AttentionInputs& in, int64_t first, int64_t keys, F f) {
  const A kept = A(1 / (1 - in.dropout));
  const float p = float(in.dropout);
  for (int64_t j = 0; j < keys; ++j) f(j, in.draw.uniform(first + j) < p ? A(0) : kept);
}

/// Query rows [first, last) of head `bh`.
template <class T, class A = accumulate_t<T>>
void forward_rows(const AttentionInputs& in, int64_t bh, int64_t first, int64_t last, Matrix<T> out, A* lse) {
  const int64_t heads = in.q.size(1), b = bh / heads, h = bh % heads;
  const int64_t queries = in.q.size(2), keys = in.k.size(2), d = in.q.size(3), padded = round_up(keys, kLine);
  const int64_t block = block_rows(last - first, padded * int64_t(sizeof(A)));
  const int64_t kd = round_up(keys * d, kLine), bd = round_up(block * d, kLine);
  Scratch<A> scratch(kd + d * padded + 2 * bd + round_up(block, kLine) + block * padded);
  A *v = scratch.take(kd), *k_t = scratch.take(d * padded), *q = scratch.take(bd), *o = scratch.take(bd);
  A *inverse = scratch.take(round_up(block, kLine)), *s = scratch.take(block * padded);
  load_rows(matrix<T>(in.k, b, h), 0, keys, d, A(1), v);
  transpose_keys(v, keys, d, k_t, padded);
  load_rows(matrix<T>(in.v, b, h), 0, keys, d, A(1), v);
  const auto bias = matrix<T>(in.bias, b, h);
  const auto mask = matrix<bool>(in.mask, b, h);
  const auto next_q = next_head<T>(in.q, bh), next_k = next_head<T>(in.k, bh), next_v = next_head<T>(in.v, bh);
  for (int64_t at = first; at < last; at += block) {
    const int64_t rows = std::min(block, last - at);
    load_rows(matrix<T>(in.q, b, h), at, rows, d, A(in.scale), q);
    gemm_small(rows, padded, d, q, {d, 1}, k_t, padded, s, padded, false);
    for (int64_t i = 0; i < rows; ++i) {
      A* row = s + i * padded;
      const int64_t index = bh * queries + at + i;
      prefetch_row(out, at + i, queries, d);
      prefetch_row(next_q, at + i, queries, d);
      prefetch_row(next_k, at + i, keys, d);
      prefetch_row(next_v, at + i, keys, d);
      bias_and_mask(row, keys, bias, mask, at + i);
      const A sum = exponentiate(row, keys, padded, lse[index]);
      inverse[i] = sum == 0 ? A(0) : 1 / sum;
      if (in.dropout > 0) for_each_weight<A>(in, index * keys, keys, [row](int64_t j, A z) { row[j] *= z; });
    }
    gemm_small(rows, d, keys, s, {padded, 1}, v, d, o, d, false);
    for (int64_t i = 0; i < rows; ++i) store_row(o + i * d, inverse[i], d, out.at(at + i), out.column);
  }
}

/// Where one head's gradients go; those without data are not wanted.
template <class T>
struct HeadGradients {
  Matrix<T> dq, dk, dv;
  T* dbias;
};

/// One row of backward. From scores s and products dp = dout v: p = exp(s - lse) (times z) into s, ds into dp.
template <class A>
void backward_row(const AttentionInputs& in, int64_t index, int64_t keys, int64_t padded, A lse, A delta, A* s, A* dp) {
  if (in.dropout > 0) {
    for (int64_t j = 0; j < keys; ++j) s[j] = vm::exp_weight(s[j] - lse);
    for_each_weight<A>(in, index * keys, keys, [=](int64_t j, A z) {
      dp[j] = s[j] * (z * dp[j] - delta);
      s[j] *= z;
    });
    return;
  }
  for (int64_t j = 0; j < padded; ++j) {
    const A p = vm::exp_weight(s[j] - lse);
    dp[j] = p * (dp[j] - delta);
    s[j] = p;
  }
}

template <class T, class A = accumulate_t<T>>
void backward_head(const AttentionInputs& in, int64_t bh, const Tensor& out, const A* lse, const Tensor& dout,
                   const HeadGradients<T>& to, A* delta) {
  const int64_t heads = in.q.size(1), b = bh / heads, h = bh % heads;
  const int64_t queries = in.q.size(2), keys = in.k.size(2), d = in.q.size(3), padded = round_up(keys, kLine);
  const int64_t block = block_rows(queries, 2 * padded * int64_t(sizeof(A)));
  const int64_t kd = round_up(keys * d, kLine), bd = round_up(block * d, kLine);
  Scratch<A> scratch(3 * kd + 2 * d * padded + 3 * bd + 2 * block * padded);
  A *k = scratch.take(kd), *dk = scratch.take(kd), *dv = scratch.take(kd);
  A *k_t = scratch.take(d * padded), *v_t = scratch.take(d * padded);
  A *q = scratch.take(bd), *dq = scratch.take(bd), *g = scratch.take(bd);
  A *p = scratch.take(block * padded), *ds = scratch.take(block * padded);
  load_rows(matrix<T>(in.v, b, h), 0, keys, d, A(1), k);
  transpose_keys(k, keys, d, v_t, padded);
  load_rows(matrix<T>(in.k, b, h), 0, keys, d, A(1), k);
  transpose_keys(k, keys, d, k_t, padded);
  const auto bias = matrix<T>(in.bias, b, h);
  const auto mask = matrix<bool>(in.mask, b, h);
  const Matrix<const T> next[] = {next_head<T>(in.q, bh), next_head<T>(out, bh), next_head<T>(dout, bh),
                                  next_head<T>(in.k, bh), next_head<T>(in.v, bh)};
  for (int64_t at = 0; at < queries; at += block) {
    const int64_t rows = std::min(block, queries - at), first = bh * queries + at;
    load_rows(matrix<T>(dout, b, h), at, rows, d, A(1), g);
    load_rows(matrix<T>(out, b, h), at, rows, d, A(1), q);
    for (int64_t i = 0; i < rows; ++i)
      delta[first + i] = row_sum<A>(d, [x = g + i * d, y = q + i * d](int64_t c) { return x[c] * y[c]; });
    load_rows(matrix<T>(in.q, b, h), at, rows, d, A(in.scale), q);
    gemm_small(rows, padded, d, q, {d, 1}, k_t, padded, p, padded, false);
    gemm_small(rows, padded, d, g, {d, 1}, v_t, padded, ds, padded, false);
    for (int64_t i = 0; i < rows; ++i) {
      prefetch_row(to.dq, at + i, queries, d);
      prefetch_row(to.dk, at + i, keys, d);
      prefetch_row(to.dv, at + i, keys, d);
      for (int n = 0; n < 5; ++n) prefetch_row(next[n], at + i, n < 3 ? queries : keys, d);
      bias_and_mask(p + i * padded, keys, bias, mask, at + i);
      backward_row(in, first + i, keys, padded, lse[first + i], delta[first + i], p + i * padded, ds + i * padded);
      if (to.dbias) store_row(ds + i * padded, A(1), keys, to.dbias + (at + i) * keys, 1);
    }
    if (to.dq.data) {
      gemm_small(rows, d, keys, ds, {padded, 1}, k, d, dq, d, false);
      for (int64_t i = 0; i < rows; ++i) store_row(dq + i * d, A(in.scale), d, to.dq.at(at + i), to.dq.column);
    }
    if (to.dk.data) gemm_small(keys, d, rows, ds, {1, padded}, q, d, dk, d, at > 0);
    if (to.dv.data) gemm_small(keys, d, rows, p, {1, padded}, g, d, dv, d, at > 0);
  }
  for (int64_t j = 0; j < keys; ++j) {
    if (to.dk.data) store_row(dk + j * d, A(1), d, to.dk.at(j), to.dk.column);
    if (to.dv.data) store_row(dv + j * d, A(1), d, to.dv.at(j), to.dv.column);
  }
}

void forward(const AttentionInputs& in, Tensor& out, Tensor& lse) {
  const int64_t heads = in.q.size(0) * in.q.size(1), queries = in.q.size(2);
  const int64_t parts = std::min((kTasks + heads - 1) / heads, (queries + 31) / 32);
  const int64_t rows = (queries + parts - 1) / parts;
  dispatch_floating(in.q.dtype(), [&]<class T>() {
    T* to = out.mutable_data<T>();
    auto* sums = lse.mutable_data<accumulate_t<T>>();
    parallel_for(heads * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t bh = task / parts, first = task % parts * rows, last = std::min(queries, first + rows);
        if (first < last)
          forward_rows<T>(in, bh, first, last, matrix_of(to, out, bh / in.q.size(1), bh % in.q.size(1)), sums);
      }
    });
  });
}

void backward(const AttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& gradients) {
  const int64_t batch = in.q.size(0), heads = in.q.size(1), scores = in.q.size(2) * in.k.size(2);
  dispatch_floating(in.q.dtype(), [&]<class T>() {
    T *dq = writable<T>(gradients.dq), *dk = writable<T>(gradients.dk), *dv = writable<T>(gradients.dv);
    T* dbias = writable<T>(gradients.dbias);
    const auto* sums = lse.data<accumulate_t<T>>();
    auto* delta = gradients.delta.mutable_data<accumulate_t<T>>();
    parallel_for(batch * heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t bh = begin; bh < end; ++bh) {
        const int64_t b = bh / heads, h = bh % heads;
        const HeadGradients<T> to{matrix_of(dq, gradients.dq, b, h), matrix_of(dk, gradients.dk, b, h),
                                  matrix_of(dv, gradients.dv, b, h), dbias ? dbias + bh * scores : nullptr};
        backward_head<T>(in, bh, out, sums, dout, to, delta);
      }
    });
  });
}

const Bind bind_forward(attention_forward, DeviceType::cpu, forward);
const Bind bind_backward(attention_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
