#pragma once
#include <algorithm>
#include <array>
#include <vector>

#include "core/lookup.h"
#include "ops/relpos/relpos.h"

namespace vitrine::ops {

/// An index on a grid, laid out for loops over the keys of one query, on a CPU. Ids depend on offsets alone, so all
/// queries of one grid column share a strip of (2 height - 1) * width ids, and those of a query are a window of it:
/// width strips in all, instead of a [queries, keys] matrix.
class RelposRows {
 public:
  /// @param index     on a grid (not index_from_ids), on the CPU
  /// @param mirrored  the ids of (key j, query i) in place of (query i, key j)
  explicit RelposRows(const RelposIndex& index, bool mirrored = false);

  int64_t buckets() const { return buckets_; }

  /// y_j += table[id(i, j)] for all keys. y lies outside of the table.
  template <class A>
  void add_lookup(int64_t i, const A* table, A* y) const {
    const int64_t extra = i < skip_ ? keys() : skip_;
    for (int64_t j = 0; j < extra; ++j) y[j] += table[buckets_ - 1];
    if (i >= skip_) vitrine::add_lookup(table, buckets_, window(i), height_ * width_, y + skip_);
  }

  /// sums[id(i, j)] += x_j for all keys, in an order that depends on the index and i alone.
  template <class A>
  void add_sums(int64_t i, const A* x, A* sums) const {
    const int64_t extra = i < skip_ ? keys() : skip_;
    for (int64_t j = 0; j < extra; ++j) sums[buckets_ - 1] += x[j];
    if (i < skip_) return;
    if (separable()) return add_row_sums(i - skip_, x + skip_, sums);
    const int32_t* ids = window(i);
    for (int64_t j = 0; j < height_ * width_; ++j) sums[ids[j]] += x[skip_ + j];
  }

  /// Elements of a row with a value per key in the layout of add_columns: grid rows padded to whole vectors, so that no
  /// two of them share one, then the extra tokens.
  template <class A>
  int64_t padded_keys() const {
    return height_ * padded_width<A>() + round_up<A>(skip_);
  }
  /// to = x [keys] in that layout, zeros between.
  template <class A>
  void pad_keys(const A* x, A* to) const {
    for (int64_t r = 0; r < height_; ++r, to += padded_width<A>()) {
      std::copy_n(x + skip_ + r * width_, width_, to);
      std::fill(to + width_, to + padded_width<A>(), A(0));
    }
    std::copy_n(x, skip_, to);
  }
  /// to [keys] = x in that layout.
  template <class A>
  void unpad_keys(const A* x, A* to) const {
    for (int64_t r = 0; r < height_; ++r, x += padded_width<A>()) std::copy_n(x, width_, to + skip_ + r * width_);
    std::copy_n(x, skip_, to);
  }

  /// y_j += table[id(i, j)][j] for all keys, table [buckets, padded_keys].
  template <class A>
  void add_columns(int64_t i, const A* table, A* y) const {
    const int64_t stride = padded_keys<A>();
    const A* extra = table + (buckets_ - 1) * stride;
    if (i < skip_) {
      for_each_cell<A>([&](int64_t j, int64_t place) { y[j] += extra[place]; });
    } else if (!separable()) {
      const int32_t* id = window(i);
      for_each_cell<A>([&](int64_t j, int64_t place) { y[j] += table[*id++ * stride + place]; });
    } else {
      add_separable_columns(i - skip_, table, y + skip_);
    }
    for (int64_t j = 0; j < skip_; ++j) y[j] += extra[height_ * padded_width<A>() + j];
  }

  /// sums[id(i, j)][j] += x_j for all keys, sums [buckets, padded_keys].
  template <class A>
  void add_column_sums(int64_t i, const A* x, A* sums) const {
    const int64_t stride = padded_keys<A>();
    A* extra = sums + (buckets_ - 1) * stride;
    if (i < skip_) {
      for_each_cell<A>([&](int64_t j, int64_t place) { extra[place] += x[j]; });
    } else if (!separable()) {
      const int32_t* id = window(i);
      for_each_cell<A>([&](int64_t j, int64_t place) { sums[*id++ * stride + place] += x[j]; });
    } else {
      add_separable_column_sums(i - skip_, x + skip_, sums);
    }
    for (int64_t j = 0; j < skip_; ++j) extra[height_ * padded_width<A>() + j] += x[j];
  }

 private:
  /// The ids of query i >= skip and the cells of the grid.
  const int32_t* window(int64_t i) const {
    const int64_t row = (i - skip_) / width_, column = (i - skip_) % width_;
    return strips_.data() + (column * (2 * height_ - 1) + height_ - 1 - row) * width_;
  }

  int64_t keys() const { return skip_ + height_ * width_; }
  bool separable() const { return !row_ids_.empty(); }
  const int32_t* row_ids(int64_t cell) const { return row_ids_.data() + (height_ - 1 - cell / width_); }
  const int32_t* column_ids(int64_t cell) const { return column_ids_.data() + cell % width_ * width_; }

