#pragma once
#include "nn/module.h"

/// Initial values of parameters, as the reference programs draw them (in distribution; the bits are Philox's).
namespace vitrine::nn::init {

/// Every element `value`.
Init constant(double value);
inline Init zeros() { return constant(0); }  ///< every element 0
inline Init ones() { return constant(1); }   ///< every element 1
/// N(0, std^2).
Init normal(double std);
/// N(0, std^2) clamped to [-2, 2]: timm's trunc_normal_, whose bounds are absolute and so cut nothing at std = 0.02.
Init truncated_normal(double std = 0.02);
/// Uniform in [-b, b), b = 1 / sqrt(fan_in): PyTorch's default for the weight and bias of convolutions.
Init uniform_fan_in(int64_t fan_in);
/// Uniform in [-b, b), b = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010), as PyTorch counts fans: of a shape
/// [n, m, *] with r = the product of *, fan_in = m r and fan_out = n r.
/// @throws ShapeError, when it draws, for a shape of less than two dims
Init xavier_uniform();

}  // namespace vitrine::nn::init
