#pragma once
#include "core/tensor.h"
#include "ops/dropout/drop_mask.h"

/// What kernels of attention get; private to attention and the ops that add terms to it (rpe_attention). q, k, v, out
/// and their gradients are [B, H, L, D] with any strides; bias and mask, if defined, are expanded to [B, H, Lq, Lk]. B,
/// H, Lq and D are not 0; Lk may be.
namespace vitrine::ops {

struct AttentionInputs {
  Tensor q, k, v, bias, mask;
  double scale;
  DropMask drop;  ///< of weight (b, h, i, j) by its index in [B, H, Lq, Lk]
  bool drops() const { return drop.threshold > 0; }
};

/// Gradients to write; undefined ones are not wanted.
struct AttentionGradients {
  Tensor dq, dk, dv;
  Tensor dbias;  ///< [B, H, Lq, Lk], contiguous
  Tensor delta;  ///< [B, H, Lq], contiguous: sum_d dout_id out_id, always computed
};

}  // namespace vitrine::ops
