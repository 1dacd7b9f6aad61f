#pragma once
#include "nn/dropout.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rpe.h"

/// The encoder of DETR (Carion et al., "End-to-End Object Detection with Transformers", 2020), with image RPE (Wu et
/// al., 2021) in its self-attention. Names and initial values are those of the reference program.
namespace vitrine::models {

struct DetrEncoderConfig {
  int64_t dim = 256, heads = 8, ffn = 2048;
  std::optional<ops::RpeConfig> rpe = {};  ///< the reference's option enc_rpe2d, as ops::parse_rpe reads it
  double dropout = 0.1;                    ///< of the attention's weights too
};

/// Multi-head self-attention over a grid that may differ from call to call, with absolute positions in q and k alone.
/// Without extra tokens, tables have no extra bucket.
///
/// Parameters: `in_proj_weight` [3 C, C] (rows of q, then k, then v) and `in_proj_bias`, `out_proj`, the tables of
/// `rpe_q`, `rpe_k`, `rpe_v`. Those of more than one dim are Xavier-uniform, tables included; biases are zeros.
struct DetrSelfAttention final : nn::Layer<DetrSelfAttention> {
  DetrEncoderConfig config;
  nn::Parameter in_proj_weight, in_proj_bias;
  nn::Linear out_proj;
  std::optional<nn::Rpe> rpe_q, rpe_k, rpe_v;

  /// @throws ValueError unless heads divides dim, ffn is above 0 and dropout in [0, 1)
  DetrSelfAttention(nn::Scope scope, const DetrEncoderConfig& config);
  /// @param at    [B, N, C], what q and k are made of
  /// @param x     [B, N, C], what v is made of
  /// @param grid  of the N tokens, row by row
  /// @param seen  boolean [B, N], the keys that count; undefined: all. Where there are none the result is that of zeros
  Tensor forward(const Tensor& at, const Tensor& x, const nn::TokenGrid& grid, const Tensor& seen);
};

/// A layer in post-norm form (detr 1.5):
///
///     x = norm1(x + drop(self_attn(x + pos, x)));  x = norm2(x + drop(linear2(drop(relu(linear1(x))))))
struct DetrEncoderLayer final : nn::Layer<DetrEncoderLayer> {
  DetrSelfAttention self_attn;
  nn::Linear linear1, linear2;
  nn::LayerNorm norm1, norm2;

  DetrEncoderLayer(nn::Scope scope, const DetrEncoderConfig& config);
  /// @param x                 [B, N, C]
  /// @param pos               [B, N, C], absolute positions
  /// @param grid              height x width = N of the padded feature map of the batch, without extra tokens
  /// @param key_padding_mask  boolean [B, N], true at padding, which no token sees; undefined: none
  /// @throws ShapeError if the arguments do not fit
  Tensor forward(const Tensor& x, const Tensor& pos, const nn::TokenGrid& grid, const Tensor& key_padding_mask = {});

 private:
  nn::Dropout dropout_;
};

}  // namespace vitrine::models
