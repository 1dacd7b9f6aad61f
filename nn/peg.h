#pragma once
#include "nn/init.h"
#include "nn/rpe.h"
#include "ops/binary/operators.h"
#include "ops/concat/concat.h"
#include "ops/depthwise_conv2d/depthwise_conv2d.h"

namespace vitrine::nn {

/// The positional encoding generator of CPVT (Chu et al., "Conditional Positional Encodings for Vision Transformers",
/// 2021): the grid's tokens as an image, plus its depthwise 3 x 3 convolution (ops::depthwise_conv2d), whose border of
/// zeros is what tells positions apart. Extra tokens pass by.
///
/// Parameters by the official names: `proj.0.weight` [C, 1, 3, 3] and `proj.0.bias` [C], uniform within 1 / 3,
/// PyTorch's default for this convolution.
struct PositionGenerator final : Layer<PositionGenerator> {
  struct Convolution final : Module {
    Parameter weight, bias;
    Convolution(Scope scope, int64_t dim)
        : Module(std::move(scope)),
          weight(param("weight", {dim, 1, 3, 3}, init::uniform_fan_in(9))),
          bias(param("bias", {dim}, init::uniform_fan_in(9))) {}
  };
  struct Sequence final : Module {
    Convolution first;
    Sequence(Scope scope, int64_t dim) : Module(std::move(scope)), first(sub("0"), dim) {}
  };
  TokenGrid grid;
  Sequence proj;

  PositionGenerator(Scope scope, int64_t dim, const TokenGrid& g)
      : Layer(std::move(scope)), grid(g), proj(sub("proj"), dim) {}

  /// @param x  [B, N, C], N = grid.tokens()
  Tensor forward(const Tensor& x) {
    const int64_t batch = x.size(0), cells = grid.height * grid.width, dim = x.size(2);
    const Tensor in = x.narrow(1, grid.skip, cells);
    const Tensor image = in.view({batch, grid.height, grid.width, dim}).permute({0, 3, 1, 2});
    const Tensor encoding =
        ops::depthwise_conv2d(image, proj.first.weight.as(x.dtype()), proj.first.bias.as(x.dtype()));
    const Tensor out = in + encoding.permute({0, 2, 3, 1}).view({batch, cells, dim});
    return ops::concat({x.narrow(1, 0, grid.skip), out}, 1);
  }
};

}  // namespace vitrine::nn
