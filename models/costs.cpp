#include "models/costs.h"

namespace vitrine::models {

LayerCost linear_cost(const std::string& name, const nn::Linear& layer, int64_t rows) {
  const int64_t out = layer.weight.tensor().size(0), product = rows * layer.weight.tensor().numel();
  return {name, "linear", layer.parameter_count(), product + out, product};
}

LayerCost norm_cost(const std::string& name, const nn::LayerNorm& layer, int64_t rows) {
  return {name, "layer_norm", layer.parameter_count(), 2 * rows * layer.weight.tensor().numel(), 0};
}

LayerCost patch_embed_cost(const std::string& name, const nn::PatchEmbed::Projection& layer, int64_t patches) {
  const int64_t product = patches * layer.weight.tensor().numel();
  return {name, "patch_embed", layer.parameter_count(), product + patches * layer.bias.tensor().numel(), product};
}

LayerCost gelu_cost(const std::string& name, int64_t elements) { return {name, "gelu", 0, elements, 0}; }

LayerCost attention_cost(const std::string& name, int64_t tokens, int64_t keys, int64_t dim, int64_t heads) {
  const int64_t products = 2 * tokens * keys * dim;
  return {name, "attention", 0, products + tokens * dim + 2 * heads * tokens * keys, products};
}

LayerCost rpe_cost(const std::string& name, const nn::Rpe& rpe, bool on_values, int64_t tokens, int64_t keys,
                   int64_t dim) {
  LayerCost cost{name, "rpe", rpe.parameter_count()};
  for (const Tensor& table : rpe.tables(Dtype::f32)) {
    if (table.dim() == 2) continue;  // bias
    const int64_t look_up = tokens * dim * table.size(on_values ? 1 : 2);
    cost.macs += (on_values ? tokens * keys * dim : look_up) + tokens * dim;
    cost.macs_matmul += look_up;
  }
  return cost;
}

}  // namespace vitrine::models
