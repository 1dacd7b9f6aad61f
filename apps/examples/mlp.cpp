// A small network learns to tell two interleaved spirals apart: layers from ops, AdamW from ops, nothing hidden.
#include <cmath>
#include <cstdio>
#include <numbers>

#include "ops/all.h"

using namespace vitrine;

/// n points of two spirals, x [n, 2], and which spiral each is on, y [n].
std::pair<Tensor, Tensor> spirals(int64_t n, Generator& rng) {
  const std::vector<double> u = random_uniform({n}, rng).to_vector(),
                            noise = random_normal({2 * n}, rng, 0, 0.02).to_vector();
  std::vector<double> x, y;
  for (int64_t i = 0; i < n; ++i) {
    const double radius = std::sqrt(u[i]), spiral = double(i % 2);
    const double angle = radius * 3 * std::numbers::pi + spiral * std::numbers::pi;
    x.push_back(radius * std::cos(angle) + noise[2 * i]);
    x.push_back(radius * std::sin(angle) + noise[2 * i + 1]);
    y.push_back(spiral);
  }
  return {from_vector(x, {n, 2}), from_vector(y, {n}, {.dtype = Dtype::i64})};
}

/// The parameters are a list of tensors: weight [out, in] and bias [out] of each layer.
struct Mlp {
  std::vector<Tensor> params;

  Mlp(std::initializer_list<int64_t> widths, Generator& rng) {
    for (auto in = widths.begin(), out = in + 1; out != widths.end(); ++in, ++out) {
      params.push_back(random_normal({*out, *in}, rng, 0, std::sqrt(2.0 / double(*in))).set_requires_grad());
      params.push_back(zeros({*out}).set_requires_grad());
    }
  }
  Tensor operator()(Tensor x) const {
    for (size_t i = 0; i < params.size(); i += 2) {
      x = ops::linear(x, params[i], params[i + 1]);
      if (i + 2 < params.size()) x = ops::gelu(x);
    }
    return x;
  }
};

double accuracy(const Mlp& net, const Tensor& x, const Tensor& y) {
  const NoGrad no_grad;  // nothing is recorded
  const std::vector<double> logits = net(x).to_vector(), label = y.to_vector();
  int64_t right = 0;
  for (size_t i = 0; i < label.size(); ++i) right += (logits[2 * i + 1] > logits[2 * i]) == (label[i] == 1);
  return double(right) / double(label.size());
}

int main() {
  Generator rng{.seed = 1};
  const auto [x, y] = spirals(1000, rng);
  const auto [test_x, test_y] = spirals(1000, rng);
  Mlp net({2, 64, 64, 2}, rng);

  std::vector<Tensor> mean, square;  // AdamW's state
  for (const Tensor& p : net.params) mean.push_back(zeros_like(p)), square.push_back(zeros_like(p));
  const Tensor schedule = from_vector({0.01, 0.01}, {1, 2}, {.dtype = Dtype::f64});  // learning rate, weight decay
  Tensor step = scalar(0, {.dtype = Dtype::f64});

  for (int i = 0; i <= 300; ++i) {
    const Tensor loss = ops::cross_entropy(net(x), y);
    if (i % 50 == 0)
      std::printf("step %3d  loss %.4f  test accuracy %.3f\n", i, loss.item(), accuracy(net, test_x, test_y));
    loss.backward();
    const NoGrad no_grad;
    std::vector<Tensor> grads;
    for (Tensor& p : net.params) grads.push_back(p.grad()), p.set_grad({});
    ops::adamw_({.params = net.params, .grads = grads, .exp_avg = mean, .exp_avg_sq = square}, schedule, step);
  }
  const double final_accuracy = accuracy(net, test_x, test_y);
  std::printf("%.1f %% of unseen points are on the right spiral\n", 100 * final_accuracy);
  return final_accuracy > 0.95 ? 0 : 1;
}
