#pragma once
#include <optional>

#include "core/random.h"
#include "core/tensor.h"

namespace vitrine::ops {

/// Optional parts of attention.
struct AttentionOptions {
  Tensor bias = {};                  ///< added to the scaled logits: dtype of q, broadcastable to [B, H, Lq, Lk]
  Tensor mask = {};                  ///< boolean, broadcastable to [B, H, Lq, Lk]: true where a query sees a key
  std::optional<double> scale = {};  ///< factor of the logits; 1 / sqrt(D) if absent
  double dropout = 0;                ///< probability with which a weight is dropped, in [0, 1)
  RandomDraw draw = {};              ///< its random numbers; weight (b, h, i, j) uses its index in [B, H, Lq, Lk]
};

/// Scaled dot-product attention (Vaswani et al., "Attention is all you need", 2017, equation 1), fused:
///
///     s_ij = scale * sum_d q_id k_jd + bias_ij       -inf where mask_ij is false
///     p_ij = exp(s_ij - l_i),  l_i = ln sum_j exp(s_ij)
///     out_id = sum_j z_ij p_ij v_jd                  z_ij = 0 with probability `dropout`, else 1 / (1 - dropout)
///
/// No [Lq, Lk] tensor is made: the forward keeps l, the backward recomputes s from it. (A gradient of the bias is
/// itself that large: it is made for each [B, H] and then summed to the shape of the bias, in a fixed order.)
/// A row that sees no key, because all are masked, all its biases are -inf, or Lk is 0, gives zeros and no gradients.
/// NaN and infinity of a masked key still count, as 0 * NaN = NaN: give masked keys finite values.
///
/// @param q        [B, H, Lq, D], floating, any strides, D >= 1
/// @param k        [B, H, Lk, D]
/// @param v        [B, H, Lk, D]
/// @param options  bias (has a gradient), mask, scale, dropout
/// @return         [B, H, Lq, D], dtype of q; lies in memory as [B, Lq, H, D], so that joining the heads is a view
/// @throws ShapeError, DtypeError, DeviceError if the arguments do not fit; ValueError if dropout is not in [0, 1)
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options = {});

/// What attention_unfused returns.
struct AttentionWeights {
  Tensor out;            ///< [B, H, Lq, D]
  Tensor probabilities;  ///< p above, before dropout: [B, H, Lq, Lk]
};

/// The same by its definition, matmul, softmax, matmul, keeping every step on the tape: for looking at the
/// probabilities, and what the tests hold against the fused form. Parameters, values and errors as attention.
AttentionWeights attention_unfused(const Tensor& q, const Tensor& k, const Tensor& v,
                                   const AttentionOptions& options = {});

}  // namespace vitrine::ops
