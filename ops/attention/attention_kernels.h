#pragma once
#include "core/kernel_slot.h"
#include "ops/dropout/drop_mask.h"

/// Private to this folder. q, k, v, out and their gradients are [B, H, L, D] with any strides; bias and mask, if
/// defined, are expanded to [B, H, Lq, Lk]. B, H, Lq and D are not 0; Lk may be.
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

/// Writes out, and lse [B, H, Lq] (contiguous, accumulate_t of the dtype): the logarithm of a row's sum, +inf if the
/// row sees no key, so that exp(s - lse) is 0 there too.
inline constinit KernelSlot<void(const AttentionInputs& in, Tensor& out, Tensor& lse)> attention_forward{
    "attention_forward"};
inline constinit KernelSlot<void(const AttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
                                 AttentionGradients& gradients)>
    attention_backward{"attention_backward"};

}  // namespace vitrine::ops
