#include <cmath>

#include "ops/binary/binary.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/reduce/reduce.h"
#include "ops/unary/unary.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

constexpr double kEps = 1e-6;

std::vector<Sample> samples(Maker& m) {
  const Attributes eps{{"eps", kEps}};
  return {Sample({m.normal({3, 5}), m.normal({5}), m.normal({5})}, eps, "five columns").reduces(5),
          Sample({m.normal({2, 3, 197}, 1, 2), m.normal({197}), m.normal({197})}, eps, "odd row").reduces(197),
          Sample({m.normal({9, 64}), m.normal({64}), m.normal({64})}, eps, "a warp per row").reduces(64),
          Sample({m.normal({70, 8}), m.normal({8}), m.normal({8})}, eps, "three groups of rows").reduces(70),
          Sample({m.normal({2, 384}), m.normal({384}), m.normal({384})}, eps, "DeiT-S row").reduces(384),
          Sample({m.normal({2, 1000}), m.normal({1000}), m.normal({1000})}, eps, "long row in registers").reduces(1000),
          Sample({m.normal({2, 1032}), m.normal({1032}), m.normal({1032})}, eps, "row longer than a warp holds")
              .reduces(1032),
          Sample({m.normal({4, 6}), m.normal({6})}, eps, "no bias").reduces(6),
          Sample({m.normal({4, 6}), {}, m.normal({6})}, eps, "no weight").reduces(6),
          Sample({m.normal({7, 12})}, {{"eps", 0.1}}, "neither, large eps").reduces(12),
          Sample({m.normal({6}), m.normal({6}), m.normal({6})}, eps, "one dim").reduces(6),
          Sample({m.normal({0, 5}), m.normal({5}), m.normal({5})}, eps, "no rows"),
          Sample({m.normal({4, 0}), m.normal({0}), m.normal({0})}, eps, "empty rows"),
          Sample({full({2, 4}, NAN, {.dtype = Dtype::f64}), m.normal({4})}, eps, "NaN rows").values_only()};
}
std::vector<Sample> benches(Maker& m) {
  const double n = 8. * 197 * 384;
  return {Sample({m.normal({8, 197, 384}), m.normal({384}), m.normal({384})}, {{"eps", kEps}}, "DeiT-S b8")
              .bench(8 * n, 8 * n)};
}

Tensor plain(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const Tensor centred = ops::sub(x, ops::mean(x, -1, true));
  const Tensor variance = ops::mean(ops::square(centred), -1, true);
  Tensor y = ops::div(centred, ops::sqrt(ops::add(variance, eps)));
  if (weight.defined()) y = ops::mul(y, weight);
  return bias.defined() ? ops::add(y, bias) : y;
}
Sample with_residual(Maker& m, Sample s) {
  s.inputs.insert(s.inputs.begin() + 1, m.normal(s.inputs[0].shape()));
  return s;
}

const Register layer_norm_spec(OpSpec{
    .name = "layer_norm",
    .arguments = {"x", "weight", "bias"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::layer_norm(in[0], in[1], in[2], a.number("eps"));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return plain(in[0], in[1], in[2], a.number("eps"));
    },
    .samples = samples,
    .benches = benches,
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), ids = m.integers({3}, 0, 2), w = m.normal({5}), w4 = m.normal({4});
      const Tensor scalar = m.normal({}), w32 = w.to(Dtype::f32), there = w.to(Device::emulated());
      return {{[ids] { ops::layer_norm(ids); }, "layer_norm: x must be floating, got [3] i64 cpu"},
              {[scalar] { ops::layer_norm(scalar); }, "layer_norm: x needs at least one dim, got [] f64 cpu"},
              {[x, w4] { ops::layer_norm(x, w4); },
               "layer_norm: weight [4] f64 cpu does not match the last dim of x [3, 5] f64 cpu"},
              {[x, w, w4] { ops::layer_norm(x, w, w4); },
               "layer_norm: bias [4] f64 cpu does not match the last dim of x [3, 5] f64 cpu"},
              {[x, w32] { ops::layer_norm(x, w32); },
               "layer_norm: x [3, 5] f64 cpu and weight [5] f32 cpu have different dtypes"},
              {[x, there] { ops::layer_norm(x, there); },
               "layer_norm: x [3, 5] f64 cpu and weight [5] f64 emulated have different devices"},
              {[x] { ops::layer_norm(x, {}, {}, 0); }, "layer_norm: eps must be positive, got 0"},
              {[] { ops::layer_norm({}); }, "layer_norm: x is undefined"}};
    }});

const Register add_layer_norm_spec(OpSpec{
    .name = "add_layer_norm",
    .arguments = {"x", "residual", "weight", "bias"},
    .results = {"sum", "normalised"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::add_layer_norm(in[0], in[1], in[2], in[3], a.number("eps"));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      const Tensor sum = ops::add(in[0], in[1]);
      return {sum, plain(sum, in[2], in[3], a.number("eps"))};
    },
    .samples =
        [](Maker& m) {
          std::vector<Sample> list = samples(m);
          for (Sample& s : list) s = with_residual(m, s);
          return list;
        },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 197 * 384;
      return {with_residual(m, benches(m)[0]).bench(9 * n, 16 * n)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), y = m.normal({5}), ids = m.integers({3}, 0, 2), x32 = x.to(Dtype::f32);
      return {{[ids] { ops::add_layer_norm(ids, ids); }, "add_layer_norm: x must be floating, got [3] i64 cpu"},
              {[x] { ops::add_layer_norm(x, {}); }, "add_layer_norm: residual is undefined"},
              {[x, y] { ops::add_layer_norm(x, y); },
               "add_layer_norm: x [3, 5] f64 cpu and residual [5] f64 cpu have different shapes"},
              {[x, x32] { ops::add_layer_norm(x, x32); },
               "add_layer_norm: x [3, 5] f64 cpu and residual [3, 5] f32 cpu have different dtypes"},
              {[x] { ops::add_layer_norm(x, x.to(Device::emulated())); },
               "add_layer_norm: x [3, 5] f64 cpu and residual [3, 5] f64 emulated have different devices"}};
    }});

}  // namespace
}  // namespace vitrine::testing
