#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ops/relpos/relpos.h"

/// What an attention layer's relative position encoding is, as its published string says it (iRPE, sections 1 and 5).
namespace vitrine::ops {

enum class RpeMethod { euclidean, quantization, cross, product };
/// Bias: a learned scalar per bucket. Contextual: a learned vector per bucket, dotted with the query, key or weight.
enum class RpeMode { bias, contextual };

/// One encoding, the same for each of q, k, v that it is on. Each of those owns its own table (two for cross).
struct RpeConfig {
  double ratio = 1.9;
  RpeMethod method = RpeMethod::product;
  RpeMode mode = RpeMode::contextual;
  bool shared = true;  ///< one table for all heads
  bool on_q = false, on_k = true, on_v = false;
  bool clip = false;  ///< the clip index function in place of the piecewise one

  bool any() const { return on_q || on_k || on_v; }
  /// Tables of each of q, k, v that it is on: rows and columns for cross.
  int64_t tables() const { return method == RpeMethod::cross ? 2 : 1; }
  bool operator==(const RpeConfig&) const = default;
};

/// The published string: `rpe-1.9-product-ctx-1-k`, with `-clip` behind it for the clip function.
std::string to_string(const RpeConfig& config);

/// Reads `rpe-{ratio}-{method}-{mode}-{shared}-{on}[-clip]`: method euc, quant, cross or product, in any case; mode
/// bias, ctx or none; shared 0 or 1; on some of the letters q, k, v, each once. Methods and modes may be written in
/// full (euclidean, quantization, contextual). "", "none" and the mode none are no encoding.
/// @throws ValueError naming the form, the wrong field and its choices; bias on v does not exist and is an error
std::optional<RpeConfig> parse_rpe(const std::string& text);

/// Buckets of each table: 2b + 1 with b = int(2 ratio), or its square for product, and one for extra tokens if skip >
/// 0.
int64_t rpe_buckets(const RpeConfig& config, int64_t skip);

/// The indices of the config's tables on a grid: one, or rows and columns for cross. Kept by all arguments, the device
/// included, so that a training step copies no table.
/// @throws ValueError as irpe_index
const std::vector<RelposIndex>& rpe_indices(const RpeConfig& config, int64_t height, int64_t width, int64_t skip,
                                            Device device);

}  // namespace vitrine::ops
