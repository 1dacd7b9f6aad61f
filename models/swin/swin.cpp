#include "models/swin/swin.h"

#include <algorithm>
#include <numeric>

#include "ops/binary/operators.h"
#include "ops/compare/compare.h"
#include "ops/concat/concat.h"
#include "ops/reduce/reduce.h"
#include "ops/where/where.h"
#include "ops/window/window.h"

namespace vitrine::models {
namespace {

const SwinConfig& checked(const SwinConfig& c) {
  const int64_t stages = c.stages();
  check<ValueError>(stages >= 1 && int64_t(c.heads.size()) == stages && c.window >= 1,
                    "{}: {} depths, {} numbers of heads and windows of {} make no stages", c.name, stages,
                    c.heads.size(), c.window);
  const int64_t unit = c.patch_size << (stages - 1);
  check<ValueError>(c.image_size > 0 && c.image_size % unit == 0,
                    "{}: image size {} is no multiple of {}: patches of {}, halved {} times", c.name, c.image_size,
                    unit, c.patch_size, stages - 1);
  for (int64_t s = 0; s < stages; ++s)
    check<ValueError>(c.depths[size_t(s)] > 0 && c.heads[size_t(s)] > 0 && (c.dim << s) % c.heads[size_t(s)] == 0,
                      "{}: stage {} has {} blocks, and {} heads of {} channels", c.name, s, c.depths[size_t(s)],
                      c.heads[size_t(s)], c.dim << s);
  check<ValueError>(c.num_classes > 0, "{}: the number of classes must be positive, got {}", c.name, c.num_classes);
  check<ValueError>(c.drop_path >= 0 && c.drop_path < 1 && c.dropout >= 0 && c.dropout < 1,
                    "{}: dropout {} and drop path {} must be in [0, 1)", c.name, c.dropout, c.drop_path);
  check<ValueError>(c.ape == Ape::learned || c.ape == Ape::none, "{}: its absolute encoding is learned or none, not {}",
                    c.name, to_string(c.ape));
  check<ValueError>(!c.bias || !c.rpe, "{}: an encoding in windows takes the place of the bias", c.name);
  return c;
}

SwinWindows windows_of(const SwinConfig& c, int64_t stage, int64_t index) {
  const int64_t side = c.side(stage);
  if (side <= c.window) return {side, side, 0};
  return {side, c.window, index % 2 ? c.window / 2 : 0};
}

/// Swin's bias as the encoding it is: each offset its own bucket, a scalar per head, on the logits alone. A clip at
/// +-(M - 1) leaves every offset in the window as it is; the bound is twice the ratio, which must not be 0.
ops::RpeConfig encoding_of(const SwinConfig& c, int64_t window) {
  if (!c.bias) return c.rpe.value_or(ops::RpeConfig{.on_k = false});
  return {.ratio = std::max(double(window - 1) / 2, 0.25),
          .method = ops::RpeMethod::product,
          .mode = ops::RpeMode::bias,
          .shared = false,
          .clip = true};
}

/// bool [nW, 1, M M, M M]: whether two tokens of a window of the shifted image are from one region. The shift brings
/// the rows and columns of the first `shift` to the end.
Tensor seen_in_windows(const SwinWindows& w) {
  const int64_t padded = w.per_side() * w.size;
  const auto region = [&](int64_t i) { return i < padded - w.size ? 0 : i < padded - w.shift ? 1 : 2; };
  std::vector<double> regions;
  for (int64_t y = 0; y < padded; ++y)
    for (int64_t x = 0; x < padded; ++x) regions.push_back(3 * region(y) + region(x));
  const Tensor of_tokens = ops::window_partition(from_vector(regions, {1, padded, padded, 1}), w.size);
  return ops::eq(of_tokens.view({w.count(), 1, w.tokens(), 1}), of_tokens.view({w.count(), 1, 1, w.tokens()}));
}

}  // namespace

WindowAttention::WindowAttention(nn::Scope scope, const SwinConfig& c, int64_t dim, int64_t heads_, int64_t window_)
    : Layer(std::move(scope)),
      heads(heads_),
      window(window_),
      relative_position_bias_table(c.bias ? param("relative_position_bias_table",
                                                  {(2 * window - 1) * (2 * window - 1), heads},
                                                  nn::init::truncated_normal())
                                          : Tensor()),
      qkv(sub("qkv"), dim, 3 * dim),
      proj(sub("proj"), dim, dim),
      encoding_(encoding_of(c, window)),
      proj_drop_(sub(""), c.dropout) {
  if (c.bias)
    buffer("relative_position_index", ops::swin_index(window, window).ids().to(Dtype::i64), nn::Persistent::derived);
  if (!c.rpe) return;
  if (c.rpe->on_q) rpe_q.emplace(sub("rpe_q"), *c.rpe, 'q', heads, dim / heads, 0);
  if (c.rpe->on_k) rpe_k.emplace(sub("rpe_k"), *c.rpe, 'k', heads, dim / heads, 0);
  if (c.rpe->on_v) rpe_v.emplace(sub("rpe_v"), *c.rpe, 'v', heads, dim / heads, 0);
}

Tensor WindowAttention::forward(const Tensor& x, const Tensor& seen) {
  const int64_t batch = x.size(0), tokens = x.size(1), dim = x.size(2);
  const std::vector<Tensor> parts = ops::split(qkv(x), {dim, dim, dim}, 2);
  const auto split_heads = [&](const Tensor& part) {
    return part.view({batch, tokens, heads, dim / heads}).permute({0, 2, 1, 3});
  };
  const auto tables = [&](const std::optional<nn::Rpe>& rpe) {
    return rpe ? rpe->tables(x.dtype()) : std::vector<Tensor>();
  };
  ops::RpeAttentionOptions options{
      .rpe = encoding_, .height = window, .width = window, .tables = {tables(rpe_q), tables(rpe_k), tables(rpe_v)}};
  if (relative_position_bias_table.defined())
    options.tables.k = {relative_position_bias_table.as(x.dtype()).transpose(0, 1)};
  if (seen.defined())  // once per image; a byte per pair, for all heads
    options.mask = seen.unsqueeze(0).expand({batch / seen.size(0), -1, -1, -1, -1}).reshape({batch, 1, tokens, tokens});
  const Tensor out = nn::attend(split_heads(parts[0]), split_heads(parts[1]), split_heads(parts[2]), options);
  return proj_drop_(proj(out.permute({0, 2, 1, 3}).reshape({batch, tokens, dim})));
}

SwinBlock::SwinBlock(nn::Scope scope, const SwinConfig& c, int64_t stage, int64_t index, double drop_path)
    : Layer(std::move(scope)),
      windows(windows_of(c, stage, index)),
      norm1(sub("norm1"), c.dim << stage, 1e-5),
      attn(sub("attn"), c, c.dim << stage, c.heads[size_t(stage)], windows.size),
      norm2(sub("norm2"), c.dim << stage, 1e-5),
      mlp(sub("mlp"), c.dim << stage, c.mlp_ratio * (c.dim << stage), c.dropout),
      drop_path_(sub(""), drop_path) {
  if (!windows.shift) return;
  const Tensor seen = seen_in_windows(windows);
  seen_ = buffer("seen", seen, nn::Persistent::no);
  buffer("attn_mask", ops::where(seen, scalar(0), scalar(-100)).squeeze(1), nn::Persistent::derived);
}

std::array<Tensor, 2> SwinBlock::forward(const Tensor& x, const Tensor& residual) {
  const int64_t side = windows.side, dim = x.size(2);
  const auto normed = [](nn::LayerNorm& norm, const Tensor& stream, const Tensor& branch) {
    return branch.defined() ? norm(stream, branch) : std::array<Tensor, 2>{stream, norm(stream)};
  };
  const auto [entered, y] = normed(norm1, x, residual);
  trace::watch("stream", entered);
  const Tensor cut = ops::window_partition(y.view({-1, side, side, dim}), windows.size, windows.shift);
  const Tensor whole = ops::window_merge(attn(cut, seen_), side, side, windows.size, windows.shift);
  const auto [attended, z] = normed(norm2, entered, drop_path_(whole.view(x.shape())));
  trace::watch("attended", attended);
  return {attended, drop_path_(mlp(z))};
}

PatchMerging::PatchMerging(nn::Scope scope, int64_t side_, int64_t dim)
    : Layer(std::move(scope)), side(side_), reduction(sub("reduction"), dim), norm(sub("norm"), 4 * dim, 1e-5) {}

Tensor PatchMerging::forward(const Tensor& x) {
  const int64_t half = side / 2, dim = x.size(2);
  // The authors' order of the four: down first, then right.
  const Tensor four = x.view({-1, half, 2, half, 2, dim}).permute({0, 1, 3, 4, 2, 5});
  return reduction(norm(four.reshape({-1, half * half, 4 * dim})));
}

SwinStage::SwinStage(nn::Scope scope, const SwinConfig& c, int64_t stage)
    : Layer(std::move(scope)), blocks(sub("blocks"), c.depths[size_t(stage)], [&](nn::Scope s, int64_t i) {
        const auto first = c.depths.begin();
        const int64_t before = std::accumulate(first, first + stage, i),
                      all = std::accumulate(first, c.depths.end(), int64_t(0));
        const double rate = all > 1 ? c.drop_path * double(before) / double(all - 1) : c.drop_path;
        return std::make_unique<SwinBlock>(std::move(s), c, stage, i, rate);
      }) {
  if (stage + 1 < c.stages()) downsample.emplace(sub("downsample"), c.side(stage), c.dim << stage);
}

std::array<Tensor, 2> SwinStage::forward(const Tensor& input) {
  Tensor x = input, branch;
  for (auto& block : blocks) {
    const std::array<Tensor, 2> next = (*block)(x, branch);
    x = next[0], branch = next[1];
  }
  if (downsample) return {(*downsample)(x + branch), Tensor()};
  return {x, branch};
}

Swin::Embedding::Embedding(nn::Scope scope, const SwinConfig& c)
    : Layer(std::move(scope)), proj(sub("proj"), c.channels, c.dim, c.patch_size), norm(sub("norm"), c.dim, 1e-5) {}

Tensor Swin::Embedding::forward(const Tensor& images) {
  return norm(ops::patch_embed(images, proj.weight.as(images.dtype()), proj.bias.as(images.dtype())));
}

Swin::Swin(nn::Scope scope, const SwinConfig& c)
    : Layer(std::move(scope)),
      config(checked(c)),
      absolute_pos_embed(c.ape == Ape::learned
                             ? param("absolute_pos_embed", {1, grid().tokens(), c.dim}, nn::init::truncated_normal())
                             : Tensor()),
      patch_embed(sub("patch_embed"), c),
      layers(sub("layers"), c.stages(),
             [&](nn::Scope s, int64_t i) { return std::make_unique<SwinStage>(std::move(s), c, i); }),
      norm(sub("norm"), c.dim << (c.stages() - 1), 1e-5),
      head(sub("head"), c.dim << (c.stages() - 1), c.num_classes),
      pos_drop_(sub(""), c.dropout) {}

Tensor Swin::forward(const Tensor& images) {
  const int64_t size = config.image_size;
  check(images.dim() == 4 && images.size(1) == config.channels && images.size(2) == size && images.size(3) == size,
        "{}: images {} must be [B, {}, {}, {}]", config.name, images, config.channels, size, size);
  Tensor x = patch_embed(images), branch;
  if (absolute_pos_embed.defined()) x = x + absolute_pos_embed.as(x.dtype());
  x = pos_drop_(x);
  for (auto& stage : layers) {
    const std::array<Tensor, 2> next = (*stage)(x);
    x = next[0], branch = next[1];
  }
  return head(ops::mean(norm(x, branch)[1], 1));
}

}  // namespace vitrine::models
