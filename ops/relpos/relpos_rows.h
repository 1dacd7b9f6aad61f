#pragma once
#include <algorithm>
#include <array>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/lookup.h"
#include "ops/relpos/relpos.h"

namespace vitrine::ops {

/// An index on a grid, laid out for loops over the keys of one query, on a CPU; A is float or double. Ids depend on
/// offsets alone, so all queries of one grid column share a strip of (2 height - 1) * width ids, and those of a query
/// are a window of it: width strips in all, instead of a [queries, keys] matrix. Where a grid is so wide that these are
/// much, all queries share one table of ids over offsets, whose rows are windows of a grid row each.
///
/// The loops over keys go by grid rows. An index that is a sum of a row id and a column id (product, cross) has few
/// different column ids in a row, each on adjacent columns: a piece, which vector instructions take as a mask.
template <class A>
class RelposRows {
 public:
  /// @param index     on a grid (not index_from_ids), on the CPU
  /// @param mirrored  the ids of (key j, query i) in place of (query i, key j)
  explicit RelposRows(const RelposIndex& index, bool mirrored = false);

  int64_t buckets() const { return buckets_; }

  /// y_j += table[id(i, j)] for all keys. y has room for whole vectors, and may hold the table behind the keys
  /// (core/lookup.h).
  void add_lookup(int64_t i, const A* table, A* y) const {
    if (i >= skip_ && slices_.span > 0) return add_slices(i - skip_, table, y);
    const bool together = i >= skip_ && !wide() && skip_ <= 16;
    const int32_t extra = int32_t(buckets_ - 1);
    if (together) return vitrine::add_lookup(table, buckets_, skip_, extra, window(i, 0), height_ * width_, y);
    const int64_t alone = i < skip_ ? keys() : skip_;
    for (int64_t j = 0; j < alone; ++j) y[j] += table[extra];
    if (i < skip_) return;
    y += skip_;
    for (int64_t r = 0; r < height_; r += run_rows_) {
      const int32_t* ids = window(i, r);
      for (int64_t c = 0; c < run_rows_ * width_; ++c) *y++ += table[*ids++];
    }
  }

  /// sums[id(i, j)] += x_j for all keys, in an order that depends on the index and i alone.
  void add_sums(int64_t i, const A* x, A* sums) const;

  /// sums[id(i, j)] = the sum of x_j over the keys of that id, 0 where it has none; sums [buckets]. x has room for a
  /// vector behind the keys.
  void put_sums(int64_t i, const A* x, A* sums) const;

  /// Elements of a row with a value per key in the layout of add_columns: grid rows padded to whole vectors, so that no
  /// two of them share one, then the extra tokens, padded too.
  int64_t padded_keys() const { return padded_keys_; }
  /// to = x [keys] in that layout, zeros between.
  void pad_keys(const A* x, A* to) const;
  /// to [keys] = x in that layout.
  void unpad_keys(const A* x, A* to) const;

  /// y_j += table[id(i, j)][j] for all keys, table [buckets, padded_keys].
  void add_columns(int64_t i, const A* table, A* y) const;
  /// sums[id(i, j)][j] += x_j for all keys, sums [buckets, padded_keys].
  void add_column_sums(int64_t i, const A* x, A* sums) const;

