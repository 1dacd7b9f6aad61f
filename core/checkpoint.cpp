#include "core/checkpoint.h"

#include "core/autograd.h"

namespace vitrine {
namespace {

struct Checkpoint {
  static constexpr const char* name = "checkpoint";
  std::function<Tensor(std::span<const Tensor>)> f;
  Generator* rng;
  Generator at_start;

  Tensor forward(Saver& save, std::span<const Tensor> inputs) const {
    const auto real = inputs.first(inputs.size() - 1);
    for (const Tensor& x : real) save(x);
    return f(real);
  }
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < saved.size(); ++i) {
      inputs.push_back(saved[i].defined() ? saved[i].detach() : Tensor());
      if (saved[i].defined() && saved.needs(i)) inputs.back().set_requires_grad();
    }
    const Generator now = std::exchange(*rng, at_start);
    {
      const EnableGrad on;
      const Tensor y = f(inputs);
      if (y.requires_grad()) y.backward({.gradient = dy});
    }
    *rng = now;
    Gradients gradients;
    for (const Tensor& x : inputs) gradients.push_back(x.grad());
    gradients.emplace_back();
    return gradients;
  }
};

}  // namespace

Tensor checkpoint(std::function<Tensor(std::span<const Tensor>)> f, std::span<const Tensor> inputs, Generator& rng) {
  // The last input only makes sure that the call is recorded: the tensors that need gradients may all be captured by f.
  std::vector<Tensor> list(inputs.begin(), inputs.end());
  list.push_back(empty({0}).set_requires_grad());
  return apply(Checkpoint{std::move(f), &rng, rng}, std::span<const Tensor>(list));
}

}  // namespace vitrine
