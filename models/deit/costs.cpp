#include "models/costs.h"

#include "models/deit/deit.h"

namespace vitrine::models {
namespace {

/// As rpe_cost for a rival: a look-up for each of q and k, the dense product on v. SASA's two tables have half of the
/// channels each. Transformer-XL also projects its sinusoids, and u - v meets each key; as the published number could
/// not be derived, nothing says how its authors counted.
LayerCost rival_cost(const std::string& name, const nn::Attention& attn) {
  const int64_t n = attn.config.grid.tokens(), dim = attn.config.dim, term = n * dim;
  const int64_t buckets = ops::rpe_buckets(*attn.config.rpe, attn.config.grid.skip), look_up = term * buckets;
  LayerCost cost{name, "rpe", attn.rival->parameter_count()};
  switch (attn.config.rival) {
    case nn::Rival::huang:
      cost.macs = 2 * (look_up + term), cost.macs_matmul = 2 * look_up;
      break;
    case nn::Rival::sasa:
      cost.macs = look_up + term, cost.macs_matmul = 2 * look_up;
      break;
    case nn::Rival::axial:
      cost.macs = 2 * (look_up + term) + n * n * dim + term, cost.macs_matmul = 3 * look_up;
      break;
    case nn::Rival::transformer_xl:
      cost.macs = look_up + term + buckets * dim * dim + term;
      cost.macs_matmul = 2 * look_up + buckets * dim * dim;
      break;
    case nn::Rival::none:
      break;
  }
  return cost;
}

/// @param scales  whether multiplying q by the factor of the logits counts
void attention_costs(const std::string& name, const nn::Attention& attn, bool scales, std::vector<LayerCost>& list) {
  const int64_t n = attn.config.grid.tokens(), dim = attn.config.dim, heads = attn.config.heads;
  list.push_back(linear_cost(name + ".qkv", attn.qkv, n));
  list.push_back(attention_cost(name, n, n, dim, heads));
  if (!scales) list.back().macs -= n * dim;
  if (attn.rival) list.push_back(rival_cost(name + ".rpe", attn));
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
    // The published numbers of CPVT come without the scaling of q.
    attention_costs(name + ".attn", block.attn, config.ape != Ape::peg, list);
    list.push_back(norm_cost(name + ".norm2", block.norm2, n));
    list.push_back(linear_cost(name + ".mlp.fc1", block.mlp.fc1, n));
    list.push_back(gelu_cost(name + ".mlp.gelu", n * config.mlp_ratio * config.dim));
    list.push_back(linear_cost(name + ".mlp.fc2", block.mlp.fc2, n));
  }
  for (int64_t i = 0; i < pos_block.size(); ++i) {
    const int64_t products = patches * pos_block[i].proj.first.weight.tensor().numel();
    list.push_back({format("pos_block.{}", i), "generator", pos_block[i].parameter_count(),
                    products + patches * config.dim, products});
  }
  list.push_back(norm_cost("norm", norm, n));
  list.push_back(linear_cost("head", head, 1));
  if (head_dist) list.push_back(linear_cost("head_dist", *head_dist, 1));
  return list;
}

}  // namespace vitrine::models
