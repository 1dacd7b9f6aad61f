#include "ops/matmul/tile_gemm.h"

#include <algorithm>

#include "core/amx.h"
#include "core/amx_tiles.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/matmul/ahead.h"

namespace vitrine::tile_gemm {

#if defined(__AVX512BW__) && defined(__AVX512VL__)

namespace {

using amx::kTile;
using amx::kTileElements;

constexpr int64_t kPanel = 2 * kTile;         // lines that are multiplied at a time
constexpr int64_t kStep = 2 * kTile;          // elements of k in a tile
constexpr int64_t kSlot = 2 * kTileElements;  // elements of 32 bits of a panel's step
constexpr int64_t kSums = kPanel * kPanel;    // floats of a block
constexpr int64_t kChunkSteps = 8;            // in one go: two panels of them and sums fit the first-level cache
constexpr int64_t kPartLines = 6 * kPanel;    // of a factor that lies across k, at most, in one go

/// One factor: `lines` rows of a, or columns of b, each k elements long. `line` leads from one to the next and `along`
/// from element to element; one of both is 1.
struct Factor {
  const bf16* data;
  int64_t lines, k, line, along;
  bool left = false;  ///< lines are rows of tiles; else columns
  bool across() const { return along != 1; }
  int64_t panels() const { return parts(lines, kPanel); }
  int64_t steps() const { return parts(k, kStep); }
  /// The part of memory that holds `count` lines from `first` on, as rows of it.
  Rows<const bf16> rows(int64_t first, int64_t count) const {
    return across() ? Rows<const bf16>{data + first, count, along} : Rows<const bf16>{data + first * line, k, line};
  }
};

/// A tile of 16 lines and 32 elements of k from x: lines are the rows of a left tile and the columns of a right one.
/// Dense lines are contiguous along k; others have their neighbours beside them, `stride` apart along k.
template <bool Left, bool Dense>
void lay_out_whole(const bf16* x, int64_t stride, Bf16Pair* tile) {
  using V = simd::Vec<uint32_t>;
  const auto next = [&]() -> V {
    if constexpr (Dense) {
      const V pairs = simd::load(reinterpret_cast<const uint32_t*>(x));
      x += stride;
      return pairs;
    } else {
      const auto upper = [](const bf16* p) { return std::bit_cast<V>(simd::load_as<float>(p)); };
      const V pairs = upper(x) >> 16 | upper(x + stride);
      x += 2 * stride;
      return pairs;
    }
  };
  if constexpr (Left == Dense) {
    for (int64_t i = 0; i < kTile; ++i) simd::store(tile + i * kTile, next());
  } else {
    std::array<V, size_t(kTile)> rows;
    for (V& row : rows) row = next();
    simd::transpose<uint32_t>(rows);
    for (int64_t i = 0; i < kTile; ++i) simd::store(tile + i * kTile, rows[size_t(i)]);
  }
}

template <bool Left>
void lay_out_tile(const Factor& f, int64_t line, int64_t from, Bf16Pair* tile) {
  const int64_t lines = std::clamp<int64_t>(f.lines - line, 0, kTile), depth = std::min(kStep, f.k - from);
  const bool dense = f.along == 1;
  const bf16* x = f.data + line * f.line + from * f.along;
  int64_t stride = dense ? f.line : f.along;
  bf16 edge[kTile * kStep];
  if (lines < kTile || depth < kStep) {  // what is there of it, among zeros
    std::fill_n(edge, kTile * kStep, bf16(0.0f));
    const int64_t rows = dense ? lines : depth, columns = dense ? depth : lines, width = dense ? kStep : kTile;
    for (int64_t i = 0; i < rows; ++i) std::copy_n(x + i * stride, columns, edge + i * width);
    x = edge, stride = width;
  }
  dense ? lay_out_whole<Left, true>(x, stride, tile) : lay_out_whole<Left, false>(x, stride, tile);
}

/// The step `step` of panel `panel`: two tiles.
void lay_out(const Factor& f, int64_t panel, int64_t step, Bf16Pair* to) {
  const auto tile = f.left ? lay_out_tile<true> : lay_out_tile<false>;
  tile(f, panel * kPanel, step * kStep, to);
  tile(f, panel * kPanel + kTile, step * kStep, to + kTileElements);
}

/// sums [32, 32] = left * right over some steps, or +=. What lies behind an odd number of tiles is not computed.
template <bool TwoDown, bool TwoAcross>
void multiply_block(int64_t steps, const Bf16Pair* left, const Bf16Pair* right, float* sums, bool add) {
  enum { k00, k01, k10, k11, kLeft0, kLeft1, kRight0, kRight1 };
  float* const lower = sums + kTile * kPanel;
  if (add) {
    amx::load<k00>(sums, kPanel);
    if constexpr (TwoAcross) amx::load<k01>(sums + kTile, kPanel);
    if constexpr (TwoDown) amx::load<k10>(lower, kPanel);
    if constexpr (TwoDown && TwoAcross) amx::load<k11>(lower + kTile, kPanel);
  } else {
    amx::clear<k00>(), amx::clear<k01>(), amx::clear<k10>(), amx::clear<k11>();
  }
  for (int64_t s = 0; s < steps; ++s, left += kSlot, right += kSlot) {
    amx::load<kLeft0>(left, kTile);
    amx::load<kRight0>(right, kTile);
    amx::multiply_add<k00, kLeft0, kRight0>();
    if constexpr (TwoAcross) {
      amx::load<kRight1>(right + kTileElements, kTile);
      amx::multiply_add<k01, kLeft0, kRight1>();
    }
    if constexpr (TwoDown) {
      amx::load<kLeft1>(left + kTileElements, kTile);
      amx::multiply_add<k10, kLeft1, kRight0>();
    }
    if constexpr (TwoDown && TwoAcross) amx::multiply_add<k11, kLeft1, kRight1>();
  }
  amx::store<k00>(sums, kPanel);
  if constexpr (TwoAcross) amx::store<k01>(sums + kTile, kPanel);
  if constexpr (TwoDown) amx::store<k10>(lower, kPanel);
  if constexpr (TwoDown && TwoAcross) amx::store<k11>(lower + kTile, kPanel);
}

/// Some lines of the left factor and of the right one, by their first lines and numbers.
struct Block {
  int64_t left, right, height, width;
};

struct Product {
  const GemmDesc& desc;
  Factor streamed, shared;
  bool transposed;           ///< the left factor is b
  const Bf16Pair* laid_out;  ///< shared, panel after panel, every step
  const void* bias;
  void* c;

