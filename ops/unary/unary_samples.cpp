#include <cmath>

#include "ops/unary/entries.h"
#include "ops/unary/unary.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

using ops::unary::Domain;
using Function = Tensor (*)(const Tensor&);

std::vector<double> kinks_of(const Domain& d) { return {d.kinks, d.kinks + d.kink_count}; }

/// Shapes for every entry: `make(shape)` draws values, `attributes` goes with each.
template <class F>
std::vector<Sample> shapes(F make, const Attributes& attributes) {
  const double inf = INFINITY;
  return {Sample({make({3, 5})}, attributes, "small"),
          Sample({make({})}, attributes, "scalar"),
          Sample({make({2, 1, 197})}, attributes, "odd row"),
          Sample({make({1031})}, attributes, "longer than a block, with a rest"),
          Sample({make({4, 3, 2}).permute({1, 2, 0})}, attributes, "permuted"),
          Sample({make({0, 3})}, attributes, "no elements"),
          Sample({from_vector({NAN, inf, -inf, 0., -0., 1., -1., 0.5, 2.5, -1.5}, {10}, {.dtype = Dtype::f64})},
                 attributes, "special values")
              .values_only()};
}

template <class E>
OpSpec plain_spec(Function f, double flops) {
  const std::string name = E::name;
  return {.name = name,
          .arguments = {"x"},
          .call = [f](const Inputs& in, const Attributes&) -> Outputs { return f(in[0]); },
          .samples =
              [](Maker& m) {
                const auto make = [&](const Shape& shape) {
                  return m.away_from(kinks_of(E::domain), shape, E::domain.low, E::domain.high);
                };
                return shapes(make, {});
              },
          .benches = [flops](Maker& m) -> std::vector<Sample> {
            if (flops == 0) return {};
            const auto bench = [&](int64_t width) {
              const double n = 8. * 197 * double(width);
              return Sample({m.uniform({8, 197, width}, E::domain.low, E::domain.high).to(Dtype::f32)}, Attributes(),
                            "DeiT-S b8, width " + std::to_string(width))
                  .bench(flops * n, 8 * n);
            };
            return {bench(384), bench(1536)};
          },
          .errors = [f, name](Maker& m) -> std::vector<ErrorSample> {
            const Tensor ids = m.integers({3}, 0, 2);
            return {{[f, ids] { f(ids); }, name + ": x must be floating, got [3] i64 cpu"},
                    {[f] { f(Tensor()); }, name + ": x is undefined"}};
          }};
}

template <class E>
struct RegisterPlain {
  /// `flops` per element for the benches of the ones that models spend time in; 0 for no bench.
  explicit RegisterPlain(Function f, double flops = 0) : spec(plain_spec<E>(f, flops), __FILE__) {}
  Register spec;
};

namespace entry = ops::unary;
const RegisterPlain<entry::Neg> neg(ops::neg);
const RegisterPlain<entry::Abs> abs(ops::abs);
const RegisterPlain<entry::Exp> exp(ops::exp, 12);
const RegisterPlain<entry::Log> log(ops::log);
const RegisterPlain<entry::Log1p> log1p(ops::log1p);
const RegisterPlain<entry::Sqrt> sqrt(ops::sqrt);
const RegisterPlain<entry::Rsqrt> rsqrt(ops::rsqrt);
const RegisterPlain<entry::Reciprocal> reciprocal(ops::reciprocal);
const RegisterPlain<entry::Square> square(ops::square);
const RegisterPlain<entry::Sin> sin(ops::sin);
const RegisterPlain<entry::Cos> cos(ops::cos);
const RegisterPlain<entry::Tanh> tanh(ops::tanh, 25);
const RegisterPlain<entry::Sigmoid> sigmoid(ops::sigmoid);
const RegisterPlain<entry::Erf> erf(ops::erf);
const RegisterPlain<entry::Relu> relu(ops::relu, 1);
const RegisterPlain<entry::Gelu> gelu(ops::gelu, 32);
const RegisterPlain<entry::GeluTanh> gelu_tanh(ops::gelu_tanh, 32);
const RegisterPlain<entry::Silu> silu(ops::silu);
const RegisterPlain<entry::Softplus> softplus(ops::softplus);
const RegisterPlain<entry::Sign> sign(ops::sign);
const RegisterPlain<entry::Floor> floor(ops::floor);
const RegisterPlain<entry::Ceil> ceil(ops::ceil);
const RegisterPlain<entry::Round> round(ops::round);

