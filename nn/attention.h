#pragma once
#include <memory>
#include <optional>
#include <string>

#include "nn/dropout.h"
#include "nn/linear.h"
#include "nn/rivals.h"
#include "nn/rpe.h"
#include "ops/rpe_attention/rpe_attention.h"

namespace vitrine::nn {

struct AttentionConfig {
  int64_t dim, heads;
  TokenGrid grid;
  std::optional<ops::RpeConfig> rpe = {};
  Rival rival = Rival::none;  ///< in place of rpe
  double projection_dropout = 0;
};

/// ops::rpe_attention. Whoever watches "probabilities" (or "content", "rpe": the two parts of the logits) of the module
/// that calls it makes it run the unfused form.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const ops::RpeAttentionOptions& options);

/// Multi-head self-attention of DeiT, with iRPE on any of q, k, v or a rival: `qkv` (rows q, then k, then v, each head
/// by head), `attend`, `proj`.
struct Attention final : Layer<Attention> {
  AttentionConfig config;  ///< of a rival, rpe is the setting that it runs as
  Linear qkv, proj;
  std::optional<Rpe> rpe_q, rpe_k, rpe_v;
  std::unique_ptr<RivalRpe> rival;

  /// @throws ValueError unless heads divides dim; for both rpe and a rival; as make_rival
  Attention(Scope scope, const AttentionConfig& config);
  /// @param x  [B, N, C], N = grid.tokens()
  Tensor forward(const Tensor& x);

 private:
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v);
  Dropout proj_drop_;
};

}  // namespace vitrine::nn
