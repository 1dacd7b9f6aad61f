#include <cmath>

#include "ops/binary/binary.h"
#include "ops/binary_cross_entropy/binary_cross_entropy.h"
#include "ops/reduce/reduce.h"
#include "ops/unary/unary.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

ops::LossReduction reduction(const Attributes& a) { return ops::parse_loss_reduction(a.text("reduction", "mean")); }

/// From the definition: the logarithms of both probabilities.
Outputs plain(const Inputs& in, const Attributes& a) {
  const Tensor &x = in[0], &t = in[1];
  const Tensor yes = ops::neg(ops::softplus(ops::neg(x))), no = ops::neg(ops::softplus(x));
  const Tensor losses = ops::neg(ops::add(ops::mul(t, yes), ops::mul(ops::sub(1, t), no)));
  if (reduction(a) == ops::LossReduction::none) return losses;
  return reduction(a) == ops::LossReduction::sum ? ops::sum(losses) : ops::mean(losses);
}

std::vector<Sample> samples(Maker& m) {
  const Attributes mean, sum{{"reduction", "sum"}}, none{{"reduction", "none"}};
  const auto vector = [](const std::vector<double>& values) {
    return from_vector(values, {int64_t(values.size())}, {.dtype = Dtype::f64});
  };
  return {Sample({m.normal({5, 7}), m.uniform({5, 7}, 0, 1)}, mean, "mean").reduces(35),
          Sample({m.normal({5, 7}), m.uniform({5, 7}, 0, 1)}, sum, "sum").reduces(35),
          Sample({m.normal({2, 3, 5}, 0, 3), m.uniform({2, 3, 5}, -1, 2)}, none, "each element"),
          Sample({m.normal({3, 197}, 0, 4), m.uniform({3, 197}, 0, 1)}, none, "packs and a rest"),
          Sample({m.normal({6, 4}).permute({1, 0}), m.uniform({4, 6}, 0, 1)}, none, "permuted"),
          Sample({m.normal({}), m.uniform({}, 0, 1)}, mean, "a scalar"),
          Sample({m.normal({0, 4}), m.normal({0, 4})}, sum, "no elements, sum"),
          Sample({m.normal({0, 4}), m.normal({0, 4})}, mean, "no elements, mean is NaN").values_only(),
          Sample({vector({-90, 90, -30, 30, 0, 1e-3}), vector({0, 1, 0, 1, 0.5, 1})}, none, "far out, and certain"),
          Sample({vector({-200, 200, NAN, INFINITY, -INFINITY}), vector({1, 0, 1, 0, 1})}, none, "special values")
              .values_only()};
}

const Register binary_cross_entropy(OpSpec{
    .name = "binary_cross_entropy",
    .arguments = {"logits", "target"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::binary_cross_entropy(in[0], in[1], reduction(a));
    },
    .reference = plain,
    .samples = samples,
    .benches = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({256, 1000}), m.uniform({256, 1000}, 0, 1)}, Attributes{}, "256 x 1000")
                  .bench(12. * 256000, 8. * 256000)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3}), ids = m.integers({2, 3}, 0, 2), flat = m.normal({6});
      const Tensor narrow = x.to(Dtype::f32), there = x.to(Device::emulated());
      return {{[=] { ops::binary_cross_entropy(ids, ids); },
               "binary_cross_entropy: logits must be floating, got [2, 3] i64 cpu"},
              {[=] { ops::binary_cross_entropy(x, {}); }, "binary_cross_entropy: target is undefined"},
              {[=] { ops::binary_cross_entropy(x, ids); },
               "binary_cross_entropy: logits [2, 3] f64 cpu and target [2, 3] i64 cpu have different dtypes"},
              {[=] { ops::binary_cross_entropy(x, narrow); },
               "binary_cross_entropy: logits [2, 3] f64 cpu and target [2, 3] f32 cpu have different dtypes"},
              {[=] { ops::binary_cross_entropy(x, there); },
               "binary_cross_entropy: logits [2, 3] f64 cpu and target [2, 3] f64 emulated have different devices"},
              {[=] { ops::binary_cross_entropy(x, flat); },
               "binary_cross_entropy: target [6] f64 cpu does not have the shape of logits [2, 3] f64 cpu"}};
    }});

}  // namespace
}  // namespace vitrine::testing
