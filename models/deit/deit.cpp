#include "models/deit/deit.h"

#include <cmath>
#include <numbers>

#include "core/trace.h"
#include "ops/binary/operators.h"
#include "ops/concat/concat.h"
#include "ops/softmax/softmax.h"
#include "ops/unary/unary.h"

namespace vitrine::models {
namespace {

/// Fixed encoding of MAE: a quarter of the channels each for sin and cos of the column and of the row, at
/// wavelengths 2 pi 10000^(4k/dim); zeros for the extra tokens.
Tensor sincos_embedding(const nn::TokenGrid& grid, int64_t dim) {
  check<ValueError>(dim % 4 == 0, "ape sincos needs a dim that 4 divides, got {}", dim);
  const int64_t quarter = dim / 4;
  std::vector<double> values(size_t(grid.tokens() * dim), 0.0);
  for (int64_t i = 0; i < grid.height * grid.width; ++i)
    for (int64_t k = 0; k < quarter; ++k) {
      const double omega = std::pow(10000.0, -double(k) / double(quarter));
      double* row = values.data() + (grid.skip + i) * dim + k;
      const double column_angle = double(i % grid.width) * omega, row_angle = double(i / grid.width) * omega;
      row[0] = std::sin(column_angle), row[quarter] = std::cos(column_angle);
      row[2 * quarter] = std::sin(row_angle), row[3 * quarter] = std::cos(row_angle);
    }
  return from_vector(values, {1, grid.tokens(), dim});
}

const DeiTConfig& checked(const DeiTConfig& c) {
  check<ValueError>(c.image_size > 0 && c.patch_size > 0 && c.image_size % c.patch_size == 0,
                    "{}: image size {} is no multiple of the patch size {}", c.name, c.image_size, c.patch_size);
  check<ValueError>(c.num_classes > 0, "{}: the number of classes must be positive, got {}", c.name, c.num_classes);
  check<ValueError>(c.drop_path >= 0 && c.drop_path < 1 && c.dropout >= 0 && c.dropout < 1,
                    "{}: dropout {} and drop path {} must be in [0, 1)", c.name, c.dropout, c.drop_path);
  return c;
}

}  // namespace

Block::Block(nn::Scope scope, const DeiTConfig& c, double drop_path)
    : Layer(std::move(scope)),
      norm1(sub("norm1"), c.dim),
      attn(sub("attn"), {.dim = c.dim,
                         .heads = c.heads,
                         .grid = c.grid(),
                         .rpe = c.rpe,
                         .rival = c.rival,
                         .projection_dropout = c.dropout}),
      norm2(sub("norm2"), c.dim),
      mlp(sub("mlp"), c.dim, c.mlp_ratio * c.dim, c.dropout),
      drop_path_(sub(""), drop_path) {}

std::array<Tensor, 2> Block::forward(const Tensor& x, const Tensor& residual) {
  const auto normed = [](nn::LayerNorm& norm, const Tensor& stream, const Tensor& branch) {
    return branch.defined() ? norm(stream, branch) : std::array<Tensor, 2>{stream, norm(stream)};
  };
  const auto [entered, y] = normed(norm1, x, residual);
  trace::watch("stream", entered);
  const auto [attended, z] = normed(norm2, entered, drop_path_(attn(y)));
  trace::watch("attended", attended);
  return {attended, drop_path_(mlp(z))};
}

DeiT::DeiT(nn::Scope scope, const DeiTConfig& c)
    : Layer(std::move(scope)),
      config(checked(c)),
      cls_token(param("cls_token", {1, 1, c.dim}, nn::init::truncated_normal())),
      dist_token(c.distilled ? param("dist_token", {1, 1, c.dim}, nn::init::truncated_normal()) : Tensor()),
      pos_embed(c.ape == Ape::learned  ? param("pos_embed", {1, c.grid().tokens(), c.dim}, nn::init::truncated_normal())
                : c.ape == Ape::sincos ? buffer("pos_embed", sincos_embedding(c.grid(), c.dim), nn::Persistent::yes)
                                       : Tensor()),
      patch_embed(sub("patch_embed"), c.channels, c.dim, c.patch_size),
      blocks(sub("blocks"), c.depth,
             [&](nn::Scope s, int64_t i) {
               const double rate = c.depth > 1 ? c.drop_path * double(i) / double(c.depth - 1) : c.drop_path;
               return std::make_unique<Block>(std::move(s), c, rate);
             }),
      pos_block(
          sub("pos_block"), c.generators(),
          [&](nn::Scope s, int64_t) { return std::make_unique<nn::PositionGenerator>(std::move(s), c.dim, c.grid()); }),
      norm(sub("norm"), c.dim),
      head(sub("head"), c.dim, c.num_classes),
      pos_drop_(sub(""), c.dropout) {
  if (c.distilled) head_dist.emplace(sub("head_dist"), c.dim, c.num_classes);
}

Tensor DeiT::embed(const Tensor& images) {
  const Tensor patches = patch_embed(images);
  const auto token = [&](const nn::Parameter& t) {
    return t.as(images.dtype()).expand({images.size(0), 1, config.dim});
  };
  std::vector<Tensor> sequence{token(cls_token)};
  if (config.distilled) sequence.push_back(token(dist_token));
  sequence.push_back(patches);
  const Tensor x = ops::concat(sequence, 1);
  return pos_drop_(pos_embed.defined() ? x + pos_embed.as(images.dtype()) : x);
}

std::array<Tensor, 2> DeiT::forward_heads(const Tensor& images) {
  check(images.dim() == 4 && images.size(1) == config.channels && images.size(2) == config.image_size &&
            images.size(3) == config.image_size,
        "{}: images {} must be [B, {}, {}, {}]", config.name, images, config.channels, config.image_size,
        config.image_size);
  Tensor x = embed(images), branch;
  for (int64_t i = 0; i < blocks.size(); ++i) {
    const std::array<Tensor, 2> next = blocks[i](x, branch);
    x = next[0], branch = next[1];
    if (i < pos_block.size()) x = pos_block[i](x + branch), branch = Tensor();
  }
  // Only the extra tokens reach a head, and a norm acts on each token alone: the others need no last sum and norm.
  const auto extra = [&](const Tensor& t) { return t.narrow(1, 0, config.skip()); };
  const Tensor y = norm(extra(x), extra(branch))[1];
  return {head(y.select(1, 0)), config.distilled ? (*head_dist)(y.select(1, 1)) : Tensor()};
}

Tensor DeiT::forward(const Tensor& images) {
  const auto [logits, distilled] = forward_heads(images);
  if (!distilled.defined()) return logits;
  if (fusion == HeadFusion::logits) return (logits + distilled) * 0.5;
  // log((e^a + e^b) / 2) = a + softplus(b - a) - log 2, a and b the logarithms of both softmaxes
  const Tensor a = ops::log_softmax(logits, -1), b = ops::log_softmax(distilled, -1);
  return a + ops::softplus(b - a) - std::numbers::ln2;
}

}  // namespace vitrine::models
