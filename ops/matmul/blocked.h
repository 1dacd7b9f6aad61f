#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/microkernel.h"
#include "core/parallel.h"
#include "ops/matmul/outer_products.h"

/// The hand-written matrix product: f64, f32 and bf16 where oneDNN has no fast kernels (processors without AVX-512 have
/// none), and the reference for every floating type.
namespace vitrine {

namespace detail {

/// y [rows, columns] = x, converted and made dense with leading dimension ldy; x(i, j) = x[i * row + j * column].
template <class T, class A>
void pack_dense(int64_t rows, int64_t columns, const T* x, int64_t row, int64_t column, A* y, int64_t ldy) {
  if constexpr (std::is_same_v<T, A>)
    if (row == 1 && column != 1) return transpose_small(columns, rows, x, column, y, ldy);
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = x + i * row;
    A* to = y + i * ldy;
    if (column == 1) {
      for (int64_t j = 0; j < columns; ++j) to[j] = convert<A>(from[j]);
    } else {
      for (int64_t j = 0; j < columns; ++j) to[j] = convert<A>(from[j * column]);
    }
  }
}

}  // namespace detail

/// Elements of pack_panels' result.
template <class A>
int64_t panels_size(const GemmDesc& desc) {
  return round_up(desc.n, kTileColumns<A>) * desc.k;
}
/// B of `desc`, which has no batch, in panels of one tile's width, one behind the other: [k, kTileColumns] each.
template <class T>
void pack_panels(const GemmDesc& desc, const T* b, accumulate_t<T>* to) {
  constexpr int64_t kWidth = kTileColumns<accumulate_t<T>>;
  parallel_for(parts(desc.n, kWidth), std::max<int64_t>(1, 32768 / (kWidth * std::max<int64_t>(desc.k, 1))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t first = begin * kWidth; first < end * kWidth; first += kWidth)
                   detail::pack_dense(desc.k, std::min(kWidth, desc.n - first), b + first * desc.b.column, desc.b.row,
                                      desc.b.column, to + first * desc.k, kWidth);
               });
}

namespace detail {

/// Rows [first, first + rows) of A, dense along k, of type A: where they lie, or copied to `scratch`.
template <class A, class T>
Rows<const A> rows_along_k(const GemmDesc& d, const T* a, int64_t first, int64_t rows, std::vector<A>& scratch) {
  const T* const from = a + first * d.a.row;
  if constexpr (std::is_same_v<T, A>)
    if (d.a.column == 1) return {from, d.k, d.a.row};
  if (int64_t(scratch.size()) < rows * d.k) scratch.resize(size_t(rows * d.k));
  pack_dense(rows, d.k, from, d.a.row, d.a.column, scratch.data(), d.k);
  return {scratch.data(), d.k, d.k};
}

/// sums [rows, columns] = x [rows, k] * panel [k, kTileColumns], kDepth terms at a time.
template <class A>
void multiply_panel(int64_t rows, int64_t columns, Rows<const A> x, const A* panel, Rows<A> sums) {
  constexpr int64_t kDepth = outer_products::kDepth;
  for (int64_t p = 0; p == 0 || p < x.columns; p += kDepth)
    gemm_small<A>(rows, columns, std::min(kDepth, x.columns - p), x.data + p, {x.stride, 1},
                  panel + p * kTileColumns<A>, kTileColumns<A>, sums.data, sums.stride, p > 0);
}

/// What becomes of sums [rows, columns] that are done: with the bias, or added to what is there, they are rounded into
/// c, unless they are there already.
template <class A, class B, class C>
void finish(const GemmDesc& d, int64_t rows, Rows<A> sums, const B* bias, C* c) {
  if constexpr (std::is_same_v<A, C>) {
    if (sums.data == c) {
      for (int64_t r = 0; d.bias && r < rows; ++r, c += d.c.row)
        for (int64_t j = 0; j < sums.columns; ++j) c[j] += A(bias[j]);
      return;
    }
  }
  for (int64_t r = 0; r < rows; ++r, c += d.c.row) {
    for (int64_t j = 0; j < sums.columns; ++j) {
      A sum = sums.at(r)[j];
      if (d.bias) sum += A(bias[j]);
      if (d.accumulate) sum += A(c[j]);
      c[j] = convert<C>(sum);
    }
  }
}

/// One product of the batch. Panels of B serve all rows of A; while some of these are multiplied, the memory is asked
/// for the next ones and for the place of their result.
template <class T, class B, class C>
void blocked_product(const GemmDesc& d, const T* a, const T* b, const B* bias, C* c, const accumulate_t<T>* pb) {
  using A = accumulate_t<T>;
  constexpr int64_t kWidth = kTileColumns<A>, kRows = 8 * kTileRows<A>;
  const int64_t panels = parts(d.n, kWidth);
  if (!pb) {
    thread_local std::vector<A> packed;
    if (int64_t(packed.size()) < panels_size<A>(d)) packed.resize(size_t(panels_size<A>(d)));
    pack_panels(d, b, packed.data());
    pb = packed.data();
  }
  parallel_for(d.m, kRows, [&](int64_t begin, int64_t end) {
    thread_local std::vector<A> scratch;
    A tile[kRows * kWidth];
    for (int64_t i = begin; i < end; i += kRows) {
      const int64_t height = std::min(kRows, end - i), next = std::min(kRows, d.m - i - height);
      const Rows<const A> x = rows_along_k<A>(d, a, i, height, scratch);
      Ahead ahead_a(Rows<const T>{a, d.k, d.a.row}, i + height, d.a.column == 1 ? next : 0, panels);
      Ahead ahead_c(Rows<C>{c, d.n, d.c.row}, i + height, next, panels);
      for (int64_t panel = 0; panel < panels; ++panel) {
        ahead_a.read();
        ahead_c.write();
        const int64_t first = panel * kWidth, width = std::min(kWidth, d.n - first);
        C* const to = c + i * d.c.row + first;
        Rows<A> sums{tile, width, kWidth};
        if constexpr (std::is_same_v<A, C>)
          if (!d.accumulate) sums = {to, width, d.c.row};
        multiply_panel(height, width, x, pb + first * d.k, sums);
        finish(d, height, sums, d.bias ? bias + first : nullptr, to);
      }
    }
  });
}

}  // namespace detail

/// Runs `desc` with factors of type T, bias of type B and result of type C, whatever types the description names. Sums
/// run in accumulate_t<T> over k, 128 terms at a time; they depend on the sizes alone, not on strides, batches or
/// threads. `panels`, if not null, are those of b.
template <class T, class B, class C>
void blocked_gemm(const GemmDesc& desc, const T* a, const T* b, const B* bias, C* c,
                  const accumulate_t<T>* panels = nullptr) {
  if (desc.m == 0 || desc.n == 0) return;
  if (!panels && outer_products::suits(desc)) {
    using A = accumulate_t<T>;
    A* place = nullptr;
    if constexpr (std::is_same_v<A, C>) place = desc.accumulate ? nullptr : c;
    return outer_products::for_each_part<A>(desc, a, b, place, [&](int64_t i, int64_t j, int64_t rows, Rows<A> sums) {
      detail::finish(desc, rows, sums, desc.bias ? bias + j : nullptr, c + i * desc.c.row + j);
    });
  }
  parallel_for(desc.batch_count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      detail::blocked_product(desc, a + desc.batch_offset(desc.a, g), b + desc.batch_offset(desc.b, g), bias,
                              c + desc.batch_offset(desc.c, g), panels);
  });
}

}  // namespace vitrine
