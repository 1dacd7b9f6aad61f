#include <cmath>

#include "ops/binary/binary.h"
#include "ops/dropout/dropout.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

RandomDraw draw_of(const Attributes& a) { return {uint64_t(a.integer("seed")), uint64_t(a.integer("offset"))}; }
Attributes attributes(double p, int64_t offset = 3) { return {{"p", p}, {"seed", 12345}, {"offset", offset}}; }

/// The mask of `shape`, scaled, one number at a time.
Tensor mask(const Shape& shape, const Attributes& a, const TensorOptions& options) {
  const double p = a.number("p");
  std::vector<double> values(size_t(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = draw_of(a).uniform(int64_t(i)) >= p ? 1 / (1 - p) : 0;
  return from_vector(values, shape, options);
}

template <class F>
std::vector<ErrorSample> errors(const std::string& name, F f, Maker& m) {
  const Tensor x = m.normal({3, 5}), ids = m.integers({3}, 0, 2);
  return {{[=] { f(x, -0.1); }, name + ": p -0.1 is not in [0, 1]"},
          {[=] { f(x, 1.5); }, name + ": p 1.5 is not in [0, 1]"},
          {[=] { f(x, NAN); }, name + ": p nan is not in [0, 1]"},
          {[=] { f(ids, 0.5); }, name + ": x must be floating, got [3] i64 cpu"},
          {[=] { f(Tensor(), 0.5); }, name + ": x is undefined"}};
}

const Register dropout(OpSpec{
    .name = "dropout",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::dropout(in[0], a.number("p"), draw_of(a));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::mul(in[0], mask(in[0].shape(), a, in[0].options()));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({3, 5})}, attributes(0.5), "half"),
              Sample({m.normal({2, 197})}, attributes(0.1), "a tenth"),
              Sample({m.normal({1031})}, attributes(0.3, 7), "longer than a block, with a rest"),
              Sample({m.normal({4, 6}).permute({1, 0})}, attributes(0.5), "permuted"),
              Sample({m.normal({6})}, attributes(0), "keeps everything"),
              Sample({m.normal({0, 4})}, attributes(0.5), "no elements")};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 197 * 384;
      return {Sample({m.normal({8, 197, 384}).to(Dtype::f32)}, attributes(0.1), "DeiT-S b8").bench(n, 8 * n)};
    },
    .errors =
        [](Maker& m) {
          return errors(
              "dropout", [](const Tensor& x, double p) { ops::dropout(x, p, {}); }, m);
        }});

const Register drop_path(OpSpec{
    .name = "drop_path",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::drop_path(in[0], a.number("p"), draw_of(a));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      Shape samples = Shape::filled(in[0].dim(), 1);
      samples[0] = in[0].size(0);
      return ops::mul(in[0], mask(samples, a, in[0].options()));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({6, 5})}, attributes(0.5), "half"),
              Sample({m.normal({9, 2, 197})}, attributes(0.2), "rows longer than a block"),
              Sample({m.normal({31})}, attributes(0.4), "one number each"),
              Sample({m.normal({4, 6}).permute({1, 0})}, attributes(0.5), "permuted"),
              Sample({m.normal({6})}, attributes(0), "keeps everything"),
              Sample({m.normal({0, 4})}, attributes(0.5), "no samples"),
              Sample({m.normal({4, 0})}, attributes(0.5), "empty samples")};
    },
    .errors =
        [](Maker& m) {
          auto list = errors(
              "drop_path", [](const Tensor& x, double p) { ops::drop_path(x, p, {}); }, m);
          const Tensor x = m.normal({});
          list.push_back({[=] { ops::drop_path(x, 0.5, {}); }, "drop_path: x must have a sample dim, got [] f64 cpu"});
          return list;
        }});

/// p = 1 and dropped NaNs, for which x * mask is no definition.
const Register dropout_limits(OpSpec{
    .name = "dropout_limits",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return {ops::dropout(in[0], a.number("p"), draw_of(a)), ops::drop_path(in[0], a.number("p"), draw_of(a))};
    },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs {
      return {ops::mul(in[0], 0), ops::mul(in[0], 0)};
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({2, 197})}, attributes(1), "drops everything"),
              Sample({m.normal({0})}, attributes(1), "no elements")};
    },
    .errors =
        [](Maker& m) {
          return errors(
              "dropout", [](const Tensor& x, double p) { ops::dropout(x, p, {}); }, m);
        },
    .composite = true});

}  // namespace
}  // namespace vitrine::testing
