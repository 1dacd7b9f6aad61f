#pragma once
#include "nn/init.h"
#include "ops/linear/linear.h"

namespace vitrine::nn {

/// y = x weight^T + bias (ops::linear), in the dtype of x.
///
/// Parameters: `weight` [out, in], truncated normal of std 0.02; `bias` [out], zeros. As the reference DeiT draws them;
/// others may be given.
struct Linear final : Layer<Linear> {
  Parameter weight, bias;
  ops::PackedFactor packed;  ///< of the weight, while nothing is recorded

  Linear(Scope scope, int64_t in, int64_t out, const Init& init = init::truncated_normal(),
         const Init& bias_init = init::zeros())
      : Layer(std::move(scope)), weight(param("weight", {out, in}, init)), bias(param("bias", {out}, bias_init)) {}

  Tensor forward(const Tensor& x) { return ops::linear(x, weight.as(x.dtype()), bias.as(x.dtype()), &packed); }
};

}  // namespace vitrine::nn
