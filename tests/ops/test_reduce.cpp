#include <cmath>

#include "core/autograd.h"
#include "ops/reduce/reduce.h"
#include "tests/support/catch.h"

/// Gradients at points without derivative, which central differences cannot show. Values are in the samples.
namespace vitrine {
namespace {

using Values = std::vector<double>;
using Reduce = Tensor (*)(const Tensor& x, const ops::Dims& dims, bool keepdim);

/// The gradient of x through f along the last of two dims, with 2 flowing into the first row and 3 into the second.
Values gradient(Reduce f, const Values& x, Device device) {
  Tensor leaf = from_vector(x, {2, int64_t(x.size()) / 2}, {.dtype = Dtype::f64, .device = device});
  leaf.set_requires_grad();
  f(leaf, -1, false).backward({.gradient = from_vector({2, 3}, {2}, leaf.options())});
  return leaf.grad().to_vector();
}

TEST_CASE("reductions: gradients at ties, NaN, zero and -inf", "[unit][emulated]") {
  const double inf = INFINITY;
  for (const Device device : {Device::cpu(), Device::emulated()}) {
    INFO(to_string(device));
    // The first of equal elements, whatever the others are.
    const Values ties{1, 4, 4, -2, 7, 7, 7, 9}, low{4, 1, 1, 3, 7, 7, 7, 5};
    CHECK(gradient(ops::max, ties, device) == Values{0, 2, 0, 0, 0, 0, 0, 3});
    CHECK(gradient(ops::min, ties, device) == Values{0, 0, 0, 2, 3, 0, 0, 0});
    CHECK(gradient(ops::max, low, device) == Values{2, 0, 0, 0, 3, 0, 0, 0});
    CHECK(gradient(ops::min, low, device) == Values{0, 2, 0, 0, 0, 0, 0, 3});
    const Values nans{9, NAN, -9, NAN, -inf, inf, inf, NAN};
    CHECK(gradient(ops::max, nans, device) == Values{0, 2, 0, 0, 0, 0, 0, 3});
    CHECK(gradient(ops::min, nans, device) == Values{0, 2, 0, 0, 0, 0, 0, 3});
    CHECK(gradient(ops::norm, {0, 0, 3, 4}, device) == Values{0, 0, 3 * (3. / 5), 3 * (4. / 5)});
    const Values lse = gradient(ops::logsumexp, {-inf, -inf, -inf, 1}, device);
    CHECK(lse == Values{0, 0, 0, 3});
  }
}

}  // namespace
}  // namespace vitrine
