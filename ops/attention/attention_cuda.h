#pragma once
#include "ops/attention/attention_kernels.h"
#include "ops/attention/attention_rows_cuda.h"

/// What this folder's .cu files share.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {

/// Tensor-core kernels for bf16 (attention_mma.cu): head size 32 or 64, rows of q, k, v and dout dense and 16-byte
/// aligned. False, and nothing done, where they do not apply.
bool launch_mma_forward(const AttentionInputs& in, Tensor& out, Tensor& lse);
bool launch_mma_backward(const AttentionInputs& in, const Tensor& lse, const Tensor& dout, AttentionGradients& to);

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
