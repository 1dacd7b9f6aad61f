#include "models/costs.h"

#include "models/deit/deit.h"

namespace vitrine::models {
namespace {

void attention_costs(const std::string& name, const nn::Attention& attn, std::vector<LayerCost>& list) {
  const int64_t n = attn.config.grid.tokens(), dim = attn.config.dim, heads = attn.config.heads;
  list.push_back(linear_cost(name + ".qkv", attn.qkv, n));
  list.push_back(attention_cost(name, n, n, dim, heads));
  if (attn.rpe_q) list.push_back(rpe_cost(name + ".rpe_q", *attn.rpe_q, false, n, n, dim));
  if (attn.rpe_k) list.push_back(rpe_cost(name + ".rpe_k", *attn.rpe_k, false, n, n, dim));
  if (attn.rpe_v) list.push_back(rpe_cost(name + ".rpe_v", *attn.rpe_v, true, n, n, dim));
  list.push_back(linear_cost(name + ".proj", attn.proj, n));
}

}  // namespace

std::vector<LayerCost> DeiT::costs() const {
  const int64_t n = grid().tokens(), patches = n - config.skip();
  std::vector<LayerCost> list;
  const auto token = [&](const char* name, const nn::Parameter& t) {
    if (t.defined()) list.push_back({name, "parameter", t.tensor().requires_grad() ? t.tensor().numel() : 0, 0, 0});
  };
  token("cls_token", cls_token);
  token("dist_token", dist_token);
  token("pos_embed", pos_embed);
  list.push_back(patch_embed_cost("patch_embed.proj", patch_embed.proj, patches));
  for (int64_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    const std::string name = format("blocks.{}", i);
    list.push_back(norm_cost(name + ".norm1", block.norm1, n));
    attention_costs(name + ".attn", block.attn, list);
    list.push_back(norm_cost(name + ".norm2", block.norm2, n));
    list.push_back(linear_cost(name + ".mlp.fc1", block.mlp.fc1, n));
    list.push_back(gelu_cost(name + ".mlp.gelu", n * config.mlp_ratio * config.dim));
    list.push_back(linear_cost(name + ".mlp.fc2", block.mlp.fc2, n));
  }
  list.push_back(norm_cost("norm", norm, n));
  list.push_back(linear_cost("head", head, 1));
  if (head_dist) list.push_back(linear_cost("head_dist", *head_dist, 1));
  return list;
}

}  // namespace vitrine::models
