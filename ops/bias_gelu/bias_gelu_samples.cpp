#include <cmath>

#include "ops/bias_gelu/bias_gelu.h"
#include "ops/binary/binary.h"
#include "ops/unary/unary.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

const Register bias_gelu(OpSpec{
    .name = "bias_gelu",
    .arguments = {"x", "bias"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::bias_gelu(in[0], in[1]); },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs { return ops::gelu(ops::add(in[0], in[1])); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      const Attributes none;
      return {Sample({m.normal({3, 5}), m.normal({5})}, none, "small").reduces(3),
              Sample({m.normal({197, 12}), m.normal({12})}, none, "several groups of rows").reduces(197),
              Sample({m.normal({2, 3, 516}), m.normal({516})}, none, "rows longer than a block, in packs").reduces(6),
              Sample({m.normal({2, 131}), m.normal({131})}, none, "rows longer than a block, odd").reduces(2),
              Sample({m.normal({7}), m.normal({7})}, none, "one row"),
              Sample({m.normal({4, 6}).permute({1, 0}), m.normal({4})}, none, "permuted").reduces(6),
              Sample({m.normal({0, 4}), m.normal({4})}, none, "no rows"),
              Sample({m.normal({3, 0}), m.normal({0})}, none, "empty rows"),
              Sample({from_vector({NAN, INFINITY, -INFINITY, 0., -40., 40.}, {6}, {.dtype = Dtype::f64}),
                      zeros({6}, {.dtype = Dtype::f64})},
                     none, "special values")
                  .values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 197 * 1536;
      return {Sample({m.normal({8, 197, 1536}).to(Dtype::f32), m.normal({1536}).to(Dtype::f32)}, Attributes(),
                     "DeiT-S b8 MLP")
                  .bench(33 * n, 8 * n)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), bias = m.normal({5}), shorter = m.normal({4}), ids = m.integers({3}, 0, 2);
      const Tensor narrow = bias.to(Dtype::f32), there = bias.to(Device::emulated()), scalar = m.normal({});
      return {{[=] { ops::bias_gelu(x, shorter); },
               "bias_gelu: bias [4] f64 cpu must have the size of the last dim of x [3, 5] f64 cpu"},
              {[=] { ops::bias_gelu(scalar, bias); },
               "bias_gelu: bias [5] f64 cpu must have the size of the last dim of x [] f64 cpu"},
              {[=] { ops::bias_gelu(x, narrow); },
               "bias_gelu: x [3, 5] f64 cpu and bias [5] f32 cpu have different dtypes"},
              {[=] { ops::bias_gelu(x, there); },
               "bias_gelu: x [3, 5] f64 cpu and bias [5] f64 emulated have different devices"},
              {[=] { ops::bias_gelu(ids, bias); }, "bias_gelu: x must be floating, got [3] i64 cpu"},
              {[=] { ops::bias_gelu(x, Tensor()); }, "bias_gelu: bias is undefined"}};
    }});

}  // namespace
}  // namespace vitrine::testing
