#include "nn/init.h"

#include <cmath>

#include "ops/unary/unary.h"

namespace vitrine::nn::init {

Init constant(double value) {
  return [value](const Shape& shape, Generator&) { return full(shape, value); };
}

Init normal(double std) {
  return [std](const Shape& shape, Generator& rng) { return random_normal(shape, rng, 0, std); };
}

Init truncated_normal(double std) {
  return [std](const Shape& shape, Generator& rng) { return ops::clamp(random_normal(shape, rng, 0, std), -2, 2); };
}

Init uniform_fan_in(int64_t fan_in) {
  const double bound = 1 / std::sqrt(double(fan_in));
  return [bound](const Shape& shape, Generator& rng) { return random_uniform(shape, rng, -bound, bound); };
}

Init xavier_uniform() {
  return [](const Shape& shape, Generator& rng) {
    check(shape.size() >= 2, "xavier_uniform: {} has no fans; two dims are the least", to_string(shape));
    const int64_t fans = shape.numel() / shape[0] + shape.numel() / shape[1];
    const double bound = std::sqrt(6 / double(fans));
    return random_uniform(shape, rng, -bound, bound);
  };
}

}  // namespace vitrine::nn::init
