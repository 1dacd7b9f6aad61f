#include <cmath>

#include "ops/binary/binary.h"
#include "ops/binary/operators.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

using Function = Tensor (*)(const Tensor&, const Tensor&);
/// Draws an argument.
using Draw = Tensor (*)(Maker& m, const Shape& shape);

std::vector<Sample> samples_of(Maker& m, Draw a, Draw b) {
  const Attributes none;
  const double inf = INFINITY;
  return {Sample({a(m, {3, 5}), b(m, {3, 5})}, none, "same shape"),
          Sample({a(m, {}), b(m, {})}, none, "scalars"),
          Sample({a(m, {1031}), b(m, {1031})}, none, "longer than a block, with a rest"),
          Sample({a(m, {4, 3, 7}), b(m, {7})}, none, "b along the last dim").reduces(12),
          Sample({a(m, {3, 1}), b(m, {2, 3, 4})}, none, "a repeats in two dims").reduces(8),
          Sample({a(m, {3, 1}), b(m, {1, 197})}, none, "both repeat").reduces(197),
          Sample({a(m, {5, 6}), b(m, {})}, none, "b is a scalar").reduces(30),
          Sample({a(m, {1, 1}), b(m, {4})}, none, "a has more dims and one element").reduces(4),
          Sample({a(m, {2, 3, 4}).permute({0, 2, 1}), b(m, {2, 3, 4}).permute({0, 2, 1})}, none, "both permuted"),
          Sample({a(m, {2, 3, 4}).permute({2, 0, 1}), b(m, {4, 2, 3})}, none, "a permuted"),
          Sample({a(m, {0, 3}), b(m, {3})}, none, "no elements"),
          Sample({a(m, {2, 1}), b(m, {2, 0})}, none, "repeated no times"),
          Sample({from_vector({NAN, 1., inf, -inf, 0., 2., -3.}, {7, 1}, {.dtype = Dtype::f64}),
                  from_vector({NAN, 1., inf, -inf, 0., -2.}, {6}, {.dtype = Dtype::f64})},
                 none, "special values")
              .values_only()};
}

OpSpec spec(const std::string& name, Function f, Draw a, Draw b, std::vector<Sample> (*more)(Maker&) = nullptr) {
  return {.name = name,
          .arguments = {"a", "b"},
          .call = [f](const Inputs& in, const Attributes&) -> Outputs { return f(in[0], in[1]); },
          .samples =
              [=](Maker& m) {
                std::vector<Sample> samples = samples_of(m, a, b);
                if (more)
                  for (const Sample& s : more(m)) samples.push_back(s);
                return samples;
              },
          .benches = [=](Maker& m) -> std::vector<Sample> {
            if (name != "add" && name != "mul") return {};
            std::vector<Sample> benches;
            for (int64_t width : {384, 1536}) {
              const Shape x{8, 197, width}, row{width};
              const double n = 8. * 197 * double(width);
              const auto f32 = [](const Tensor& t) { return t.to(Dtype::f32); };
              const std::string size = "DeiT-S b8, width " + std::to_string(width);
              benches.push_back(Sample({f32(m.normal(x)), f32(m.normal(x))}, Attributes(), size).bench(n, 12 * n));
              benches.push_back(
                  Sample({f32(m.normal(x)), f32(m.normal(row))}, Attributes(), size + ", b a row").bench(n, 8 * n));
            }
            return benches;
          },
          .errors = [f, name](Maker& m) -> std::vector<ErrorSample> {
            const Tensor x = m.normal({3, 5}), y = m.normal({3, 4}), narrow = x.to(Dtype::f32);
            const Tensor there = x.to(Device::emulated()), ids = m.integers({3}, 0, 2);
            return {
                {[=] { f(x, y); }, name + ": shapes [3, 5] and [3, 4] do not broadcast"},
                {[=] { f(x, narrow); }, name + ": a [3, 5] f64 cpu and b [3, 5] f32 cpu have different dtypes"},
                {[=] { f(x, there); }, name + ": a [3, 5] f64 cpu and b [3, 5] f64 emulated have different devices"},
                {[=] { f(ids, ids); }, name + ": a must be floating, got [3] i64 cpu"},
                {[=] { f(Tensor(), x); }, name + ": a is undefined"},
                {[=] { f(x, Tensor()); }, name + ": b is undefined"}};
          }};
}

Tensor any(Maker& m, const Shape& shape) { return m.normal(shape); }
Tensor positive(Maker& m, const Shape& shape) { return m.uniform(shape, 0.4, 2); }
Tensor not_small(Maker& m, const Shape& shape) { return m.away_from({0}, shape, -3, 3, 0.5); }
/// Apart from each other: a lies on even tenths, b on odd ones, each with a little noise.
Tensor even(Maker& m, const Shape& shape) {
  return ops::div(ops::round(m.uniform(shape, -8, 8)), 5) + m.uniform(shape, -0.03, 0.03);
}
Tensor odd(Maker& m, const Shape& shape) { return even(m, shape) + 0.1; }

/// Ties have one-sided derivatives; half to each is their mean, which central differences find too.
std::vector<Sample> ties(Maker& m) {
  const Tensor x = m.normal({6});
  return {Sample({x, x.clone()}, Attributes(), "ties")};
}
/// At 0 to a positive power there is no derivative from below.
std::vector<Sample> powers_of_zero(Maker&) {
  const auto numbers = [](const std::vector<double>& v) {
    return from_vector(v, {int64_t(v.size())}, {.dtype = Dtype::f64});
  };
  return {
      Sample({numbers({0, 0, -2, -2}), numbers({0, 2, 2, 3})}, Attributes(), "zero and negative bases").values_only()};
}

const Register add(spec("add", ops::add, any, any));
const Register sub(spec("sub", ops::sub, any, any));
const Register mul(spec("mul", ops::mul, any, any));
const Register div(spec("div", ops::div, any, not_small));
const Register pow(spec("pow", ops::pow, positive, any, powers_of_zero));
const Register maximum(spec("maximum", ops::maximum, even, odd, ties));
const Register minimum(spec("minimum", ops::minimum, even, odd, ties));

/// The operators, each against the function it stands for.
Outputs operators(const Inputs& in, const Attributes&) {
  const Tensor &a = in[0], &b = in[1];
  return {a + b, a - b, a * b, a / b, a + 2, a - 2, a * 3, a / 3, 2 + a, 2 - a, 3 * a, 3 / b, -a};
}
Outputs functions(const Inputs& in, const Attributes&) {
  const Tensor &a = in[0], &b = in[1], two = full({}, 2, a.options()), three = full({}, 3, a.options());
  return {ops::add(a, b),     ops::sub(a, b),     ops::mul(a, b),     ops::div(a, b),   ops::add(a, two),
          ops::sub(a, two),   ops::mul(a, three), ops::div(a, three), ops::add(a, two), ops::sub(two, a),
          ops::mul(a, three), ops::div(three, b), ops::neg(a)};
}
const Register operators_spec(OpSpec{
    .name = "operators",
    .arguments = {"a", "b"},
    .call = operators,
    .reference = functions,
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({3, 5}), not_small(m, {5})}, Attributes(), "row").reduces(15),
              Sample({m.normal({0, 5}), not_small(m, {5})}, Attributes(), "no elements")};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), y = m.normal({3, 4});
      return {{[=] { (void)(x + y); }, "add: shapes [3, 5] and [3, 4] do not broadcast"}};
    },
    .composite = true});

}  // namespace
}  // namespace vitrine::testing
