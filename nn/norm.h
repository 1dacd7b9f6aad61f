#pragma once
#include "nn/init.h"
#include "ops/layer_norm/layer_norm.h"

namespace vitrine::nn {

/// Layer normalisation over the last dim (ops::layer_norm). Parameters: `weight` [C] ones, `bias` [C] zeros.
struct LayerNorm final : Layer<LayerNorm> {
  Parameter weight, bias;
  double eps;

  LayerNorm(Scope scope, int64_t dim, double eps_ = 1e-6)
      : Layer(std::move(scope)),
        weight(param("weight", {dim}, init::ones())),
        bias(param("bias", {dim}, init::zeros())),
        eps(eps_) {}

  Tensor forward(const Tensor& x) { return ops::layer_norm(x, weight.as(x.dtype()), bias.as(x.dtype()), eps); }
  /// {x + residual, the norm of that sum}, in one pass.
  std::array<Tensor, 2> forward(const Tensor& x, const Tensor& residual) {
    return ops::add_layer_norm(x, residual, weight.as(x.dtype()), bias.as(x.dtype()), eps);
  }
};

}  // namespace vitrine::nn
