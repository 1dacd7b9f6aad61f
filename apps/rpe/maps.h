#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/image/image.h"
#include "ops/relpos/relpos.h"

/// Which bucket each key falls into, seen from one query: for people.
namespace vitrine::apps {

using Cell = std::pair<int64_t, int64_t>;  ///< row, column

/// Corner, edge, middle and a cell off the middle; fewer where these coincide.
std::vector<Cell> typical_cells(int64_t height, int64_t width);

/// One encoding of a grid. Cross has two, the other methods one.
struct BucketTable {
  std::string name;   ///< "rows" and "columns" for Cross, else empty
  int64_t bound = 0;  ///< b: the index function gives -b .. b
  bool product = false;
  ops::RelposIndex index;

  /// The bucket of the key in cell (row, column) of the grid for the query in cell `query`.
  int64_t bucket(Cell query, int64_t row, int64_t column) const;
};

/// How many buckets some pair of tokens falls into.
int64_t used_buckets(const ops::RelposIndex& index);

/// The map around `query` as lines of ids, the query in brackets.
std::string map_text(const BucketTable& table, Cell query);

/// The maps of several queries side by side, a row of them for each table, as in Fig. 6 to 9 of the iRPE paper: a
/// colour a bucket, a line where the bucket changes, the query framed, ids where they fit.
data::Image draw_maps(const std::string& title, const std::vector<BucketTable>& tables);

}  // namespace vitrine::apps
