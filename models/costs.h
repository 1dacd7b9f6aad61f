#pragma once
#include "models/classifier.h"
#include "nn/norm.h"
#include "nn/patch_embed.h"

/// Lines of Classifier::costs(), which the families share.
///
/// The counting rule of the iRPE paper (irpe 8.3): every multiply-add of a product; one operation per element for
/// scaling and GELU, two for softmax and norms; a layer's bias once, that of patches for each. Additions, gathers and
/// means count nothing.
namespace vitrine::models {

/// A linear layer on `rows` vectors.
LayerCost linear_cost(const std::string& name, const nn::Linear& layer, int64_t rows);
/// Layer norm of `rows` vectors.
LayerCost norm_cost(const std::string& name, const nn::LayerNorm& layer, int64_t rows);
/// The projection of `patches` patches.
LayerCost patch_embed_cost(const std::string& name, const nn::PatchEmbed::Projection& layer, int64_t patches);
/// GELU on `elements` elements.
LayerCost gelu_cost(const std::string& name, int64_t elements);
/// The products q.k and p.v, scaling and softmax, of `tokens` queries with `keys` keys each.
LayerCost attention_cost(const std::string& name, int64_t tokens, int64_t keys, int64_t dim, int64_t heads);
/// One look-up: a product of [tokens, dim] with the buckets' vectors, and tokens dim more (what the published
/// differences require). RPE on values is counted as the dense product of the reference; by buckets it costs as much as
/// the others. Bias is gathered and added: nothing.
LayerCost rpe_cost(const std::string& name, const nn::Rpe& rpe, bool on_values, int64_t tokens, int64_t keys,
                   int64_t dim);

}  // namespace vitrine::models
