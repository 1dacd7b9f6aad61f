#pragma once
#include "core/kernel_slot.h"
#include "ops/attention/attention_inputs.h"

/// Private to this folder.
namespace vitrine::ops {

/// Writes out, and lse [B, H, Lq] (contiguous, accumulate_t of the dtype): the logarithm of a row's sum, +inf if the
/// row sees no key, so that exp(s - lse) is 0 there too.
inline constinit KernelSlot<void(const AttentionInputs& in, Tensor& out, Tensor& lse)> attention_forward{
    "attention_forward"};
inline constinit KernelSlot<void(const AttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
                                 AttentionGradients& gradients)>
    attention_backward{"attention_backward"};

}  // namespace vitrine::ops