const Register clamp(OpSpec{
    .name = "clamp",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::clamp(in[0], a.number("low"), a.number("high"));
    },
    .samples =
        [](Maker& m) {
          const auto make = [&](const Shape& shape) { return m.away_from({-0.75, 1.25}, shape, -3, 3); };
          auto samples = shapes(make, {{"low", -0.75}, {"high", 1.25}});
          samples.push_back(Sample({make({7})}, {{"low", -0.75}, {"high", double(INFINITY)}}, "one bound"));
          samples.push_back(Sample({from_vector({-1, 0, 1}, {3}, {.dtype = Dtype::f64})}, {{"low", 0.}, {"high", 0.}},
                                   "empty interval")
                                .values_only());
          return samples;
        },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3}), ids = m.integers({3}, 0, 2);
      return {{[x] { ops::clamp(x, 1, 0.5); }, "clamp: low 1 is not at most high 0.5"},
              {[x] { ops::clamp(x, NAN, 1); }, "clamp: low nan is not at most high 1"},
              {[ids] { ops::clamp(ids, 0, 1); }, "clamp: x must be floating, got [3] i64 cpu"}};
    }});

const Register pow_scalar(OpSpec{
    .name = "pow_scalar",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs { return ops::pow(in[0], a.number("exponent")); },
    .samples =
        [](Maker& m) {
          const auto make = [&](const Shape& shape) { return m.uniform(shape, 0.2, 3); };
          auto samples = shapes(make, {{"exponent", 2.5}});
          for (double p : {0., 1., 2., -1.5})
            samples.push_back(Sample({make({5})}, {{"exponent", p}}, "to the power " + to_string(p)));
          samples.push_back(Sample({m.uniform({5}, -3, -1)}, {{"exponent", 3.}}, "negative base"));
          return samples;
        },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor ids = m.integers({3}, 0, 2);
      return {{[ids] { ops::pow(ids, 2); }, "pow_scalar: x must be floating, got [3] i64 cpu"}};
    }});

/// The arithmetic forms with a number.
template <class F>
OpSpec number_spec(const std::string& name, F f, double low, double high) {
  return {.name = name,
          .arguments = {"x"},
          .call = [f](const Inputs& in, const Attributes& a) -> Outputs { return f(in[0], a.number("number")); },
          .samples =
              [low, high](Maker& m) {
                const auto make = [&](const Shape& shape) { return m.uniform(shape, low, high); };
                auto samples = shapes(make, {{"number", 1.75}});
                samples.push_back(Sample({make({5})}, {{"number", -0.3}}, "not exact in any dtype"));
                return samples;
              },
          .errors = [f, name](Maker& m) -> std::vector<ErrorSample> {
            const Tensor ids = m.integers({3}, 0, 2);
            return {{[f, ids] { f(ids, 2); }, name + ": x must be floating, got [3] i64 cpu"}};
          }};
}
const Register add_scalar(number_spec(
    "add_scalar", [](const Tensor& x, double number) { return ops::add(x, number); }, -3, 3));
const Register subtract_from(number_spec(
    "subtract_from", [](const Tensor& x, double number) { return ops::sub(number, x); }, -3, 3));
const Register mul_scalar(number_spec(
    "mul_scalar", [](const Tensor& x, double number) { return ops::mul(x, number); }, -3, 3));
const Register div_scalar(number_spec(
    "div_scalar", [](const Tensor& x, double number) { return ops::div(x, number); }, -3, 3));
const Register divide_into(number_spec(
    "divide_into", [](const Tensor& x, double number) { return ops::div(number, x); }, 0.3, 3));

}  // namespace
}  // namespace vitrine::testing
