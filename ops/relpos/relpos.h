#pragma once
#include <string>
#include <vector>

#include "core/tensor.h"

/// Bucket ids of relative positions on a grid of image tokens: iRPE (Wu et al., "Rethinking and Improving Relative
/// Position Encoding for Vision Transformer", ICCV 2021) and Swin (Liu et al., ICCV 2021). Integers only, no gradient.
///
/// Tokens are `skip` extra ones (a class token) followed by height * width cells in row-major order. The offset of a
/// pair is always query position minus key position: dr = row(i) - row(j), dc = column(i) - column(j).
namespace vitrine::ops {

/// How an offset becomes a bucket. Cross is two encodings, one of rows and one of columns, each with its own table.
enum class IrpeMethod {
  euclidean,      ///< g(round(sqrt(dr^2 + dc^2))) + b
  quantization,   ///< g(dr^2 + dc^2) + b: the squared distance, as the authors' program has it
  cross_rows,     ///< g(dr) + b
  cross_columns,  ///< g(dc) + b
  product         ///< (g(dr) + b) (2b + 1) + g(dc) + b
};
/// Reads euc, euclidean, quant, quantization, cross_rows, cross_cols, cross_columns, product. @throws ValueError naming
/// the valid ones
IrpeMethod parse_irpe_method(const std::string& name);

/// The index function that maps a distance to a small integer in [-b, b], b = int(beta).
struct IrpeFunction {
  double alpha = 1.9, beta = 3.8, gamma = 15.2;
  bool clip = false;  ///< h(x) = clamp(x, -b, b) (Shaw et al., 2018) in place of the piecewise g

  /// alpha, beta, gamma = ratio * (1, 2, 8), as published.
  static IrpeFunction of_ratio(double ratio, bool clip = false);
  int64_t bound() const { return int64_t(beta); }
  /// g(x) = round(x) where |x| <= alpha, else
  /// sign(x) trunc(min(beta, round(alpha + ln(|x| / alpha) / ln(gamma / alpha) (beta - alpha)))); paper, equation 18.
  /// Halves round to even and the second branch is evaluated in f32 in this order, as in the authors' program.
  int64_t operator()(double x) const;
};

/// Which bucket each (query, key) pair falls into. On a grid no [queries, keys] table is kept: ids depend on the offset
/// alone, so either id = row_ids[dr + height - 1] + column_ids[dc + width - 1] (product, cross, Swin) or one table over
/// (dr, dc) does. A pair with an extra token has the id buckets - 1. Without a grid (index_from_ids) the ids are
/// listed.
struct RelposIndex {
  int64_t queries = 0, keys = 0;
  int64_t buckets = 0;  ///< ids are in [0, buckets)
  int64_t height = 0, width = 0, skip = 0;
  Tensor row_ids, column_ids;  ///< i32 [2 height - 1], [2 width - 1]; or undefined
  Tensor offset_ids;           ///< i32 [2 height - 1, 2 width - 1]; or undefined
  Tensor listed_ids;           ///< u8 or i32 [queries, keys]; or undefined

  Device device() const;
  /// The same index with its tables on `device`.
  RelposIndex to(Device device) const;
  /// All ids: i32 [queries, keys], on the CPU.
  Tensor ids() const;
};

/// The iRPE index of a height x width grid with `skip` extra tokens, kept by its arguments. Buckets: 2b + 1, or (2b +
/// 1)^2 for product, and one more if skip > 0.
/// @throws ValueError if a size, skip, alpha, beta or gamma is out of range
const RelposIndex& irpe_index(IrpeMethod method, const IrpeFunction& function, int64_t height, int64_t width,
                              int64_t skip);

/// Swin's relative_position_index of a height x width window: id = (dr + height - 1)(2 width - 1) + dc + width - 1.
const RelposIndex& swin_index(int64_t height, int64_t width);

/// An index from a copy of a list of ids. To check them the host reads them back, once: not inside a captured graph.
/// @param ids  u8 or i32 [queries, keys]
/// @throws ShapeError, DtypeError; ValueError for an id outside [0, buckets)
RelposIndex index_from_ids(const Tensor& ids, int64_t buckets);

/// The ids as a tensor: relative positions as an op, for inspection and probes.
///
/// @param method  an IrpeMethod's name, or "swin" (which ignores function and skip)
/// @return        i32 [N, N] on the CPU, N = skip + height * width
/// @throws ValueError as irpe_index
Tensor relpos_ids(const std::string& method, const IrpeFunction& function, int64_t height, int64_t width, int64_t skip);

}  // namespace vitrine::ops
