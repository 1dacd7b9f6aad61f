#include "ops/binary/binary.h"
#include "ops/matmul/matmul.h"
#include "ops/reduce/reduce.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

const Register spec(OpSpec{
    .name = "matmul",
    .arguments = {"a", "b"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::matmul(in[0], in[1]); },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs {
      return ops::sum(ops::mul(in[0].unsqueeze(-1), in[1].unsqueeze(-3)), -2);
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({3, 5}), m.normal({5, 4})}, {}, "two matrices").reduces(5),
              Sample({m.normal({2, 1, 3, 7}), m.normal({5, 7, 2})}, {}, "broadcast batch").reduces(7),
              Sample({m.normal({2, 6, 4}), m.normal({2, 5, 4}).transpose(1, 2)}, {}, "transposed b").reduces(4),
              Sample({m.normal({70, 33}).transpose(0, 1), m.normal({70, 65})}, {}, "transposed a, edges of tiles")
                  .reduces(70),
              // Small factors: the sums of 197 terms in the gradients are then of size 1, which the tolerance is for.
              Sample({m.normal({197, 5}, 0, 0.07), m.normal({5, 197}, 0, 0.07)}, {}, "outer-like 197").reduces(197),
              Sample({m.normal({1, 197}), m.normal({197, 1})}, {}, "one dot product").reduces(197),
              Sample({m.normal({3, 0}), m.normal({0, 4})}, {}, "empty sum"),
              Sample({m.normal({0, 3, 4}), m.normal({4, 2})}, {}, "empty batch"),
              Sample({m.with_nan({3, 5}), m.with_nan({5, 4})}, {}, "NaN").reduces(5).values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double rows = 8 * 6 * 197;
      return {Sample({m.normal({8, 6, 197, 64}), m.normal({8, 6, 64, 197})}, {}, "scores b8")
                  .bench(2 * rows * 197 * 64, 4 * rows * (128 + 197)),
              Sample({m.normal({8, 6, 197, 197}), m.normal({8, 6, 197, 64})}, {}, "values b8")
                  .bench(2 * rows * 197 * 64, 4 * rows * (128 + 197))};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor a = m.normal({3, 5}), b = m.normal({4, 5}), v = m.normal({5}), ids = m.integers({5, 2}, 0, 3);
      const Tensor many = m.normal({2, 3, 5}), other = m.normal({3, 5, 4}), half = m.normal({5, 4}).to(Dtype::bf16);
      return {{[=] { ops::matmul(a, b); }, "matmul: a [3, 5] f64 cpu and b [4, 5] f64 cpu disagree on the inner size"},
              {[=] { ops::matmul(a, v); }, "matmul: a [3, 5] f64 cpu and b [5] f64 cpu must have at least two dims"},
              {[=] { ops::matmul(a, ids); }, "matmul: b must be floating, got [5, 2] i64 cpu"},
              {[=] { ops::matmul(many, other); }, "matmul: shapes [2] and [3] do not broadcast"},
              {[=] { ops::matmul(a, half); }, "matmul: a [3, 5] f64 cpu and b [5, 4] bf16 cpu have different dtypes"},
              {[=] { ops::matmul(many, other.to(Device::emulated())); },
               "matmul: a [2, 3, 5] f64 cpu and b [3, 5, 4] f64 emulated have different devices"}};
    }});

}  // namespace
}  // namespace vitrine::testing
