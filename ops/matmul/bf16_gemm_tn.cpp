#include "ops/matmul/bf16_gemm_tn.h"

#include <algorithm>

#include "core/microkernel.h"
#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/scratch.h"
#include "ops/matmul/ahead.h"

namespace vitrine::bf16_gemm_tn {
namespace {

constexpr int64_t kRows = kTileRows<Bf16Pair>, kColumns = kTileColumns<Bf16Pair>;
constexpr int64_t kDepth = 64;  // pairs of rows that are multiplied at a time

/// y [ceil(rows / 2), x.columns] = x [first.., :], pairs of neighbours of a column; behind an odd last row stand zeros.
void by_rows(Rows x, int64_t first, int64_t rows, Bf16Pair* y, int64_t ldy) {
  for (int64_t p = 0; p < rows; p += 2, y += ldy) {
    simd::pair_rows(x.at(first + p), p + 1 < rows ? x.at(first + p + 1) : nullptr, x.columns, y);
  }
}

/// c [a.columns, b.columns] = the sum over k rows of their outer products.
void multiply(int64_t k, Rows a, Rows b, float* c, int64_t ldc) {
  constexpr int64_t kChunk = 2 * kDepth;
  const int64_t lda = row_stride(a.columns), ldb = row_stride(b.columns);
  const int64_t tiles = parts(a.columns, kRows) * parts(b.columns, kColumns);
  Scratch<Bf16Pair> scratch(kDepth * (lda + ldb));
  Bf16Pair *const pa = scratch.take(kDepth * lda), *const pb = scratch.take(kDepth * ldb);
  for (int64_t p = 0; p < k; p += kChunk) {
    const int64_t rows = std::min(kChunk, k - p), next = std::min(kChunk, k - p - rows);
    by_rows(a, p, rows, pa, lda);
    by_rows(b, p, rows, pb, ldb);
    Ahead ahead_a(a, p + rows, next, tiles), ahead_b(b, p + rows, next, tiles);
    for (int64_t j = 0; j < b.columns; j += kColumns)
      for (int64_t i = 0; i < a.columns; i += kRows) {
        ahead_a.read();
        ahead_b.read();
        gemm_small<Bf16Pair>(std::min(kRows, a.columns - i), std::min(kColumns, b.columns - j), parts(rows, 2), pa + i,
                             {1, lda}, pb + j, ldb, c + i * ldc + j, ldc, p > 0);
      }
  }
}

/// Rows and columns of c that one thread computes, in whole tiles: the least work, then the least memory.
struct Part {
  int64_t rows = 0, columns = 0;
  Part(int64_t m, int64_t n) {
    const int64_t threads = num_threads();
    for (int64_t down = 1; down <= threads; ++down) {
      const int64_t r = round_up(parts(m, down), kRows), c = round_up(parts(n, threads / down), kColumns);
      const int64_t work = r * c, least = rows * columns;
      if (least == 0 || work < least || (work == least && r + c < rows + columns)) rows = r, columns = c;
    }
  }
};

bool has_dot_product() {
#if defined(__AVX512BF16__)
  return !amx::usable();  // with tiles, tile_gemm is faster
#else
  return false;
#endif
}

}  // namespace

bool suits(const GemmDesc& d) {
  const bool layout = d.a.row == 1 && d.a.column >= d.m && d.b.column == 1 && d.b.row >= d.n && d.batch_dims == 0;
  const bool types = d.a.type == Dtype::bf16 && d.c.type == Dtype::bf16;
  const bool large = d.m >= 32 && d.n >= 32 && d.k >= 3 * kDepth;
  return types && layout && large && !d.bias && !d.accumulate && has_dot_product();
}

void run(const GemmDesc& d, const void* a, const void* b, void* c) {
  const auto *pa = static_cast<const bf16*>(a), *pb = static_cast<const bf16*>(b);
  auto* const pc = static_cast<bf16*>(c);
  const Part part(d.m, d.n);
  const int64_t across = parts(d.n, part.columns);
  parallel_for(parts(d.m, part.rows) * across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t i = g / across * part.rows, j = g % across * part.columns;
      const int64_t rows = std::min(part.rows, d.m - i), columns = std::min(part.columns, d.n - j);
      const int64_t stride = round_up(columns, kLine);
      Scratch<float> scratch(rows * stride);
      float* const sums = scratch.take(rows * stride);
      multiply(d.k, {pa + i, rows, d.a.column}, {pb + j, columns, d.b.row}, sums, stride);
      for (int64_t r = 0; r < rows; ++r)
        map_row<float>(
            columns, 0.0f, [](auto x) { return x; }, pc + (i + r) * d.c.row + j, sums + r * stride);
    }
  });
}

}  // namespace vitrine::bf16_gemm_tn
