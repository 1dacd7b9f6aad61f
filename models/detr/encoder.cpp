#include "models/detr/encoder.h"

#include "nn/attention.h"
#include "ops/binary/operators.h"
#include "ops/compare/compare.h"
#include "ops/concat/concat.h"
#include "ops/unary/unary.h"

namespace vitrine::models {
namespace {

const DetrEncoderConfig& checked(const DetrEncoderConfig& c) {
  check<ValueError>(c.dim > 0 && c.heads > 0 && c.dim % c.heads == 0 && c.ffn > 0,
                    "encoder layer: {} heads must divide dim {}, and ffn {} be above 0", c.heads, c.dim, c.ffn);
  check<ValueError>(c.dropout >= 0 && c.dropout < 1, "encoder layer: dropout {} must be in [0, 1)", c.dropout);
  return c;
}

}  // namespace

DetrSelfAttention::DetrSelfAttention(nn::Scope scope, const DetrEncoderConfig& c)
    : Layer(std::move(scope)),
      config(checked(c)),
      in_proj_weight(param("in_proj_weight", {3 * c.dim, c.dim}, nn::init::xavier_uniform())),
      in_proj_bias(param("in_proj_bias", {3 * c.dim}, nn::init::zeros())),
      out_proj(sub("out_proj"), c.dim, c.dim, nn::init::xavier_uniform()) {
  if (!c.rpe) return;
  const auto add = [&](std::optional<nn::Rpe>& rpe, const char* name, char on) {
    rpe.emplace(sub(name), *c.rpe, on, c.heads, c.dim / c.heads, 0, nn::init::xavier_uniform());
  };
  if (c.rpe->on_q) add(rpe_q, "rpe_q", 'q');
  if (c.rpe->on_k) add(rpe_k, "rpe_k", 'k');
  if (c.rpe->on_v) add(rpe_v, "rpe_v", 'v');
}

Tensor DetrSelfAttention::forward(const Tensor& at, const Tensor& x, const nn::TokenGrid& grid, const Tensor& seen) {
  const int64_t batch = x.size(0), tokens = x.size(1), dim = config.dim, d = dim / config.heads;
  const Tensor weight = in_proj_weight.as(x.dtype()), bias = in_proj_bias.as(x.dtype());
  const Tensor of_positions = ops::linear(at, weight.narrow(0, 0, 2 * dim), bias.narrow(0, 0, 2 * dim));
  const Tensor v = ops::linear(x, weight.narrow(0, 2 * dim, dim), bias.narrow(0, 2 * dim, dim));
  const std::vector<Tensor> parts = ops::split(of_positions, {dim, dim}, 2);
  const auto heads = [&](const Tensor& part) {
    return part.view({batch, tokens, config.heads, d}).permute({0, 2, 1, 3});
  };
  const auto tables = [&](const std::optional<nn::Rpe>& rpe) {
    return rpe ? rpe->tables(x.dtype()) : std::vector<Tensor>();
  };
  const double dropout = training() ? config.dropout : 0;
  const Tensor out = nn::attend(heads(parts[0]), heads(parts[1]), heads(v),
                                {.rpe = config.rpe.value_or(ops::RpeConfig{.on_k = false}),
                                 .height = grid.height,
                                 .width = grid.width,
                                 .tables = {tables(rpe_q), tables(rpe_k), tables(rpe_v)},
                                 .dropout = dropout,
                                 .draw = dropout > 0 ? rng().draw() : RandomDraw(),
                                 .mask = seen.defined() ? seen.unsqueeze(1).unsqueeze(1) : Tensor()});
  return out_proj(out.permute({0, 2, 1, 3}).reshape({batch, tokens, dim}));
}

DetrEncoderLayer::DetrEncoderLayer(nn::Scope scope, const DetrEncoderConfig& c)
    : Layer(std::move(scope)),
      self_attn(sub("self_attn"), c),
      linear1(sub("linear1"), c.dim, c.ffn, nn::init::xavier_uniform(), nn::init::uniform_fan_in(c.dim)),
      linear2(sub("linear2"), c.ffn, c.dim, nn::init::xavier_uniform(), nn::init::uniform_fan_in(c.ffn)),
      norm1(sub("norm1"), c.dim, 1e-5),
      norm2(sub("norm2"), c.dim, 1e-5),
      dropout_(sub(""), c.dropout) {}

Tensor DetrEncoderLayer::forward(const Tensor& x, const Tensor& pos, const nn::TokenGrid& grid,
                                 const Tensor& key_padding_mask) {
  check(x.dim() == 3 && x.size(2) == self_attn.config.dim && pos.shape() == x.shape(),
        "encoder layer: x {} and pos {} must be [B, N, {}]", x, pos, self_attn.config.dim);
  check(grid.skip == 0 && grid.tokens() == x.size(1),
        "encoder layer: x {} has {} tokens, but the grid is {} x {} without extra tokens", x, x.size(1), grid.height,
        grid.width);
  Tensor seen;
  if (key_padding_mask.defined()) {
    check(key_padding_mask.shape() == Shape({x.size(0), x.size(1)}),
          "encoder layer: key_padding_mask {} must be [{}, {}]", key_padding_mask, x.size(0), x.size(1));
    seen = ops::logical_not(key_padding_mask);
  }
  const Tensor y = norm1(x, dropout_(self_attn(x + pos, x, grid, seen)))[1];
  const Tensor hidden = dropout_(ops::relu(linear1(y)));
  return norm2(y, dropout_(linear2(hidden)))[1];
}

}  // namespace vitrine::models
