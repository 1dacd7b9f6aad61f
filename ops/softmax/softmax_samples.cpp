#include <cmath>

#include "ops/binary/binary.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax.h"
#include "ops/unary/unary.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

/// x less its maximum, which changes no softmax: exp stays finite.
Tensor shifted(const Tensor& x, int64_t dim) { return x.numel() ? ops::sub(x, ops::max(x, dim, true).detach()) : x; }

std::vector<Sample> samples(Maker& m) {
  const double inf = INFINITY;
  const Tensor special =
      from_vector({NAN, 0, 1, inf, 2, -inf, -inf, 0, 1, -inf, -inf, -inf}, {4, 3}, {.dtype = Dtype::f64});
  const Attributes last{{"dim", -1}};
  return {Sample({m.normal({3, 5})}, last, "last dim").reduces(5),
          Sample({m.normal({2, 3, 4})}, {{"dim", 1}}, "middle dim").reduces(3),
          Sample({m.normal({2, 197}, 0, 3)}, last, "row longer than a block").reduces(197),
          Sample({m.normal({7}, 100, 20)}, last, "large values").reduces(7),
          Sample({m.normal({0, 5})}, last, "no rows"),
          Sample({m.normal({4, 0})}, last, "empty rows"),
          Sample({special}, last, "NaN and infinities").reduces(3).values_only()};
}
std::vector<Sample> benches(Maker& m) {
  return {Sample({m.normal({8, 6, 197, 197})}, {{"dim", -1}}, "DeiT-S b8 scores")
              .bench(5. * 8 * 6 * 197 * 197, 8. * 8 * 6 * 197 * 197)};
}

const Register softmax_spec(OpSpec{
    .name = "softmax",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs { return ops::softmax(in[0], a.integer("dim")); },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      const Tensor e = ops::exp(shifted(in[0], a.integer("dim")));
      return ops::div(e, ops::sum(e, a.integer("dim"), true));
    },
    .samples = samples,
    .benches = benches,
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), ids = m.integers({3}, 0, 2);
      return {{[x] { ops::softmax(x, 2); }, "softmax: dim 2 is out of range for x [3, 5] f64 cpu"},
              {[ids] { ops::softmax(ids, 0); }, "softmax: x must be floating, got [3] i64 cpu"},
              {[] { ops::softmax(Tensor(), 0); }, "softmax: x is undefined"}};
    }});

const Register log_softmax_spec(OpSpec{
    .name = "log_softmax",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs { return ops::log_softmax(in[0], a.integer("dim")); },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      const Tensor z = shifted(in[0], a.integer("dim"));
      return ops::sub(z, ops::log(ops::sum(ops::exp(z), a.integer("dim"), true)));
    },
    .samples = samples,
    .benches = benches,
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), ids = m.integers({3}, 0, 2);
      return {{[x] { ops::log_softmax(x, -3); }, "log_softmax: dim -3 is out of range for x [3, 5] f64 cpu"},
              {[ids] { ops::log_softmax(ids, 0); }, "log_softmax: x must be floating, got [3] i64 cpu"}};
    }});

}  // namespace
}  // namespace vitrine::testing
