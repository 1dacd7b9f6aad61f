#include "models/deit/deit.h"

namespace vitrine::models {
namespace {

int64_t parameters_of(const nn::Module& module) { return module.parameter_count(); }

/// The counting rule of the iRPE paper (irpe 8.3): every multiply-add of a product; one operation per element for
/// scaling and GELU, two for softmax and norms; a layer's bias once.
LayerCost linear_cost(const std::string& name, const nn::Linear& layer, int64_t rows) {
  const int64_t out = layer.weight.tensor().size(0), product = rows * layer.weight.tensor().numel();
  return {name, "linear", parameters_of(layer), product + out, product};
}
LayerCost norm_cost(const std::string& name, const nn::LayerNorm& layer, int64_t rows) {
  return {name, "layer_norm", parameters_of(layer), 2 * rows * layer.weight.tensor().numel(), 0};
}

/// One look-up: a product of [N, C] with the buckets' vectors, and N C more (what the published differences require).
/// RPE on values is counted as the dense [N, N] product of the reference; by buckets it costs as much as the others.
LayerCost rpe_cost(const std::string& name, const nn::Rpe& rpe, bool on_values, int64_t tokens, int64_t dim) {
  LayerCost cost{name, "rpe", parameters_of(rpe)};
  for (const Tensor& table : rpe.tables(Dtype::f32)) {
    if (table.dim() == 2) continue;  // bias: gathers and additions are not counted
    const int64_t look_up = tokens * dim * table.size(on_values ? 1 : 2);
    cost.macs += (on_values ? tokens * tokens * dim : look_up) + tokens * dim;
    cost.macs_matmul += look_up;
  }
  return cost;
}

/// The same for a rival: a look-up for each of q and k, the dense product on v. SASA's two tables have half of the
/// channels each. Transformer-XL also projects its sinusoids, and u - v meets each key; as the published number could
/// not be derived, nothing says how its authors counted.
LayerCost rival_cost(const std::string& name, const nn::Attention& attn) {
  const int64_t n = attn.config.grid.tokens(), dim = attn.config.dim, term = n * dim;
  const int64_t buckets = ops::rpe_buckets(*attn.config.rpe, attn.config.grid.skip), look_up = term * buckets;
  LayerCost cost{name, "rpe", parameters_of(*attn.rival)};
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
  const int64_t products = 2 * n * n * dim;
  list.push_back({name, "attention", 0, products + scales * n * dim + 2 * heads * n * n, products});
  if (attn.rival) list.push_back(rival_cost(name + ".rpe", attn));
  if (attn.rpe_q) list.push_back(rpe_cost(name + ".rpe_q", *attn.rpe_q, false, n, dim));
  if (attn.rpe_k) list.push_back(rpe_cost(name + ".rpe_k", *attn.rpe_k, false, n, dim));
  if (attn.rpe_v) list.push_back(rpe_cost(name + ".rpe_v", *attn.rpe_v, true, n, dim));
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
  const int64_t embedding = patches * patch_embed.proj.weight.tensor().numel();
  list.push_back(
      {"patch_embed.proj", "patch_embed", parameters_of(patch_embed), embedding + patches * config.dim, embedding});
  for (int64_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    const std::string name = format("blocks.{}", i);
    list.push_back(norm_cost(name + ".norm1", block.norm1, n));
    // The published numbers of CPVT come without the scaling of q.
    attention_costs(name + ".attn", block.attn, config.ape != Ape::peg, list);
    list.push_back(norm_cost(name + ".norm2", block.norm2, n));
    list.push_back(linear_cost(name + ".mlp.fc1", block.mlp.fc1, n));
    list.push_back({name + ".mlp.gelu", "gelu", 0, n * config.mlp_ratio * config.dim, 0});
    list.push_back(linear_cost(name + ".mlp.fc2", block.mlp.fc2, n));
  }
  for (int64_t i = 0; i < pos_block.size(); ++i) {
    const int64_t products = patches * pos_block[i].proj.first.weight.tensor().numel();
    list.push_back({format("pos_block.{}", i), "generator", parameters_of(pos_block[i]),
                    products + patches * config.dim, products});
  }
  list.push_back(norm_cost("norm", norm, n));
  list.push_back(linear_cost("head", head, 1));
  if (head_dist) list.push_back(linear_cost("head_dist", *head_dist, 1));
  return list;
}

}  // namespace vitrine::models
