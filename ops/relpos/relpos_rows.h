#pragma once
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

  /// y_j += table[id(i, j)][j] for all keys; rows of the table lie `stride` apart.
  template <class A>
  void add_columns(int64_t i, const A* table, int64_t stride, A* y) const {
    const int64_t extra = i < skip_ ? keys() : skip_;
    const A* last = table + (buckets_ - 1) * stride;
    for (int64_t j = 0; j < extra; ++j) y[j] += last[j];
    if (i < skip_) return;
    if (!separable()) {
      const int32_t* ids = window(i);
      for (int64_t j = skip_; j < keys(); ++j) y[j] += table[ids[j - skip_] * stride + j];
      return;
    }
    for_each_piece<A>(i - skip_, [&](int64_t j, int n, int32_t row_id, const Piece* piece, const Piece* end) {
      auto sum = simd::load_first(y + j, n);
      for (; piece < end; ++piece)
        sum += simd::load_lanes(table + (row_id + piece->id) * stride + j, piece->first, piece->last);
      simd::store_first(y + j, sum, n);
    });
  }

  /// sums[id(i, j)][j] += x_j for all keys; rows of the sums lie `stride` apart.
  template <class A>
  void add_column_sums(int64_t i, const A* x, A* sums, int64_t stride) const {
    const int64_t extra = i < skip_ ? keys() : skip_;
    A* last = sums + (buckets_ - 1) * stride;
    for (int64_t j = 0; j < extra; ++j) last[j] += x[j];
    if (i < skip_) return;
    if (!separable()) {
      const int32_t* ids = window(i);
      for (int64_t j = skip_; j < keys(); ++j) sums[ids[j - skip_] * stride + j] += x[j];
      return;
    }
    for_each_piece<A>(i - skip_, [&](int64_t j, int n, int32_t row_id, const Piece* piece, const Piece* end) {
      const auto value = simd::load_first(x + j, n);
      for (; piece < end; ++piece) {
        A* to = sums + (row_id + piece->id) * stride + j;
        simd::store_lanes(to, simd::load_lanes(to, piece->first, piece->last) + value, piece->first, piece->last);
      }
    });
  }

 private:
  /// The ids of query i >= skip and the cells of the grid.
  const int32_t* window(int64_t i) const {
    const int64_t row = (i - skip_) / width_, column = (i - skip_) % width_;
    return strips_.data() + (column * (2 * height_ - 1) + height_ - 1 - row) * width_;
  }

  /// Columns of one id within a vector of columns.
  struct Piece {
    int32_t first, last, id;
  };

  int64_t keys() const { return skip_ + height_ * width_; }
  bool separable() const { return !row_ids_.empty(); }
  const int32_t* row_ids(int64_t cell) const { return row_ids_.data() + (height_ - 1 - cell / width_); }
  const int32_t* column_ids(int64_t cell) const { return column_ids_.data() + cell % width_ * width_; }

  /// Calls f(key, lanes, row id, pieces) for each vector of columns of each grid row, given the query's cell.
  template <class A, class F>
  void for_each_piece(int64_t cell, F f) const {
    constexpr int kLanes = simd::kLanes<A>;
    const int32_t *row_id = row_ids(cell), *column_id = column_ids(cell);
    for (int64_t c = 0; c < width_; c += kLanes) {
      const int n = int(std::min<int64_t>(kLanes, width_ - c));
      std::array<Piece, kLanes> pieces;
      int count = 0;
      for (int k = 0; k < n; ++k) {
        if (k == 0 || column_id[c + k] != column_id[c + k - 1]) pieces[size_t(count++)] = {k, k, column_id[c + k]};
        pieces[size_t(count - 1)].last = k + 1;
      }
      for (int64_t r = 0; r < height_; ++r)
        f(skip_ + r * width_ + c, n, row_id[r], pieces.data(), pieces.data() + count);
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
