#pragma once
#include <algorithm>
#include <cstdint>

#include "core/amx.h"
#include "core/bf16_pairs.h"
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

/// C [M, 16 V - 16 + tail] = factor * A [M, k] * B [k, same], or += if `accumulate` (16 is kLanes<T>). `Partial` masks
/// the last vector of each row to `tail` elements; without it tail is not read. Sums run over p = 0, 1, ... in
/// product_t.
template <int M, int V, bool Partial, class T>
inline void gemm_tile(int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c, int64_t ldc,
                      bool accumulate, product_t<T> factor, int tail) {
  constexpr int kWidth = simd::kLanes<T>;
  auto read = [&](const auto* p, int v) {
    if constexpr (Partial)
      if (v == V - 1) return simd::load_first(p + v * kWidth, tail);
    return simd::load(p + v * kWidth);
  };
  simd::Vec<product_t<T>> sum[M][V] = {};
  for (int64_t p = 0; p < k; ++p) {
    simd::Vec<T> row[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) row[v] = read(b + p * ldb, v);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const simd::Vec<T> x = simd::broadcast(a[i * sa.row + p * sa.column]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        if constexpr (std::is_same_v<T, Bf16Pair>) {
          sum[i][v] = simd::dot_pairs(sum[i][v], x, row[v]);
        } else {
          sum[i][v] += x * row[v];
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      if (factor != 1) sum[i][v] *= simd::broadcast(factor);
      if (accumulate) sum[i][v] += read(c + i * ldc, v);
      if (Partial && v == V - 1) {
        simd::store_first(c + i * ldc + v * kWidth, sum[i][v], tail);
      } else {
        simd::store(c + i * ldc + v * kWidth, sum[i][v]);
      }
    }
  }
}

namespace detail {
template <int M, int V, class T>
void gemm_tile_any_width(int64_t n, int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c,
                         int64_t ldc, bool accumulate, product_t<T> factor) {
  constexpr int kWidth = simd::kLanes<T>;
  if constexpr (V > 1)
    if (n <= (V - 1) * kWidth) return gemm_tile_any_width<M, V - 1>(n, k, a, sa, b, ldb, c, ldc, accumulate, factor);
  if (n == V * kWidth) return gemm_tile<M, V, false>(k, a, sa, b, ldb, c, ldc, accumulate, factor, kWidth);
  gemm_tile<M, V, true>(k, a, sa, b, ldb, c, ldc, accumulate, factor, int(n - (V - 1) * kWidth));
}

template <int M, class T>
void gemm_tile_any(int64_t m, int64_t n, int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c,
                   int64_t ldc, bool accumulate, product_t<T> factor) {
  if constexpr (M > 1)
    if (m < M) return gemm_tile_any<M - 1>(m, n, k, a, sa, b, ldb, c, ldc, accumulate, factor);
  gemm_tile_any_width<M, kTileVectors<T>>(n, k, a, sa, b, ldb, c, ldc, accumulate, factor);
}
}  // namespace detail

/// C [m, n] = factor * A [m, k] * B [k, n], or += if `accumulate`. B and C have unit column stride. Runs at the speed
/// of gemm_tile while a panel of kTileColumns columns of B stays in the cache (k up to a few hundred). Each element of
/// C is one sum over p = 0, 1, ... in product_t, whatever the sizes; pairs are summed by tiles where the processor has
/// them (core/amx.h).
template <class T>
void gemm_small(int64_t m, int64_t n, int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c,
                int64_t ldc, bool accumulate, product_t<T> factor = 1) {
  if constexpr (std::is_same_v<T, Bf16Pair>)
    if (amx::usable()) return amx::gemm(m, n, k, a, sa, b, ldb, c, ldc, accumulate, factor);
  for (int64_t j = 0; j < n; j += kTileColumns<T>) {
    const int64_t columns = std::min<int64_t>(kTileColumns<T>, n - j);
    for (int64_t i = 0; i < m; i += kTileRows<T>)
      detail::gemm_tile_any<kTileRows<T>>(std::min<int64_t>(kTileRows<T>, m - i), columns, k, a + i * sa.row, sa, b + j,
                                          ldb, c + i * ldc + j, ldc, accumulate, factor);
  }
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