  void compute(int64_t begin, int64_t end) const;
  Block block(int64_t streamed_line, int64_t shared_line) const;
  template <class C>
  void finish(Block x, float* sums) const;
  Ahead factor_ahead(int64_t line, int64_t lines, int64_t step, int64_t steps, int64_t shares) const;
  Ahead result_ahead(int64_t line, bool complete, int64_t shares) const;
};

/// The streamed factor: what is laid out after the steps before `step` of `lines` lines, at most `steps` of it.
Ahead Product::factor_ahead(int64_t line, int64_t lines, int64_t step, int64_t steps, int64_t shares) const {
  const int64_t k = step * kStep, after = line + kPanel;
  if (streamed.across())
    return {streamed.rows(line, lines), k, std::clamp<int64_t>(streamed.k - k, 0, steps * kStep), shares};
  const int64_t rows = k < streamed.k ? 0 : std::clamp<int64_t>(streamed.lines - after, 0, kPanel);
  return {streamed.rows(0, streamed.lines), after, rows, shares};
}

/// The rows of c after the panel at `line` of a, once those of that panel are `complete`. A new c is in no cache, and
/// to bring it there line after line is faster than by a line of 32 rows at a time. Of a factor that lies across k all
/// lines are computed at once.
Ahead Product::result_ahead(int64_t line, bool complete, int64_t shares) const {
  const int64_t after = line + kPanel, halves = size_of(desc.c.type) / size_of(Dtype::bf16);
  const bool by_rows = complete && !transposed && streamed.left && !streamed.across();
  const Rows<const bf16> rows{static_cast<const bf16*>(c), desc.n * halves, desc.c.row * halves};
  return {rows, after, by_rows ? std::clamp<int64_t>(desc.m - after, 0, kPanel) : 0, shares};
}

Block Product::block(int64_t streamed_line, int64_t shared_line) const {
  const int64_t mine = std::min(kPanel, streamed.lines - streamed_line);
  const int64_t other = std::min(kPanel, shared.lines - shared_line);
  if (streamed.left) return {streamed_line, shared_line, mine, other};
  return {shared_line, streamed_line, other, mine};
}

void multiply(const Block& x, int64_t steps, const Bf16Pair* left, const Bf16Pair* right, float* sums, bool add) {
  const auto run = x.height > kTile  ? x.width > kTile ? multiply_block<true, true> : multiply_block<true, false>
                    : x.width > kTile ? multiply_block<false, true>
                                     : multiply_block<false, false>;
  run(steps, left, right, sums, add);
}

/// x = its transpose, a square of 32.
void transpose_block(float* x) {
  const auto read = [&](int64_t i, int64_t j) {
    std::array<simd::Vec<float>, size_t(kTile)> tile;
    for (int64_t r = 0; r < kTile; ++r) tile[size_t(r)] = simd::load(x + (i + r) * kPanel + j);
    simd::transpose<float>(tile);
    return tile;
  };
  const auto write = [&](int64_t i, int64_t j, const auto& tile) {
    for (int64_t r = 0; r < kTile; ++r) simd::store(x + (i + r) * kPanel + j, tile[size_t(r)]);
  };
  write(0, 0, read(0, 0));
  write(kTile, kTile, read(kTile, kTile));
  const auto upper = read(0, kTile);
  write(0, kTile, read(kTile, 0));
  write(kTile, 0, upper);
}

/// Writes a block of c: its sums, which are lost, and the bias, rounded.
template <class C>
void Product::finish(Block x, float* sums) const {
  if (transposed) {
    transpose_block(sums);
    x = {x.right, x.left, x.width, x.height};
  }
  using V = simd::Vec<float>;
  V low{}, high{};
  const int first = int(std::min(x.width, kTile)), second = int(x.width - first);
  if (desc.bias) {
    const auto read = [&](const auto* p) {
      low = simd::load_first_as<float>(p, first, 0.0f);
      if (second) high = simd::load_first_as<float>(p + kTile, second, 0.0f);
    };
    if (desc.bias_type == Dtype::f32) {
      read(static_cast<const float*>(bias) + x.right);
    } else {
      read(static_cast<const bf16*>(bias) + x.right);
    }
  }
  C* to = static_cast<C*>(c) + x.left * desc.c.row + x.right;
  for (int64_t r = 0; r < x.height; ++r, to += desc.c.row, sums += kPanel) {
    const V y = simd::load(sums) + low, z = simd::load(sums + kTile) + high;
    if constexpr (std::is_same_v<C, bf16>) {
      _mm512_mask_storeu_epi16(to, uint32_t((uint64_t(1) << x.width) - 1),
                               std::bit_cast<__m512i>(simd::round_neighbours(y, z)));
    } else {
      simd::store_first(to, y, first);
      if (second) simd::store_first(to + kTile, z, second);
    }
  }
}

/// The part of c that belongs to the streamed factor's lines from `begin` to `end`; `begin` is the start of a panel.
void Product::compute(int64_t begin, int64_t end) const {
  const int64_t steps = streamed.steps(), chunk = parts(steps, parts(steps, kChunkSteps));
  const bool whole = chunk == steps;                              // each sum is complete at once
  const int64_t most = streamed.across() ? end - begin : kPanel;  // lines that are laid out at a time
  const int64_t panels = parts(most, kPanel), blocks = panels * shared.panels();
  Scratch<Bf16Pair> scratch(panels * chunk * kSlot + (whole ? 1 : blocks) * kSums);
  Bf16Pair* const mine = scratch.take(panels * chunk * kSlot);
  float* const sums = scratch.take<float>(0);
  amx::Configuration sizes;
  for (int tile = 0; tile < 8; ++tile) sizes.set(tile, kTile, kTile);
  amx::configure(sizes);
  for (int64_t from = begin; from < end; from += most)
    for (int64_t s = 0; s < steps; s += chunk) {
      const int64_t now = std::min(chunk, steps - s), group = parts(std::min(most, end - from), kPanel);
      const bool complete = s + now == steps;
      for (int64_t p = 0; p < group; ++p)
        for (int64_t t = 0; t < now; ++t) lay_out(streamed, from / kPanel + p, s + t, mine + (p * now + t) * kSlot);
      const int64_t shares = group * shared.panels();
      Ahead factor = factor_ahead(from, end - from, s + now, chunk, shares);
      Ahead result = result_ahead(from, complete, shares);
      for (int64_t b = 0; b < shares; ++b) {
        const int64_t p = b / shared.panels(), q = b % shared.panels();
        const Bf16Pair *x = mine + p * now * kSlot, *y = laid_out + (q * steps + s) * kSlot;
        float* const here = whole ? sums : sums + b * kSums;
        factor.read();
        result.write();
        if (s > 0 && b + 1 < shares)
          for (int64_t at = 0; at < kSums; at += kTile) __builtin_prefetch(here + kSums + at, 1);
        const Block place = block(from + p * kPanel, q * kPanel);
        multiply(place, now, streamed.left ? x : y, streamed.left ? y : x, here, s > 0);
        if (complete) desc.c.type == Dtype::bf16 ? finish<bf16>(place, here) : finish<float>(place, here);
      }
    }
  amx::release();
}

}  // namespace

bool runs() {
#if defined(__AMX_BF16__)
  return amx::usable();
#else
  return true;
#endif
}

void run(const GemmDesc& d, const void* a, const void* b, const void* bias, void* c) {
  Factor x{static_cast<const bf16*>(a), d.m, d.k, d.a.row, d.a.column};
  Factor y{static_cast<const bf16*>(b), d.n, d.k, d.b.column, d.b.row};
  // What is dense along k is a left tile as it lies, what lies across k a right one; the smaller factor, if any, pays.
  const bool smaller = d.n < d.m, transposed = x.across() == y.across() ? smaller == x.across() : x.across();
  (transposed ? y : x).left = true;
  Product product{d, smaller ? x : y, smaller ? y : x, transposed, nullptr, bias, c};
  const Factor &shared = product.shared, &streamed = product.streamed;
  const int64_t steps = shared.steps();
  Scratch<Bf16Pair> scratch(shared.panels() * steps * kSlot);
  Bf16Pair* const tiles = scratch.take(0);
  parallel_for(steps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      for (int64_t p = 0; p < shared.panels(); ++p) lay_out(shared, p, s, tiles + (p * steps + s) * kSlot);
  });
  product.laid_out = tiles;
  const int64_t fair = round_up(parts(streamed.lines, num_threads()), kPanel);
  const int64_t part = std::min(streamed.across() ? kPartLines : 2 * kPanel, fair);
  parallel_for(parts(streamed.lines, part), 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) product.compute(g * part, std::min(streamed.lines, (g + 1) * part));
  });
}

#else

bool runs() { return false; }
void run(const GemmDesc&, const void*, const void*, const void*, void*) {
  throw ValueError("tile_gemm: this build has no AVX-512");
}

#endif

bool suits(const GemmDesc& d) {
  const auto lies_well = [](int64_t one, int64_t other, int64_t size) { return one == 1 && other >= size; };
  const bool layouts = (lies_well(d.a.column, d.a.row, d.k) || lies_well(d.a.row, d.a.column, d.m)) &&
                       (lies_well(d.b.column, d.b.row, d.n) || lies_well(d.b.row, d.b.column, d.k));
  const bool large = d.m >= 16 && d.n >= 16 && d.k >= 32 && d.m * d.n * d.k >= 1 << 18;
  return d.a.type == Dtype::bf16 && d.batch_dims == 0 && !d.accumulate && layouts && large && runs() && amx::usable();
}

}  // namespace vitrine::tile_gemm
