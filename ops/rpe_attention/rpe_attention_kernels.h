#pragma once
#include <vector>

#include "core/kernel_slot.h"
#include "ops/attention/attention_inputs.h"
#include "ops/relpos/relpos.h"

/// Private to this folder. As in attention B, H, N and D are not 0.
namespace vitrine::ops {

struct RpeAttentionInputs {
  AttentionInputs attention;         ///< without bias
  std::vector<RelposIndex> indices;  ///< one, or two for cross, on the device of q, of the buckets in use alone
  bool bias;                         ///< the mode
  /// Contiguous; undefined if there is none. [Ht, K, D] (bias [Ht, K]) with Ht 1 or H and K the buckets of all indices
  /// behind each other.
  Tensor q, k, v;
};

/// Gradients of the tables to write, for each (b, h) alone: [B, H, K, D] or [B, H, K], contiguous, accumulate_t of the
/// dtype. Undefined ones are not wanted.
struct RpeTableGradients {
  Tensor q, k, v;
};

/// Writes out and lse as attention_forward does.
inline constinit KernelSlot<void(const RpeAttentionInputs& in, Tensor& out, Tensor& lse)> rpe_attention_forward{
    "rpe_attention_forward"};
inline constinit KernelSlot<void(const RpeAttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
                                 AttentionGradients& gradients, RpeTableGradients& tables)>
    rpe_attention_backward{"rpe_attention_backward"};

}  // namespace vitrine::ops
