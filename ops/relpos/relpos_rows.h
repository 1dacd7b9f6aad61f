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

  /// y_(j - begin) += table[id(i, j)] for j in [begin, end). y lies outside of the table.
  template <class A>
  void add_lookup(int64_t i, const A* table, int64_t begin, int64_t end, A* y) const {
    const int64_t extra = i < skip_ ? end : std::min(skip_, end);
    for (; begin < extra; ++begin) *y++ += table[buckets_ - 1];
    if (begin < end) vitrine::add_lookup(table, buckets_, window(i) + (begin - skip_), end - begin, y);
  }

  /// sums[id(i, j)] += x_(j - begin) for j in [begin, end). The order of the additions depends on the arguments alone.
  template <class A>
  void add_sums(int64_t i, const A* x, int64_t begin, int64_t end, A* sums) const {
    const int64_t extra = i < skip_ ? end : std::min(skip_, end);
    for (; begin < extra; ++begin) sums[buckets_ - 1] += *x++;
    if (begin >= end) return;
    const int32_t* ids = window(i);
    int64_t at = begin - skip_;
    const int64_t last = end - skip_;
    // Cells of grid rows that are not wanted as a whole, one by one; between them whole rows.
    const int64_t first_row = (at + width_ - 1) / width_, last_row = last / width_;
    if (row_ids_.empty() || first_row >= last_row) {
      for (; at < last; ++at) sums[ids[at]] += *x++;
      return;
    }
    for (; at < first_row * width_; ++at) sums[ids[at]] += *x++;
    add_row_sums(i - skip_, x, first_row, last_row, sums);
    x += (last_row - first_row) * width_;
    for (at = last_row * width_; at < last; ++at) sums[ids[at]] += *x++;
  }

 private:
  /// The ids of query i >= skip and the cells of the grid.
  const int32_t* window(int64_t i) const {
    const int64_t row = (i - skip_) / width_, column = (i - skip_) % width_;
    return strips_.data() + (column * (2 * height_ - 1) + height_ - 1 - row) * width_;
  }

  /// add_sums over the grid rows [first, last) of a separable index. Grid rows with one row id are added up as vectors
  /// first, and then their columns go into the buckets: sums of few rows, alternating between different buckets.
  template <class A>
  void add_row_sums(int64_t cell, const A* x, int64_t first, int64_t last, A* sums) const {
    constexpr int kLanes = simd::kLanes<A>, kRuns = 16;
    const int32_t *row_id = row_ids_.data() + (height_ - 1 - cell / width_),
                  *column_id = column_ids_.data() + cell % width_ * width_;
    for (int64_t c = 0; c < width_; c += kLanes) {
      const int n = int(std::min<int64_t>(kLanes, width_ - c));
      for (int64_t r = first; r < last;) {
        std::array<A, kRuns * kLanes> columns;
        std::array<int32_t, kRuns> base;
        int runs = 0;
        for (; runs < kRuns && r < last; ++runs) {
          base[runs] = row_id[r];
          auto sum = simd::load_first(x + (r - first) * width_ + c, n);
          for (++r; r < last && row_id[r] == base[runs]; ++r) sum += simd::load_first(x + (r - first) * width_ + c, n);
          simd::store(columns.data() + runs * kLanes, sum);
        }
        for (int k = 0; k < n; ++k)
          for (int run = 0; run < runs; ++run) sums[base[run] + column_id[c + k]] += columns[size_t(run * kLanes + k)];
      }
    }
  }

  int64_t height_, width_, skip_, buckets_;
  std::vector<int32_t> strips_;
  std::vector<int32_t> row_ids_;     ///< by key row - query row + height - 1; empty if the index is not separable
  std::vector<int32_t> column_ids_;  ///< [query column, key column]
};

}  // namespace vitrine::ops
