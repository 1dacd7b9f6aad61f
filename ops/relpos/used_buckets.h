#pragma once
#include <vector>

#include "ops/relpos/rpe_config.h"

/// The buckets of a table that a grid uses. Most of the published tables of euclidean, quantization and cross are never
/// read: an undirected method has no negative distance, and a grid ends before the distances do.
namespace vitrine::ops {

struct UsedBuckets {
  RelposIndex index;         ///< with the buckets alone that its pairs fall into, in the old order
  std::vector<int64_t> ids;  ///< what these are in the whole index
};
/// @param index  on a grid, on the CPU; no two sums of a row and a column id are equal
UsedBuckets used_buckets(const RelposIndex& index);

/// The same of each index of a config (rpe_indices).
struct RpeUsedIndices {
  std::vector<RelposIndex> indices;
  /// Where not all buckets are used, of those of all tables behind each other: which K of them are, i64 [K], and the
  /// place of each among these, or K, i64 [all]. Else undefined.
  Tensor ids, places;
};
/// Kept by all arguments. @throws ValueError as irpe_index
const RpeUsedIndices& rpe_used_indices(const RpeConfig& config, int64_t height, int64_t width, int64_t skip,
                                       Device device);

}  // namespace vitrine::ops
