#pragma once
#include <algorithm>
#include <cstdint>

#include "core/amx.h"
#include "core/bf16_pairs.h"
#include "core/sanitizer.h"
#include "core/simd.h"

/// Products of small matrices that stay in the cache, on one thread: the inner step of fused attention and of blocked
/// matmul. Row-major, any leading dimensions, every size. T, the type of the factors, is float, double or Bf16Pair: a
/// pair is one element, so that k counts pairs.
namespace vitrine {

/// The type in which products of T are summed.
template <class T>
using product_t = std::conditional_t<std::is_same_v<T, Bf16Pair>, float, T>;

/// Rows and columns of the largest tile that fits the registers: 24 accumulators of 32 registers, or 12 of 16.
template <class T>
constexpr int kTileRows = 6;
template <class T>
constexpr int kTileVectors = simd::kVectorBytes == 64 ? 4 : 2;
template <class T>
constexpr int kTileColumns = kTileVectors<T>* simd::kLanes<T>;

namespace detail {
/// gemm_small without its checks. For float, double and Bf16Pair.
template <class T>
void gemm(int64_t m, int64_t n, int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c,
          int64_t ldc, bool accumulate, product_t<T> factor);
}  // namespace detail

/// C [m, n] = factor * A [m, k] * B [k, n], or += if `accumulate`. B and C have unit column stride, A has one unit
/// stride. At its best while a panel of kTileColumns columns of B stays in the cache (k up to a few hundred). Each
/// element of C is one sum over p = 0, 1, ... in product_t, whatever the sizes; pairs are summed by tiles where the
/// processor has them (core/amx.h).
template <class T>
void gemm_small(int64_t m, int64_t n, int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c,
                int64_t ldc, bool accumulate, product_t<T> factor = 1) {
  if constexpr (sanitizer::kAddress) {  // here, once: access by access it would take 30 times as long as the product
    const bool rows = sa.column == 1;
    sanitizer::check_rows(rows ? m : k, a, rows ? k : m, rows ? sa.row : sa.column);
    sanitizer::check_rows(k, b, n, ldb);
    sanitizer::check_rows(m, c, n, ldc);
  }
  detail::gemm<T>(m, n, k, a, sa, b, ldb, c, ldc, accumulate, factor);
}

/// y[j, i] = x[i, j] for x [rows, columns]: brings K [keys, d] into the form [d, keys] that gemm_small takes as B.
template <class T>
void transpose_small(int64_t rows, int64_t columns, const T* x, int64_t ldx, T* y, int64_t ldy) {
  constexpr int kWidth = simd::kLanes<T>;
  for (int64_t i = 0; i < rows; i += kWidth) {
    const int height = int(std::min<int64_t>(kWidth, rows - i));
    for (int64_t j = 0; j < columns; j += kWidth) {
      const int width = int(std::min<int64_t>(kWidth, columns - j));
      std::array<simd::Vec<T>, size_t(kWidth)> block{};
      for (int r = 0; r < height; ++r) {
        const T* row = x + (i + r) * ldx + j;
        block[r] = width == kWidth ? simd::load(row) : simd::load_first(row, width);
      }
      simd::transpose<T>(block);
      for (int r = 0; r < width; ++r) {
        T* row = y + (j + r) * ldy + i;
        if (height == kWidth) {
          simd::store(row, block[r]);
        } else {
          simd::store_first(row, block[r], height);
        }
      }
    }
  }
}

}  // namespace vitrine
