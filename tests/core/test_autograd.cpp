#include "core/allocator.h"
#include "core/autograd.h"
#include "ops/concat/concat.h"
#include "ops/softmax/softmax.h"
#include "tests/support/catch.h"

using namespace vitrine;
using vitrine::testing::Contains;

namespace {

/// y = x * x: saves its input.
struct Square {
  static constexpr const char* name = "square_for_test";
  Tensor forward(Saver& save, const Tensor& x) const {
    save(x);
    Tensor y = x.clone();
    double* p = y.mutable_data<double>();
    for (int64_t i = 0; i < y.numel(); ++i) p[i] *= p[i];
    return y;
  }
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Tensor dx = dy.clone();
    double* p = dx.mutable_data<double>();
    const Tensor x = saved[0].contiguous();
    for (int64_t i = 0; i < dx.numel(); ++i) p[i] *= 2 * x.data<double>()[i];
    return {dx};
  }
};
Tensor square(const Tensor& x) { return apply(Square{}, x); }

/// Two outputs, x and 2x.
struct Fork {
  static constexpr const char* name = "fork";
  std::array<Tensor, 2> forward(Saver&, const Tensor& x) const {
    Tensor twice = x.clone();
    twice.mul_(2);
    return {x.clone(), twice};
  }
  Gradients vjp(const Saved&, const Tensor& a, const Tensor& b) const {
    Tensor dx = b.clone();
    dx.mul_(2).add_(a);
    return {dx};
  }
};

/// a + b, any number of inputs.
struct Total {
  static constexpr const char* name = "total";
  Tensor forward(Saver&, std::span<const Tensor> inputs) const {
    Tensor y = inputs[0].clone();
    for (const Tensor& x : inputs.subspan(1)) y.add_(x);
    return y;
  }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {dy, dy, dy}; }
};
Tensor total(std::vector<Tensor> inputs) { return apply(Total{}, std::span<const Tensor>(inputs)); }

/// A vjp that returns one dim too many.
struct Wrong {
  static constexpr const char* name = "wrong";
  Tensor forward(Saver&, const Tensor& x) const { return x.clone(); }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {dy.unsqueeze(0)}; }
};

Tensor leaf(std::vector<double> values) {
  const auto n = int64_t(values.size());
  return from_vector(values, {n}, {.dtype = Dtype::f64}).set_requires_grad();
}
Tensor vector(std::vector<double> values) {
  const auto n = int64_t(values.size());
  return from_vector(values, {n}, {.dtype = Dtype::f64});
}
using Values = std::vector<double>;

}  // namespace

TEST_CASE("gradients flow through a diamond and accumulate in leaves", "[unit]") {
  Tensor x = leaf({1, 2, 3});
  const Tensor y = square(x);
  total({y, y, x}).backward({.gradient = vector({1, 10, 100})});  // d(2x^2 + x) = 4x + 1
  CHECK(x.grad().to_vector() == Values{5, 90, 1300});
  square(x).backward({.gradient = vector({1, 1, 1})});
  CHECK(x.grad().to_vector() == Values{7, 94, 1306});
}

TEST_CASE("an adopted gradient is not shared with anyone", "[unit]") {
  Tensor a = leaf({1}), b = leaf({2}), c = leaf({3});
  const Tensor seed = vector({5});
  total({a, b, c}).backward({.gradient = seed});
  a.grad().mul_(0);
  CHECK(b.grad().to_vector() == Values{5});
  CHECK(seed.to_vector() == Values{5});
}

TEST_CASE("an op with several outputs fills in the gradients that did not come", "[unit]") {
  Tensor x = leaf({1, 2});
  const auto [a, b] = apply(Fork{}, x);
  b.backward({.gradient = vector({1, 3})});
  CHECK(x.grad().to_vector() == Values{2, 6});
}

TEST_CASE("backward runs newest first", "[unit]") {
  Tensor x = leaf({1});
  std::vector<int> order;
  const Tensor a = square(x), b = square(x), c = total({a, b, a});
  a.register_hook([&](const Tensor&) { return order.push_back(1), Tensor(); });
  b.register_hook([&](const Tensor&) { return order.push_back(2), Tensor(); });
  c.register_hook([&](const Tensor&) { return order.push_back(3), Tensor(); });
  c.backward();
  CHECK(order == std::vector<int>{3, 2, 1});
}

TEST_CASE("hooks see and replace gradients", "[unit]") {
  Tensor x = leaf({3});
  const Tensor y = square(x);
  y.register_hook([](const Tensor& g) { return g.clone().mul_(10); });
  x.register_hook([](const Tensor& g) { return g.clone().mul_(-1); });
  y.backward();
  CHECK(x.grad().to_vector() == Values{-60});
}

