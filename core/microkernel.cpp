#include "core/microkernel.h"

// The asan preset compiles this file without sanitizers: gemm_small has checked what it reads and writes.
namespace vitrine {
namespace {

/// C [M, 16 V - 16 + tail] = factor * A [M, k] * B [k, same], or += if `accumulate` (16 is kLanes<T>). `Partial` masks
/// the last vector of each row to `tail` elements; without it tail is not read. Sums run over p = 0, 1, ... in
/// product_t.
template <int M, int V, bool Partial, class T>
void gemm_tile(int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c, int64_t ldc,
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

}  // namespace

template <class T>
void detail::gemm(int64_t m, int64_t n, int64_t k, const T* a, Strides2 sa, const T* b, int64_t ldb, product_t<T>* c,
                  int64_t ldc, bool accumulate, product_t<T> factor) {
  if constexpr (std::is_same_v<T, Bf16Pair>)
    if (amx::usable()) return amx::gemm(m, n, k, a, sa, b, ldb, c, ldc, accumulate, factor);
  for (int64_t j = 0; j < n; j += kTileColumns<T>) {
    const int64_t columns = std::min<int64_t>(kTileColumns<T>, n - j);
    for (int64_t i = 0; i < m; i += kTileRows<T>)
      gemm_tile_any<kTileRows<T>>(std::min<int64_t>(kTileRows<T>, m - i), columns, k, a + i * sa.row, sa, b + j, ldb,
                                  c + i * ldc + j, ldc, accumulate, factor);
  }
}

template void detail::gemm(int64_t, int64_t, int64_t, const float*, Strides2, const float*, int64_t, float*, int64_t,
                           bool, float);
template void detail::gemm(int64_t, int64_t, int64_t, const double*, Strides2, const double*, int64_t, double*, int64_t,
                           bool, double);
template void detail::gemm(int64_t, int64_t, int64_t, const Bf16Pair*, Strides2, const Bf16Pair*, int64_t, float*,
                           int64_t, bool, float);

}  // namespace vitrine
