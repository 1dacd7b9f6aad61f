#include <cmath>

#include "ops/compare/compare.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

using PairFunction = Tensor (*)(const Tensor&, const Tensor&);
using SingleFunction = Tensor (*)(const Tensor&);
const Attributes kNone;

Tensor special() { return from_vector({NAN, INFINITY, -INFINITY, 0., -0., 1., -2.}, {7}, {.dtype = Dtype::f64}); }

/// Few different values, so that many are equal.
OpSpec comparison(const std::string& name, PairFunction f) {
  return {.name = name,
          .arguments = {"a", "b"},
          .call = [f](const Inputs& in, const Attributes&) -> Outputs { return f(in[0], in[1]); },
          .samples =
              [](Maker& m) {
                const auto few = [&](const Shape& shape, Dtype dtype = Dtype::f64) {
                  return m.integers(shape, -2, 3, dtype).to(dtype);
                };
                std::vector<Sample> samples;
                const auto sample = [&](const Tensor& a, const Tensor& b, const char* label) {
                  samples.push_back(Sample({a, b}, kNone, label).values_only());
                };
                sample(few({3, 5}), few({3, 5}), "same shape");
                sample(few({2, 197}), few({197}), "b along the last dim");
                sample(few({3, 1}), few({1, 4}), "both repeat");
                sample(few({1031}), few({1031}), "longer than a block, with a rest");
                sample(few({}), few({4}), "a is a scalar");
                sample(few({4, 6}).permute({1, 0}), few({6, 4}), "a permuted");
                sample(special().unsqueeze(1), special(), "special values");
                sample(few({0, 3}), few({3}), "no elements");
                sample(few({40}, Dtype::i64), few({40}, Dtype::i64), "i64");
                sample(few({40}, Dtype::i32), few({40}, Dtype::i32), "i32");
                sample(m.integers({40}, 0, 3, Dtype::u8), m.integers({40}, 0, 3, Dtype::u8), "u8");
                sample(m.booleans({40}), m.booleans({40}), "bool");
                return samples;
              },
          .errors = [f, name](Maker& m) -> std::vector<ErrorSample> {
            const Tensor x = m.normal({3, 5}), y = m.normal({3, 4}), ids = m.integers({3, 5}, 0, 2);
            const Tensor there = x.to(Device::emulated());
            return {
                {[=] { f(x, y); }, name + ": shapes [3, 5] and [3, 4] do not broadcast"},
                {[=] { f(x, ids); }, name + ": a [3, 5] f64 cpu and b [3, 5] i64 cpu have different dtypes"},
                {[=] { f(x, there); }, name + ": a [3, 5] f64 cpu and b [3, 5] f64 emulated have different devices"},
                {[=] { f(Tensor(), x); }, name + ": a is undefined"},
                {[=] { f(x, Tensor()); }, name + ": b is undefined"}};
          }};
}
const Register eq(comparison("eq", ops::eq));
const Register ne(comparison("ne", ops::ne));
const Register lt(comparison("lt", ops::lt));
const Register le(comparison("le", ops::le));
const Register gt(comparison("gt", ops::gt));
const Register ge(comparison("ge", ops::ge));

OpSpec logical(const std::string& name, PairFunction f) {
  return {
      .name = name,
      .arguments = {"a", "b"},
      .call = [f](const Inputs& in, const Attributes&) -> Outputs { return f(in[0], in[1]); },
      .samples = [](Maker& m) -> std::vector<Sample> {
        return {
            Sample({m.booleans({3, 5}), m.booleans({3, 5})}, kNone, "same shape").values_only(),
            Sample({m.booleans({2, 197}), m.booleans({2, 1})}, kNone, "b along the first dim").values_only(),
            Sample({m.booleans({4103}), m.booleans({4103})}, kNone, "longer than a block, with a rest").values_only(),
            Sample({m.booleans({0, 3}), m.booleans({3})}, kNone, "no elements").values_only()};
      },
      .errors = [f, name](Maker& m) -> std::vector<ErrorSample> {
        const Tensor x = m.booleans({3}), ids = m.integers({3}, 0, 2);
        return {{[=] { f(ids, x); }, name + ": a must be bool, got [3] i64 cpu"},
                {[=] { f(x, ids); }, name + ": b must be bool, got [3] i64 cpu"},
                {[=] { f(x, Tensor()); }, name + ": b is undefined"}};
      }};
}
const Register logical_and(logical("logical_and", ops::logical_and));
const Register logical_or(logical("logical_or", ops::logical_or));

const Register logical_not(OpSpec{
    .name = "logical_not",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::logical_not(in[0]); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.booleans({3, 5})}, kNone, "small").values_only(),
              Sample({m.booleans({4103})}, kNone, "longer than a block, with a rest").values_only(),
              Sample({m.booleans({0})}, kNone, "no elements").values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3});
      return {{[=] { ops::logical_not(x); }, "logical_not: x must be bool, got [3] f64 cpu"},
              {[] { ops::logical_not(Tensor()); }, "logical_not: x is undefined"}};
    }});

OpSpec classification(const std::string& name, SingleFunction f) {
  return {.name = name,
          .arguments = {"x"},
          .call = [f](const Inputs& in, const Attributes&) -> Outputs { return f(in[0]); },
          .samples = [](Maker& m) -> std::vector<Sample> {
            return {Sample({special()}, kNone, "special values").values_only(),
                    Sample({special().unsqueeze(0).expand({197, 7})}, kNone, "repeated").values_only(),
                    Sample({m.normal({1031})}, kNone, "longer than a block, with a rest").values_only(),
                    Sample({m.normal({2, 0})}, kNone, "no elements").values_only()};
          },
          .errors = [f, name](Maker& m) -> std::vector<ErrorSample> {
            const Tensor ids = m.integers({3}, 0, 2);
            return {{[=] { f(ids); }, name + ": x must be floating, got [3] i64 cpu"},
                    {[=] { f(Tensor()); }, name + ": x is undefined"}};
          }};
}
const Register isnan(classification("isnan", ops::isnan));
const Register isfinite(classification("isfinite", ops::isfinite));

}  // namespace
}  // namespace vitrine::testing