TEST_CASE("a second backward needs retain_graph", "[unit]") {
  Tensor x = leaf({3});
  const Tensor y = square(x);
  y.backward({.retain_graph = true});
  y.backward();
  CHECK(x.grad().item() == 12);
  CHECK_THROWS_WITH(
      y.backward(),
      "square_for_test: its saved tensors were dropped by an earlier backward; pass retain_graph = true to that one");
}

TEST_CASE("a failed backward leaves nothing behind", "[unit]") {
  Tensor x = leaf({3});
  const Tensor y = square(x), z = total({square(y), y, y});
  bool armed = true;
  y.register_hook([&](const Tensor&) -> Tensor {
    if (armed) throw ValueError("stop");
    return {};
  });
  CHECK_THROWS_AS(z.backward({.retain_graph = true}), ValueError);
  armed = false;
  z.backward();
  CHECK(x.grad().item() == 4 * 27 + 4 * 3);  // z = x^4 + 2 x^2
}

TEST_CASE("saved tensors notice writes", "[unit]") {
  Tensor x = leaf({1, 2});
  const Tensor y = square(x);
  {
    const NoGrad no_grad;
    x.fill_(5);
  }
  CHECK_THROWS_WITH(
      y.backward({.gradient = vector({1, 1})}),
      "square_for_test: saved tensor [2] f64 cpu was changed in place by fill_: version 2, saved at version 1");
}

TEST_CASE("recording is off where it should be", "[unit]") {
  Tensor x = leaf({1});
  {
    const NoGrad no_grad;
    CHECK_FALSE(square(x).requires_grad());
    const EnableGrad again;
    CHECK(square(x).requires_grad());
  }
  CHECK(recording());
  CHECK_FALSE(square(x).detach().requires_grad());
  CHECK_FALSE(square(vector({1})).requires_grad());
  CHECK_THROWS_WITH(x.fill_(0), "fill_: [1] f64 cpu needs a gradient; change it under NoGrad or work on a copy");
  CHECK_THROWS_AS(arange(3).set_requires_grad(), AutogradError);
  CHECK_THROWS_WITH(square(x).set_requires_grad(), Contains("is the output of square_for_test"));
  CHECK_THROWS_WITH(square(leaf({1, 2})).backward(), "backward: [2] f64 cpu has 2 elements; pass its gradient");
  CHECK_THROWS_WITH(square(x).backward({.gradient = vector({1, 2})}), "backward: gradient [2] f64 cpu for [1] f64 cpu");
  CHECK_THROWS_AS(vector({1}).backward(), AutogradError);
}

TEST_CASE("anomaly mode names the first op that makes a NaN", "[unit]") {
  const AnomalyGuard guard;
  const trace::PathScope path("blocks.3.attn");
  Tensor x = leaf({1e200, 1});
  CHECK_THROWS_WITH(square(x), "blocks.3.attn: square_for_test: forward produced inf in [2] f64 cpu");
  Tensor y = leaf({1e150, 1});
  CHECK_THROWS_WITH(square(y).backward({.gradient = vector({1e200, 1})}),
                    "blocks.3.attn: square_for_test: backward produced inf in [2] f64 cpu");
  // concat looks at memory that it has yet to fill, which is NaN in tests.
  CHECK(ops::concat({leaf({1}), leaf({2})}, 0).to_vector() == std::vector<double>{1, 2});
}

TEST_CASE("a long chain is built, run backward and freed without recursion", "[unit]") {
  Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 300000; ++i) y = y.unsqueeze(0).squeeze(0);
  y.backward();
  CHECK(x.grad().item() == 1);
  Tensor kept = square(x);
  for (int i = 0; i < 100000; ++i)
    kept = square(kept);  // saves each input: no chain of owners through saved tensors either
  kept = Tensor();
}

TEST_CASE("a graph is freed with its last output", "[unit]") {
  Tensor x = leaf({1, 2});
  const int64_t before = allocator(Device::cpu()).stats().live_blocks;
  { const Tensor y = ops::softmax(square(x), 0); }  // softmax saves its own output
  CHECK(allocator(Device::cpu()).stats().live_blocks == before);
}

TEST_CASE("a vjp with the wrong shape is caught", "[unit]") {
  Tensor x = leaf({1});
  CHECK_THROWS_WITH(apply(Wrong{}, x).backward(),
                    "wrong: the gradient of input 0 is [1, 1] f64 cpu, the input is [1] f64 cpu");
}
