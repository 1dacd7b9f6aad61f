#pragma once
#include "nn/dropout.h"
#include "nn/linear.h"
#include "ops/bias_gelu/bias_gelu.h"

namespace vitrine::nn {

/// A transformer's MLP: fc2(drop(gelu(fc1(x)))), then drop; gelu in erf form, fused with the bias of fc1.
struct Mlp final : Layer<Mlp> {
  Linear fc1, fc2;
  Dropout drop;

  Mlp(Scope scope, int64_t dim, int64_t hidden, double dropout = 0)
      : Layer(std::move(scope)), fc1(sub("fc1"), dim, hidden), fc2(sub("fc2"), hidden, dim), drop(sub(""), dropout) {}

  Tensor forward(const Tensor& x) {
    const Tensor h = ops::linear(x, fc1.weight.as(x.dtype()), {}, &fc1.packed);
    return drop(fc2(drop(ops::bias_gelu(h, fc1.bias.as(x.dtype())))));
  }
};

}  // namespace vitrine::nn