 private:
  static constexpr int64_t kLanes = simd::kLanes<A>;
  static constexpr int64_t kWidest = 256;  ///< up to it strips take 8 width bytes a key at most
  static constexpr int kMostPieces = kLanes < 7 ? int(kLanes) : 7;  ///< of a vector, that loops are unrolled for
  /// Adjacent columns with one id, within a vector of columns.
  struct Piece {
    int32_t id, first, last;  ///< columns [first, last) of the vector
    uint32_t lanes;           ///< the same as a mask
    int64_t row;              ///< id * padded_keys
  };
  struct Pieces {
    const Piece* list;
    int count;
  };
  struct Places;
  /// Lanes of a vector to be chosen (simd::choose).
  using Choice = std::array<int32_t, size_t(kLanes)>;
  /// The pieces of a vector of columns, as steps that add them up: in step k a lane adds the one 2^k behind it, where
  /// both are `within` a piece. Then its sum stands in its first lane, and `order` brings it to the lane of its id.
  struct Segments {
    std::array<Choice, 4> within;
    Choice order;
  };
  static constexpr int kMostVectors = 2;  ///< of a grid row, for segments
  static constexpr int kMostRuns = 64;    ///< row ids, for segments
  /// Lookups by vectors of keys, each from one or two grid rows, and a slice of the table for each of these.
  struct Slices {
    struct Step {
      int32_t upper, lower, column;  ///< grid rows, -1: the extra tokens; column of the upper one that comes first
    };
    std::vector<Step> steps;   ///< by vector of keys
    std::vector<int32_t> ids;  ///< by query column: column ids less `first`, again and again in width + kLanes columns
    int32_t first = 0, span = 0;  ///< column ids are in [first, first + span); 0: there are no slices
  };
  struct Cell {
    int32_t row, column;
  };

  int64_t keys() const { return skip_ + height_ * width_; }
  bool wide() const { return width_ > kWidest; }
  bool separable() const { return !row_ids_.empty(); }
  /// The ids of query i >= skip and the cells of run_rows_ rows of the grid from row r.
  const int32_t* window(int64_t i, int64_t r) const {
    const auto [query_row, column] = cells_[size_t(i - skip_)];
    const int64_t row = height_ - 1 - query_row + r;
    if (wide()) return strips_.data() + row * (2 * width_ - 1) + width_ - 1 - column;
    return strips_.data() + (column * (2 * height_ - 1) + row) * width_;
  }
  /// By grid row, for a cell's query.
  const int32_t* row_ids(int64_t cell) const { return row_ids_.data() + (height_ - 1 - cells_[size_t(cell)].row); }
  /// Of the columns [kLanes v, kLanes v + kLanes).
  Pieces pieces(int64_t cell, int64_t v) const {
    const size_t at = size_t(cells_[size_t(cell)].column * (padded_width_ / kLanes) + v);
    return {pieces_.data() + starts_[at], starts_[at + 1] - starts_[at]};
  }
  void add_pieces(const int32_t* ids);
  void add_separable_sums(int64_t cell, const A* x, A* sums) const;
  void find_segments();
  template <class Steps, class Vectors, class Parts>
  void put_segments(int64_t cell, const A* x, A* sums, Steps steps, Vectors vectors, Parts parts) const;
  void find_slices(const int32_t* column_ids);
  void add_slices(int64_t cell, const A* table, A* y) const;

  int64_t height_, width_, skip_, buckets_, padded_width_, padded_keys_;
  int64_t run_rows_;                ///< grid rows whose ids lie behind each other: all, or one if wide
  std::vector<Cell> cells_;         ///< of each query, as divisions would take a good part of a row's time
  std::vector<int32_t> strips_;     ///< if wide, [2 height - 1, 2 width - 1]
  std::vector<int32_t> row_ids_;    ///< by key row - query row + height - 1; empty if not separable, or wide
  std::vector<Piece> pieces_;       ///< by query column and vector of columns,
  std::vector<int> starts_;         ///< which begin here
  std::vector<Segments> segments_;  ///< by query column and vector; empty where put_sums has to go by add_sums
  int steps_ = 0;                   ///< of all of them
  std::vector<int32_t> runs_;       ///< by key row - query row + height - 1: (its id - the least) / apart_
  int32_t first_ = 0, apart_ = 0;   ///< the least id, and how far row ids are apart
  int32_t parts_ = 1;               ///< row ids that share a vector in put_segments
  Slices slices_;
};

/// An index and its mirror.
template <class A>
struct RelposRowsPair {
  RelposRows<A> rows, mirrored;
};
/// Kept by all that the index holds, for the kMostKept indices used last. @param index on a grid, on the CPU
template <class A>
std::shared_ptr<const RelposRowsPair<A>> relpos_rows(const RelposIndex& index);
constexpr size_t kMostKept = 64;

}  // namespace vitrine::ops
