#include "core/amx.h"

#if defined(__AMX_BF16__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "core/amx_tiles.h"
#include "core/microkernel.h"

namespace vitrine::amx {
namespace {

constexpr int64_t kDepth = 256;  // pairs of k in one go, so that the copies below fit the stack and the cache

// What each tile register holds. The rest of k that fills no tile has registers of its own, of another size.
enum Register { kSum0, kSum1, kLeft, kRight0, kRight1, kLeftRest, kRightRest };

/// Sizes for products of `height` rows whose k leaves `rest` pairs. The contents of all tiles are lost.
void configure(int64_t height, int64_t rest) {
  Configuration c;
  for (Register sum : {kSum0, kSum1}) c.set(sum, height, kTile);
  c.set(kLeft, height, kTile);
  for (Register right : {kRight0, kRight1}) c.set(right, kTile, kTile);
  if (rest) c.set(kLeftRest, height, rest), c.set(kRightRest, rest, kTile);
  amx::configure(c);
}

/// A factor in memory that is ready for tiles: rows of pairs, `stride` from one to the next.
struct Side {
  const Bf16Pair* data;
  int64_t stride;
};

/// sums[t] = a * right[t] for the row of `Tiles` tiles (1 or 2), where a is one tile high and k pairs long; rows of a
/// tile of sums lie `stride` apart.
template <int Tiles>
void multiply(int64_t k, Side a, const Side (&right)[2], float* const (&sums)[2], int64_t stride) {
  clear<kSum0>();
  if constexpr (Tiles == 2) clear<kSum1>();
  const int64_t whole = k - k % kTile;
  for (int64_t p = 0; p < whole; p += kTile) {
    load<kLeft>(a.data + p, a.stride);
    load<kRight0>(right[0].data + p * right[0].stride, right[0].stride);
    multiply_add<kSum0, kLeft, kRight0>();
    if constexpr (Tiles == 2) {
      load<kRight1>(right[1].data + p * right[1].stride, right[1].stride);
      multiply_add<kSum1, kLeft, kRight1>();
    }
  }
  if (whole < k) {
    load<kLeftRest>(a.data + whole, a.stride);
    load<kRightRest>(right[0].data + whole * right[0].stride, right[0].stride);
    multiply_add<kSum0, kLeftRest, kRightRest>();
    if constexpr (Tiles == 2) {
      load<kRightRest>(right[1].data + whole * right[1].stride, right[1].stride);
      multiply_add<kSum1, kLeftRest, kRightRest>();
    }
  }
  store<kSum0>(sums[0], stride);
  if constexpr (Tiles == 2) store<kSum1>(sums[1], stride);
}

/// What becomes of sums: c = factor * sums, or += if `accumulate`.
struct Result {
  float* c;
  int64_t ldc;
  bool accumulate;
  float factor;
  bool plain() const { return factor == 1 && !accumulate; }
};

/// For rows [first, height) of a tile whose first `width` columns count; to.c is the place of row 0.
void add_tile(const float* sums, int64_t first, int64_t height, int64_t width, Result to) {
  const __mmask16 columns = __mmask16((1u << width) - 1);
  const __m512 scale = _mm512_set1_ps(to.factor);
  for (int64_t i = first; i < height; ++i) {
    float* const c = to.c + i * to.ldc;
    const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(sums + i * kTile), scale);
    _mm512_mask_storeu_ps(c, columns, to.accumulate ? _mm512_add_ps(x, _mm512_maskz_loadu_ps(columns, c)) : x);
  }
}

/// One tile high: rows [first, height) of it times b, n columns. `edge` is what b has behind its last whole tile of
/// columns.
void multiply_rows(int64_t first, int64_t height, int64_t n, int64_t k, Side a, Side b, Side edge, Result to) {
  alignas(64) float buffer[2][kTile * kTile];
  for (int64_t j = 0; j < n; j += 2 * kTile, to.c += 2 * kTile) {
    const auto from = [&](int64_t column) { return column + kTile <= n ? Side{b.data + column, b.stride} : edge; };
    const bool two = j + kTile < n, direct = to.plain() && j + (two ? 2 : 1) * kTile <= n;
    const Side right[2] = {from(j), two ? from(j + kTile) : edge};
    float* const sums[2] = {direct ? to.c : buffer[0], direct ? to.c + kTile : buffer[1]};
    const int64_t stride = direct ? to.ldc : kTile;
    two ? multiply<2>(k, a, right, sums, stride) : multiply<1>(k, a, right, sums, stride);
    if (direct) continue;
    add_tile(sums[0], first, height, std::min(kTile, n - j), to);
    Result beside = to;
    beside.c += kTile;
    if (two) add_tile(sums[1], first, height, std::min(kTile, n - j - kTile), beside);
  }
}

/// gemm for k of at most kDepth.
void multiply_slice(int64_t m, int64_t n, int64_t k, const Bf16Pair* a, Strides2 sa, Side b, float* c, int64_t ldc,
                    bool accumulate, float factor) {
  alignas(64) Bf16Pair edge[kDepth * kTile], rows[kTile * kDepth];
  if (const int64_t width = n % kTile)
    for (int64_t p = 0; p < k; ++p) {
      std::fill_n(edge + p * kTile, kTile, Bf16Pair(0));
      std::copy_n(b.data + p * b.stride + n - width, width, edge + p * kTile);
    }
  configure(std::min(m, kTile), k % kTile);
  for (int64_t begin = 0; begin < m; begin += kTile) {
    // The last tile starts earlier, so that all have one height: sizes are slow to change.
    const int64_t i = std::max<int64_t>(0, std::min(begin, m - kTile)), height = std::min(kTile, m);
    Side left{a + i * sa.row, sa.row};
    if (sa.column != 1) {
      transpose_small(k, height, left.data, sa.column, rows, kDepth);
      left = {rows, kDepth};
    }
    multiply_rows(begin - i, height, n, k, left, b, {edge, kTile}, {c + i * ldc, ldc, accumulate, factor});
  }
  release();
}

}  // namespace

bool usable() {
  static const bool granted = [] {
    constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA: Linux 5.16
    return __builtin_cpu_supports("amx-bf16") && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return granted;
}

void gemm(int64_t m, int64_t n, int64_t k, const Bf16Pair* a, Strides2 sa, const Bf16Pair* b, int64_t ldb, float* c,
          int64_t ldc, bool accumulate, float factor) {
  if (m <= 0 || n <= 0) return;
  for (int64_t p = 0; p < std::max<int64_t>(k, 1); p += kDepth)
    multiply_slice(m, n, std::min(kDepth, k - p), a + p * sa.column, sa, {b + p * ldb, ldb}, c, ldc,
                   accumulate || p > 0, factor);
}

}  // namespace vitrine::amx

#else

namespace vitrine::amx {
bool usable() { return false; }
void gemm(int64_t, int64_t, int64_t, const Bf16Pair*, Strides2, const Bf16Pair*, int64_t, float*, int64_t, bool,
          float) {}
}  // namespace vitrine::amx

#endif
