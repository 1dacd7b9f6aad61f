#include "models/costs.h"

#include "models/swin/swin.h"

namespace vitrine::models {
namespace {

/// Windows reach over the image where their size does not divide its side; attention computes there too.
void attention_costs(const std::string& name, const WindowAttention& attn, const SwinWindows& windows, int64_t dim,
                     std::vector<LayerCost>& list) {
  const int64_t n = windows.tokens(), all = windows.count() * n;
  const auto& table = attn.relative_position_bias_table;
  if (table.defined()) list.push_back({name + ".relative_position_bias_table", "rpe", table.tensor().numel(), 0, 0});
  list.push_back(linear_cost(name + ".qkv", attn.qkv, all));
  list.push_back(attention_cost(name, all, n, dim, attn.heads));
  if (attn.rpe_q) list.push_back(rpe_cost(name + ".rpe_q", *attn.rpe_q, false, all, n, dim));
  if (attn.rpe_k) list.push_back(rpe_cost(name + ".rpe_k", *attn.rpe_k, false, all, n, dim));
  if (attn.rpe_v) list.push_back(rpe_cost(name + ".rpe_v", *attn.rpe_v, true, all, n, dim));
  list.push_back(linear_cost(name + ".proj", attn.proj, all));
}

void block_costs(const std::string& name, const SwinBlock& block, int64_t dim, std::vector<LayerCost>& list) {
  const int64_t tokens = block.windows.side * block.windows.side;
  list.push_back(norm_cost(name + ".norm1", block.norm1, tokens));
  attention_costs(name + ".attn", block.attn, block.windows, dim, list);
  list.push_back(norm_cost(name + ".norm2", block.norm2, tokens));
  list.push_back(linear_cost(name + ".mlp.fc1", block.mlp.fc1, tokens));
  list.push_back(gelu_cost(name + ".mlp.gelu", tokens * block.mlp.fc1.bias.tensor().numel()));
  list.push_back(linear_cost(name + ".mlp.fc2", block.mlp.fc2, tokens));
}

}  // namespace

std::vector<LayerCost> Swin::costs() const {
  std::vector<LayerCost> list;
  const int64_t patches = grid().tokens();
  if (absolute_pos_embed.defined())
    list.push_back({"absolute_pos_embed", "parameter", absolute_pos_embed.tensor().numel(), 0, 0});
  list.push_back(patch_embed_cost("patch_embed.proj", patch_embed.proj, patches));
  list.push_back(norm_cost("patch_embed.norm", patch_embed.norm, patches));
  for (int64_t s = 0; s < config.stages(); ++s) {
    const SwinStage& stage = layers[s];
    for (int64_t i = 0; i < stage.blocks.size(); ++i)
      block_costs(format("layers.{}.blocks.{}", s, i), stage.blocks[i], config.dim << s, list);
    if (!stage.downsample) continue;
    const PatchMerging& merging = *stage.downsample;
    const int64_t merged = merging.side * merging.side / 4, weights = merging.reduction.weight.tensor().numel();
    const std::string name = format("layers.{}.downsample", s);
    list.push_back(norm_cost(name + ".norm", merging.norm, merged));
    list.push_back({name + ".reduction", "linear", weights, merged * weights, merged * weights});
  }
  list.push_back(norm_cost("norm", norm, config.side(config.stages() - 1) * config.side(config.stages() - 1)));
  list.push_back(linear_cost("head", head, 1));
  return list;
}

}  // namespace vitrine::models
