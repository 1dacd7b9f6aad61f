#pragma once
#include <algorithm>
#include <type_traits>

#include "core/microkernel.h"
#include "core/reduce_row.h"
#include "core/scratch.h"
#include "core/tensor.h"

/// Blocks of fused attention on a CPU, and the rows of a head. Private to attention and the ops that add terms to
/// it.
namespace vitrine::ops::attention_cpu {

constexpr int64_t kScoreBytes = 1 << 17;  // of one block of scores

/// Query rows in a block: equal blocks of whole register tiles, as many as kScoreBytes allows.
inline int64_t block_rows(int64_t queries, int64_t row_bytes) {
  constexpr int64_t kTile = kTileRows<float>;
  const int64_t most = std::max(kTile, kScoreBytes / std::max<int64_t>(1, row_bytes) / kTile * kTile);
  const int64_t blocks = (queries + most - 1) / most;
  return round_up((queries + blocks - 1) / blocks, kTile);
}

/// One (b, h) of a [B, H, L, D] (or [B, H, Lq, Lk]) tensor.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t row = 0, column = 0;
  T* at(int64_t i) const { return data + i * row; }
};
/// (b, h) of x, to read; null data if x is undefined.
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
/// Its data to write to, null if x is undefined.
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

/// y = factor * x, one row.
template <class T, class A>
void store_row(const A* x, A factor, int64_t d, T* y, int64_t column) {
  if (column == 1) {
    map_row<A>(
        d, A(0), [factor](auto v) { return v * factor; }, y, x);
  } else {
    for (int64_t c = 0; c < d; ++c) y[c * column] = T(x[c] * factor);
  }
}

}  // namespace vitrine::ops::attention_cpu
