#pragma once
#include "core/cuda/device.h"
#include "ops/rpe_attention/rpe_attention_kernels.h"

/// What this folder's .cu files share.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {

/// Tensor-core kernels for bf16 (rpe_attention_mma.cu): where those of attention apply, with at most 256 buckets an
/// index, and what they keep in shared memory fits. False, and nothing done, where they do not apply.
bool launch_rpe_mma_forward(const RpeAttentionInputs& in, Tensor& out, Tensor& lse);
/// After gradients.delta.
bool launch_rpe_mma_backward(const RpeAttentionInputs& in, const Tensor& lse, const Tensor& dout,
                             AttentionGradients& gradients, RpeTableGradients& tables);

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
