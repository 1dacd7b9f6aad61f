#pragma once
#include <algorithm>

#include "core/microkernel.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/matmul/ahead.h"
#include "ops/matmul/gemm_desc.h"

/// Products whose factors lie across k, as in the gradient of a weight: c [m, n] = a b, where a [m, k] lies column
/// after column (BLAS's "TN") and b [k, n] row after row, so that c is the sum over k of outer products of dense rows.
///
/// Both factors are activations, which come from memory, not from a cache. Some rows of both are laid out for the
/// tiles of gemm_small and multiplied while the next ones are on their way.
namespace vitrine::outer_products {

/// Rows of a and b that are multiplied at a time.
constexpr int64_t kDepth = 128;

/// How an element E of gemm_small comes from the T of factors: of one row, converted, or of two, as pairs.
template <class E, class T>
struct Layout {
  static constexpr int64_t kPer = 1;
  static void row(Rows<const T> x, int64_t i, int64_t, E* y) {
    const T* from = x.at(i);
    for (int64_t j = 0; j < x.columns; ++j) y[j] = convert<E>(from[j]);
  }
};
template <>
struct Layout<Bf16Pair, bf16> {
  static constexpr int64_t kPer = 2;
  static void row(Rows<const bf16> x, int64_t i, int64_t end, Bf16Pair* y) {
    simd::pair_rows(x.at(i), i + 1 < end ? x.at(i + 1) : nullptr, x.columns, y);
  }
};

/// c [a.columns, b.columns] = the sum over k rows of their outer products.
template <class E, class T>
void multiply(int64_t k, Rows<const T> a, Rows<const T> b, Rows<product_t<E>> c) {
  constexpr int64_t kRows = kTileRows<E>, kColumns = kTileColumns<E>, kPer = Layout<E, T>::kPer;
  const int64_t lda = row_stride(a.columns), ldb = row_stride(b.columns);
  const int64_t tiles = parts(a.columns, kRows) * parts(b.columns, kColumns);
  Scratch<E> scratch(kDepth / kPer * (lda + ldb));
  E *const pa = scratch.take(kDepth / kPer * lda), *const pb = scratch.take(kDepth / kPer * ldb);
  for (int64_t p = 0; p < k; p += kDepth) {
    const int64_t end = std::min(k, p + kDepth), next = std::min(kDepth, k - end);
    for (int64_t i = p; i < end; i += kPer) {
      Layout<E, T>::row(a, i, end, pa + (i - p) / kPer * lda);
      Layout<E, T>::row(b, i, end, pb + (i - p) / kPer * ldb);
    }
    Ahead ahead_a(a, end, next, tiles), ahead_b(b, end, next, tiles);
    for (int64_t j = 0; j < b.columns; j += kColumns)
      for (int64_t i = 0; i < a.columns; i += kRows) {
        ahead_a.read();
        ahead_b.read();
        gemm_small<E>(std::min(kRows, a.columns - i), std::min(kColumns, b.columns - j), parts(end - p, kPer), pa + i,
                      {1, lda}, pb + j, ldb, c.at(i) + j, c.stride, p > 0);
      }
  }
}

/// Whether the factors lie so, and it is no small product.
inline bool suits(const GemmDesc& d) {
  const bool layout = d.a.row == 1 && d.a.column >= d.m && d.b.column == 1 && d.b.row >= d.n && d.batch_dims == 0;
  return layout && d.m >= 32 && d.n >= 32 && 2 * d.k >= 3 * kDepth;
}

/// multiply() by all threads, each some rows and columns of c; calls put(i, j, rows, sums) with the `rows` sums from
/// row i and column j on. `place`, if not null, is c, in which they are made; else in scratch.
template <class E, class T, class F>
void for_each_part(const GemmDesc& d, const T* a, const T* b, product_t<E>* place, F put) {
  // Whole tiles: the least work, then the least memory.
  int64_t down = 0, across = 0;  // rows and columns of a part
  for (int64_t threads = num_threads(), n = 1; n <= threads; ++n) {
    const int64_t r = round_up(parts(d.m, n), kTileRows<E>), c = round_up(parts(d.n, threads / n), kTileColumns<E>);
    const int64_t work = r * c, least = down * across;
    if (least == 0 || work < least || (work == least && r + c < down + across)) down = r, across = c;
  }
  const int64_t in_row = parts(d.n, across);
  parallel_for(parts(d.m, down) * in_row, 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t i = g / in_row * down, j = g % in_row * across;
      const int64_t rows = std::min(down, d.m - i), columns = std::min(across, d.n - j);
      const int64_t stride = round_up(columns, kLine);
      Scratch<product_t<E>> scratch(place ? 0 : rows * stride);
      const Rows<product_t<E>> sums = place ? Rows<product_t<E>>{place + i * d.c.row + j, columns, d.c.row}
                                            : Rows<product_t<E>>{scratch.take(rows * stride), columns, stride};
      multiply<E, T>(d.k, {a + i, rows, d.a.column}, {b + j, columns, d.b.row}, sums);
      put(i, j, rows, sums);
    }
  });
}

}  // namespace vitrine::outer_products
