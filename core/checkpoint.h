#pragma once
#include <functional>
#include <span>

#include "core/random.h"
#include "core/tensor.h"

namespace vitrine {

/// y = f(inputs), keeping only the inputs and the generator's offset; backward runs `f` again, with the same random
/// numbers, and differentiates that run. Tensors that `f` captures (parameters) receive their gradients too. Chen et
/// al., "Training Deep Nets with Sublinear Memory Cost", 2016.
/// @param rng  the generator that `f` draws from
Tensor checkpoint(std::function<Tensor(std::span<const Tensor>)> f, std::span<const Tensor> inputs,
                  Generator& rng = default_generator());

}  // namespace vitrine
