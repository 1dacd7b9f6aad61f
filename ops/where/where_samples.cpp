#include <cmath>

#include "ops/where/where.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

const Register where(OpSpec{
    .name = "where",
    .arguments = {"condition", "a", "b"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::where(in[0], in[1], in[2]); },
    .values = [](const Inputs& in, const Attributes&) -> Outputs {
      const Shape shape =
          broadcast_shapes("where", in[0].shape(), broadcast_shapes("where", in[1].shape(), in[2].shape()));
      const std::vector<double> c = in[0].expand(shape).to_vector(), a = in[1].expand(shape).to_vector();
      std::vector<double> y = in[2].expand(shape).to_vector();
      for (size_t i = 0; i < y.size(); ++i)
        if (c[i] != 0) y[i] = a[i];
      return from_vector(y, shape, {.dtype = Dtype::f64});
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      const Attributes none;
      const Tensor nans = full({2, 3}, NAN, {.dtype = Dtype::f64});
      const Tensor left = from_vector({1, 1, 1, 0, 0, 0}, {2, 3}, {.dtype = Dtype::boolean});
      return {
          Sample({m.booleans({3, 5}), m.normal({3, 5}), m.normal({3, 5})}, none, "same shape"),
          Sample({m.booleans({2, 1, 4}), m.normal({3, 1}), m.normal({4})}, none, "all repeat").reduces(8),
          Sample({m.booleans({}), m.normal({5}), m.normal({})}, none, "scalar condition").reduces(5),
          Sample({m.booleans({197}), m.normal({6, 197}), m.normal({})}, none, "masked rows").reduces(6 * 197),
          Sample({m.booleans({1031}), m.normal({1031}), m.normal({1031})}, none, "longer than a block, with a rest"),
          Sample({m.booleans({4, 6}).permute({1, 0}), m.normal({6, 4}), m.normal({4, 6}).permute({1, 0})}, none,
                 "permuted"),
          Sample({m.booleans({0, 3}), m.normal({3}), m.normal({1, 3})}, none, "no elements"),
          Sample({left, nans, m.normal({2, 3})}, none, "NaN on one side").values_only(),
          Sample({m.booleans({9}), m.integers({9}, -5, 5), m.integers({9}, 10, 20)}, none, "i64").values_only(),
          Sample({m.booleans({9}), m.booleans({9}), m.booleans({9})}, none, "bool").values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor c = m.booleans({3}), x = m.normal({3}), y = m.normal({4}), ids = m.integers({3}, 0, 2);
      const Tensor there = x.to(Device::emulated());
      return {{[=] { ops::where(x, x, x); }, "where: condition must be bool, got [3] f64 cpu"},
              {[=] { ops::where(c, x, ids); }, "where: a [3] f64 cpu and b [3] i64 cpu have different dtypes"},
              {[=] { ops::where(c, x, y); }, "where: shapes [3] and [4] do not broadcast"},
              {[=] { ops::where(c, y, y); }, "where: shapes [3] and [4] do not broadcast"},
              {[=] { ops::where(c, x, there); },
               "where: condition [3] bool cpu and b [3] f64 emulated have different devices"},
              {[=] { ops::where(c, Tensor(), x); }, "where: a is undefined"}};
    }});

}  // namespace
}  // namespace vitrine::testing
