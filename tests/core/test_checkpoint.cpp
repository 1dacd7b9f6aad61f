#include "core/allocator.h"
#include "core/checkpoint.h"
#include "ops/binary/operators.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

using Values = std::vector<double>;

Tensor vector(const Values& values) { return from_vector(values, {int64_t(values.size())}, {.dtype = Dtype::f64}); }
Tensor leaf(const Values& values) { return vector(values).set_requires_grad(); }

int64_t live_bytes() { return allocator(Device::cpu()).stats().live_bytes; }

}  // namespace

TEST_CASE("checkpoint recomputes with the same random numbers", "[unit]") {
  Generator rng{5, 0};
  Tensor x = leaf({1, 2, 3}), w = leaf({1, 1, 1});
  const auto noisy = [&](std::span<const Tensor> in) {
    return in[0] * in[0] * random_normal({3}, rng, 0, 1, in[0].options()) + w * w;
  };
  const Tensor plain = noisy(std::array{x});
  plain.backward({.gradient = vector({1, 2, 3})});
  const Values dx = x.grad().to_vector(), dw = w.grad().to_vector();
  x.set_grad({}), w.set_grad({});
  rng = {5, 0};
  const Tensor kept = checkpoint(noisy, std::array{x}, rng);
  CHECK(kept.to_vector() == plain.to_vector());
  CHECK(rng.offset == 1);
  random_normal({1}, rng);
  kept.backward({.gradient = vector({1, 2, 3})});
  CHECK(rng.offset == 2);  // recomputation does not disturb the stream
  CHECK(x.grad().to_vector() == dx);
  CHECK(w.grad().to_vector() == dw);
}

TEST_CASE("checkpoint without inputs differentiates what its function captures", "[unit]") {
  Tensor w = leaf({1, 2});
  checkpoint([&](std::span<const Tensor>) { return w * w; }, {}).backward({.gradient = vector({1, 1})});
  CHECK(w.grad().to_vector() == Values{2, 4});
}

TEST_CASE("checkpoint keeps its inputs and its result, nothing in between", "[unit]") {
  const Tensor x = full({1000}, 1.5).set_requires_grad();
  const auto chain = [](std::span<const Tensor> in) {
    Tensor y = in[0];
    for (int i = 0; i < 8; ++i) y = y * y;
    return y;
  };
  const int64_t before = live_bytes();
  const int64_t one = [&] {
    const Tensor same = empty_like(x);
    return live_bytes() - before;
  }();
  const auto kept_by = [&](auto run) {
    const Tensor y = run();
    return live_bytes() - before;
  };
  CHECK(kept_by([&] { return chain(std::array{x}); }) == 8 * one);
  CHECK(kept_by([&] { return checkpoint(chain, std::array{x}); }) <
        2 * one);  // the result, and a tensor without elements
  CHECK(live_bytes() == before);
}
