#pragma once
#include <optional>
#include <string>

#include "nn/dropout.h"
#include "nn/linear.h"
#include "nn/rpe.h"
#include "ops/rpe_attention/rpe_attention.h"

namespace vitrine::nn {

/// Where tokens stand: `skip` extra ones (class, distillation), then height * width cells, row by row.
struct TokenGrid {
  int64_t height = 0, width = 0, skip = 0;
  int64_t tokens() const { return skip + height * width; }
};

struct AttentionConfig {
  int64_t dim, heads;
  TokenGrid grid;
  std::optional<ops::RpeConfig> rpe = {};
  double attention_dropout = 0, projection_dropout = 0;
};

/// ops::rpe_attention. Whoever watches "probabilities" (or "content", "rpe": the two parts of the logits) of the module
/// that calls it makes it run the unfused form.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const ops::RpeAttentionOptions& options);

/// Multi-head self-attention of DeiT, with iRPE on any of q, k, v: `qkv` (rows q, then k, then v, each head by head),
/// `attend`, `proj`.
struct Attention final : Layer<Attention> {
  AttentionConfig config;
  Linear qkv, proj;
  std::optional<Rpe> rpe_q, rpe_k, rpe_v;

  /// @throws ValueError unless heads divides dim
  Attention(Scope scope, const AttentionConfig& config);
  /// @param x  [B, N, C], N = grid.tokens()
  Tensor forward(const Tensor& x);

 private:
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v);
  Dropout proj_drop_;
};

}  // namespace vitrine::nn
