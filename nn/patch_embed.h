#pragma once
#include "nn/init.h"
#include "ops/patch_embed/patch_embed.h"

namespace vitrine::nn {

/// Images [B, C, H, W] to tokens [B, (H/P)(W/P), D]: a convolution whose stride is its kernel (ops::patch_embed).
///
/// Parameters: `proj.weight` [D, C, P, P] and `proj.bias` [D], uniform within 1 / sqrt(C P P), PyTorch's default for a
/// convolution, which the reference keeps.
struct PatchEmbed final : Layer<PatchEmbed> {
  struct Projection final : Module {
    Parameter weight, bias;
    Projection(Scope scope, int64_t channels, int64_t dim, int64_t patch)
        : Module(std::move(scope)),
          weight(param("weight", {dim, channels, patch, patch}, init::uniform_fan_in(channels * patch * patch))),
          bias(param("bias", {dim}, init::uniform_fan_in(channels * patch * patch))) {}
  };
  Projection proj;

  PatchEmbed(Scope scope, int64_t channels, int64_t dim, int64_t patch)
      : Layer(std::move(scope)), proj(sub("proj"), channels, dim, patch) {}

  Tensor forward(const Tensor& x) { return ops::patch_embed(x, proj.weight.as(x.dtype()), proj.bias.as(x.dtype())); }
};

}  // namespace vitrine::nn
