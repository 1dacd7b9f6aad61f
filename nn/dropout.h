#pragma once
#include "nn/module.h"
#include "ops/dropout/dropout.h"

namespace vitrine::nn {

/// Zeroes elements with probability p in training (ops::dropout); the identity otherwise.
struct Dropout final : Layer<Dropout> {
  double p;
  Dropout(Scope scope, double p_) : Layer(std::move(scope)), p(p_) {}
  Tensor forward(const Tensor& x) { return training() && p > 0 ? ops::dropout(x, p, rng().draw()) : x; }
};

/// Stochastic depth: zeroes whole samples of a residual branch with probability p in training (ops::drop_path).
struct DropPath final : Layer<DropPath> {
  double p;
  DropPath(Scope scope, double p_) : Layer(std::move(scope)), p(p_) {}
  Tensor forward(const Tensor& x) { return training() && p > 0 ? ops::drop_path(x, p, rng().draw()) : x; }
};

}  // namespace vitrine::nn