  template <class A>
  static int64_t round_up(int64_t n) {
    return (n + simd::kLanes<A> - 1) / simd::kLanes<A> * simd::kLanes<A>;
  }
  template <class A>
  int64_t padded_width() const {
    return round_up<A>(width_);
  }
  /// f(key, its place in a padded row) for the keys of the grid.
  template <class A, class F>
  void for_each_cell(F f) const {
    for (int64_t r = 0; r < height_; ++r)
      for (int64_t c = 0; c < width_; ++c) f(skip_ + r * width_ + c, r * padded_width<A>() + c);
  }

  /// The columns of one vector by their column id: where the id's part of a table begins, and which lanes are of it.
  template <class A>
  struct Pieces {
    struct Piece {
      int64_t begin;
      uint32_t lanes;
    };
    std::array<Piece, size_t(simd::kLanes<A>)> list;
    int count = 0;
    Pieces(const int32_t* ids, int64_t n, int64_t stride) {
      for (int64_t k = 0; k < n; ++k) {
        if (k == 0 || ids[k] != ids[k - 1]) list[size_t(count++)] = {ids[k] * stride, 0};
        list[size_t(count - 1)].lanes |= 1u << k;
      }
    }
    const Piece* begin() const { return list.data(); }
    const Piece* end() const { return list.data() + count; }
  };

  template <class A>
  void add_separable_columns(int64_t cell, const A* table, A* y) const {
    constexpr int64_t kLanes = simd::kLanes<A>;
    const int64_t stride = padded_keys<A>(), step = padded_width<A>();
    const int32_t *row_id = row_ids(cell), *column_id = column_ids(cell);
    for (int64_t c = 0; c < width_; c += kLanes) {
      const int n = int(std::min(kLanes, width_ - c));
      const Pieces<A> pieces(column_id + c, n, stride);
      auto next = simd::load_first(y + c, n);
      for (int64_t r = 0; r < height_; ++r) {
        // The next row is read before this one is written: a load would wait for the masked store before it.
        auto sum = next;
        if (r + 1 < height_) next = simd::load_first(y + (r + 1) * width_ + c, n);
        const A* from = table + row_id[r] * stride + r * step + c;
        for (const auto& piece : pieces) sum += simd::load_masked(from + piece.begin, piece.lanes);
        simd::store_first(y + r * width_ + c, sum, n);
      }
    }
  }

  template <class A>
  void add_separable_column_sums(int64_t cell, const A* x, A* sums) const {
    constexpr int64_t kLanes = simd::kLanes<A>;
    const int64_t stride = padded_keys<A>(), step = padded_width<A>();
    const int32_t *row_id = row_ids(cell), *column_id = column_ids(cell);
    for (int64_t c = 0; c < width_; c += kLanes) {
      const int n = int(std::min(kLanes, width_ - c));
      const Pieces<A> pieces(column_id + c, n, stride);
      for (int64_t r = 0; r < height_; ++r) {
        const auto value = simd::load_first(x + r * width_ + c, n);
        A* to = sums + row_id[r] * stride + r * step + c;
        for (const auto& piece : pieces) {
          A* p = to + piece.begin;
          simd::store_masked(p, simd::load_masked(p, piece.lanes) + value, piece.lanes);
        }
      }
    }
  }

  /// add_sums over the grid of a separable index. Grid rows with one row id are added up as vectors first, and then
  /// their columns go into the buckets: few sums, which alternate between different buckets.
  template <class A>
  void add_row_sums(int64_t cell, const A* x, A* sums) const {
    constexpr int kLanes = simd::kLanes<A>, kRuns = 16;
    const int32_t *row_id = row_ids(cell), *column_id = column_ids(cell);
    for (int64_t c = 0; c < width_; c += kLanes) {
      const int n = int(std::min<int64_t>(kLanes, width_ - c));
      for (int64_t r = 0; r < height_;) {
        std::array<A, size_t(kRuns * kLanes)> columns;
        std::array<int32_t, kRuns> base;
        int runs = 0;
        for (; runs < kRuns && r < height_; ++runs) {
          base[size_t(runs)] = row_id[r];
          auto sum = simd::load_first(x + r * width_ + c, n);
          for (++r; r < height_ && row_id[r] == base[size_t(runs)]; ++r) sum += simd::load_first(x + r * width_ + c, n);
          simd::store(columns.data() + runs * kLanes, sum);
        }
        for (int k = 0; k < n; ++k)
          for (int run = 0; run < runs; ++run)
            sums[base[size_t(run)] + column_id[c + k]] += columns[size_t(run * kLanes + k)];
      }
    }
  }

  int64_t height_, width_, skip_, buckets_;
  std::vector<int32_t> strips_;
  std::vector<int32_t> row_ids_;     ///< by key row - query row + height - 1; empty if the index is not separable
  std::vector<int32_t> column_ids_;  ///< [query column, key column]
};

}  // namespace vitrine::ops
