#pragma once
#include <cmath>
#include <string>

#include "core/autograd.h"
#include "core/error.h"
#include "core/random.h"
#include "data/checkpoint/safetensors.h"
#include "models/classifier.h"
#include "models/deit/deit.h"
#include "models/swin/swin.h"
#include "nn/optim/optimizer.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "tests/support/catch.h"

/// What tests of models share.
namespace vitrine::testing {

/// `name` under tests/fixtures.
inline data::Safetensors fixture(const std::string& name) {
  return data::read_safetensors(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/" + name);
}

/// The tensors whose names begin with `prefix`, without it.
inline nn::NamedTensors with_prefix(const data::Safetensors& file, const std::string& prefix) {
  nn::NamedTensors list;
  for (const auto& [name, t] : file.tensors)
    if (name.starts_with(prefix)) list.emplace_back(name.substr(prefix.size()), t);
  return list;
}

/// The model of fixture deit/: 3 x 3 patches of 4 pixels.
inline models::DeiTConfig small_deit(bool distilled) {
  return {.name = "small",
          .image_size = 12,
          .patch_size = 4,
          .num_classes = 5,
          .dim = 16,
          .depth = 2,
          .heads = 2,
          .distilled = distilled};
}

/// The model of fixture swin/: 12 x 12, 6 x 6 and 3 x 3 tokens.
inline models::SwinConfig small_swin(const std::string& rpe = "") {
  return {.name = "small",
          .image_size = 24,
          .patch_size = 2,
          .num_classes = 5,
          .dim = 8,
          .depths = {2, 2, 1},
          .heads = {1, 2, 4},
          .window = 3,
          .bias = rpe.empty(),
          .rpe = ops::parse_rpe(rpe)};
}

/// Relative L2 distance.
inline double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) difference += (x[i] - y[i]) * (x[i] - y[i]), norm += y[i] * y[i];
  return std::sqrt(difference / std::max(norm, 1e-30));
}

/// Compares the gradients of <c, call(x)>, c random, to x and each parameter of an f64 module with central differences,
/// along one random direction of each.
template <class Call>
void check_gradients(nn::Module& module, Call&& call, const Tensor& x) {
  constexpr double kStep = 1e-5, kTolerance = 1e-6;
  Generator rng{.seed = 0xD1FF};
  nn::NamedTensors leaves = module.parameters();
  leaves.emplace_back("x", x.detach().clone().set_requires_grad());
  const Tensor& input = leaves.back().second;
  const Tensor y = call(input), cotangent = random_normal(y.shape(), rng, 0, 1, y.options());
  y.backward({.gradient = cotangent});
  const auto dot = [](const Tensor& a, const Tensor& b) {
    const std::vector<double> u = a.to_vector(), v = b.to_vector();
    double sum = 0;
    for (size_t i = 0; i < u.size(); ++i) sum += u[i] * v[i];
    return sum;
  };
  const NoGrad no_grad;
  for (auto& [name, leaf] : leaves) {
    INFO(name);
    REQUIRE(leaf.grad().defined());
    const Tensor direction = random_normal(leaf.shape(), rng, 0, kStep, leaf.options());
    Tensor twice_back = direction.clone();
    twice_back.mul_(-2);
    leaf.add_(direction);
    const double up = dot(cotangent, call(input));
    leaf.add_(twice_back);
    const double down = dot(cotangent, call(input));
    leaf.add_(direction);
    const double scale = std::max(1e-3, std::sqrt(dot(leaf.grad(), leaf.grad())));
    CHECK(std::abs(dot(leaf.grad(), direction) / kStep - (up - down) / (2 * kStep)) < kTolerance * scale);
  }
}

/// Trains on eight random images of five classes by AdamW. Returns their loss in evaluation mode, in which it leaves
/// the model.
inline double overfit(models::Classifier& model, Generator& rng, int steps, double lr) {
  const Tensor images = random_normal({8, 3, model.image_size(), model.image_size()}, rng);
  const Tensor target = from_vector({0, 1, 2, 3, 4, 0, 1, 2}, {8}, {.dtype = Dtype::i64});
  auto optimizer = nn::make_adamw(nn::decay_groups(model.parameters(), 0.05));
  for (int step = 0; step < steps; ++step) {
    const Tensor loss = ops::cross_entropy(model.logits(images), target);
    model.zero_grad();
    loss.backward();
    optimizer->step(lr);
  }
  model.eval();
  const NoGrad no_grad;
  return ops::cross_entropy(model.logits(images), target).item();
}

/// The message of the error that `f` throws.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace vitrine::testing
