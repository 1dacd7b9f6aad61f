#pragma once
#include <optional>
#include <vector>

#include "core/random.h"
#include "core/tensor.h"
#include "ops/relpos/rpe_config.h"

namespace vitrine::ops {

/// The learned tables of an encoding: for each of q, k, v that it is on one, or two for cross (rows, columns). Ht is 1
/// if shared, else H; K = rpe_buckets.
struct RpeTables {
  std::vector<Tensor> q = {}, k = {};  ///< contextual [Ht, D, K]; bias [Ht, K]
  std::vector<Tensor> v = {};          ///< [Ht, K, D]
};

/// What rpe_attention needs besides q, k, v.
struct RpeAttentionOptions {
  RpeConfig rpe;
  int64_t height = 0, width = 0, skip = 0;  ///< the grid of the tokens, and the extra tokens before it
  RpeTables tables = {};
  std::optional<double> scale = {};  ///< factor of the logits; 1 / sqrt(D) if absent
  double dropout = 0;                ///< probability with which a weight is dropped, in [0, 1)
  RandomDraw draw = {};              ///< its random numbers; weight (b, h, i, j) uses its index in [B, H, N, N]
  /// Boolean, broadcastable to [B, H, N, N]: true where a query sees a key. An additive mask of 0 and -inf is `mask ==
  /// 0`; other additive masks are not taken.
  Tensor mask = {};
};

/// Attention with relative position encodings of images (iRPE; Wu et al., "Rethinking and Improving Relative Position
/// Encoding for Vision Transformer", ICCV 2021, equations 13 to 17, as the authors' program has them), fused. With I =
/// id(i, j) the bucket of query i and key j, I' = id(j, i), and the terms of those of q, k, v that it is on:
///
///     s_ij = scale q_i.k_j + scale q_i.Wk[:, I] + scale k_j.Wq[:, I']     contextual; -inf where mask_ij is false
///     s_ij = scale q_i.k_j + bk[I] + bq[I']                               bias
///     p_ij = exp(s_ij - l_i),  l_i = ln sum_j exp(s_ij)
///     out_i = sum_j z_ij p_ij (v_j + Wv[I, :])                  z_ij = 0 with probability `dropout`, else 1 / (1 - it)
///
/// Cross sums the terms of its two tables. No vector is looked up per pair: a query's products with all buckets are
/// made first and then read by id, and weights are summed by bucket before they meet Wv. No [N, N] tensor is made, of
/// ids neither. A row that sees no key gives zeros and no gradients. Without an encoding (`rpe.any()` false) it is
/// attention, and the grid is not looked at.
///
/// @param q        [B, H, N, D], floating, any strides, D >= 1, N = skip + height width
/// @param k        as q
/// @param v        as q
/// @param options  grid, tables (which have gradients), scale, dropout, mask
/// @return         [B, H, N, D], dtype of q; lies in memory as [B, N, H, D], so that joining the heads is a view
/// @throws ShapeError, DtypeError, DeviceError if the arguments or tables do not fit; ValueError if dropout is not in
///         [0, 1), or for a bias on v
Tensor rpe_attention(const Tensor& q, const Tensor& k, const Tensor& v, const RpeAttentionOptions& options);

/// What rpe_attention_unfused returns.
struct RpeAttentionTerms {
  Tensor out;            ///< [B, H, N, D]
  Tensor probabilities;  ///< p above, before dropout: [B, H, N, N]
  Tensor content;        ///< scale q_i.k_j, [B, H, N, N]
  Tensor rpe;            ///< sum of the encoding's terms of s, broadcastable to [B, H, N, N]; undefined if it has none
};

/// The same by its definition, with products, bucket_gather, softmax, bucket_sum, keeping every step on the tape: for
/// looking at the terms, and what the tests hold against the fused form. Parameters, values and errors as
/// rpe_attention.
RpeAttentionTerms rpe_attention_unfused(const Tensor& q, const Tensor& k, const Tensor& v,
                                        const RpeAttentionOptions& options);

}  // namespace vitrine::ops
