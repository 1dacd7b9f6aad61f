#include "nn/attention.h"

#include "ops/concat/concat.h"

namespace vitrine::nn {

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const ops::RpeAttentionOptions& options) {
  if (!trace::watched("probabilities") && !trace::watched("content") && !trace::watched("rpe"))
    return ops::rpe_attention(q, k, v, options);
  const ops::RpeAttentionTerms terms = ops::rpe_attention_unfused(q, k, v, options);
  trace::watch("probabilities", terms.probabilities);
  trace::watch("content", terms.content);
  if (terms.rpe.defined()) trace::watch("rpe", terms.rpe);
  return terms.out;
}

Attention::Attention(Scope scope, const AttentionConfig& c)
    : Layer(std::move(scope)),
      config(c),
      qkv(sub("qkv"), c.dim, 3 * c.dim),
      proj(sub("proj"), c.dim, c.dim),
      proj_drop_(sub(""), c.projection_dropout) {
  check<ValueError>(c.heads > 0 && c.dim % c.heads == 0, "attention: {} heads do not divide dim {}", c.heads, c.dim);
  if (c.rival != Rival::none) {
    check<ValueError>(!c.rpe, "attention: {} takes the place of rpe, but there are both", to_string(c.rival));
    rival = make_rival(sub("rpe"), c.rival, c.dim, c.heads, c.grid);
    config.rpe = rival->config;
  }
  if (!c.rpe) return;
  const int64_t d = c.dim / c.heads;
  if (c.rpe->on_q) rpe_q.emplace(sub("rpe_q"), *c.rpe, 'q', c.heads, d, c.grid.skip);
  if (c.rpe->on_k) rpe_k.emplace(sub("rpe_k"), *c.rpe, 'k', c.heads, d, c.grid.skip);
  if (c.rpe->on_v) rpe_v.emplace(sub("rpe_v"), *c.rpe, 'v', c.heads, d, c.grid.skip);
}

Tensor Attention::attend(const Tensor& q, const Tensor& k, const Tensor& v) {
  const auto tables = [&](const std::optional<Rpe>& rpe) {
    return rpe ? rpe->tables(q.dtype()) : std::vector<Tensor>();
  };
  return nn::attend(
      rival ? rival->query(q) : q, k, v,
      {.rpe = config.rpe.value_or(ops::RpeConfig{.on_k = false}),
       .height = config.grid.height,
       .width = config.grid.width,
       .skip = config.grid.skip,
       .tables = rival ? rival->tables(q.dtype()) : ops::RpeTables{tables(rpe_q), tables(rpe_k), tables(rpe_v)}});
}

Tensor Attention::forward(const Tensor& x) {
  const int64_t batch = x.size(0), tokens = x.size(1), dim = config.dim, d = dim / config.heads;
  check(tokens == config.grid.tokens(), "attention: x {} has {} tokens, but the grid is {} + {} x {}", x, tokens,
        config.grid.skip, config.grid.height, config.grid.width);
  const std::vector<Tensor> parts = ops::split(qkv(x), {dim, dim, dim}, 2);
  const auto heads = [&](const Tensor& part) {
    return part.view({batch, tokens, config.heads, d}).permute({0, 2, 1, 3});
  };
  const Tensor out = attend(heads(parts[0]), heads(parts[1]), heads(parts[2]));
  return proj_drop_(proj(out.permute({0, 2, 1, 3}).reshape({batch, tokens, dim})));
}

}  // namespace vitrine::nn
