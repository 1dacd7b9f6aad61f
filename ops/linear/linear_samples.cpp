#include "ops/binary/binary.h"
#include "ops/linear/linear.h"
#include "ops/reduce/reduce.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

Sample deit(Maker& m, const char* label, int64_t rows, int64_t out, int64_t in) {
  const double r = double(rows), o = double(out), i = double(in);
  return Sample({m.normal({rows, in}), m.normal({out, in}, 0, 0.05), m.normal({out})}, {}, label)
      .bench(2 * r * o * i, 4 * (r * i + o * i + r * o));
}

const Register spec(OpSpec{
    .name = "linear",
    .arguments = {"x", "weight", "bias"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs {
      return ops::linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor());
    },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs {
      const Tensor y = ops::sum(ops::mul(in[0].unsqueeze(-2), in[1]), -1);
      return in[2].defined() ? ops::add(y, in[2]) : y;
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({3, 5}), m.normal({4, 5}), m.normal({4})}, {}, "rows").reduces(5),
              Sample({m.normal({2, 197, 6}), m.normal({7, 6}), m.normal({7})}, {}, "tokens").reduces(394),
              Sample({m.normal({2, 3, 5}), m.normal({4, 5}), Tensor()}, {}, "no bias").reduces(6),
              Sample({m.normal({5}), m.normal({4, 5}), m.normal({4})}, {}, "one row").reduces(5),
              Sample({m.normal({0, 5}), m.normal({4, 5}), m.normal({4})}, {}, "no rows"),
              Sample({m.with_nan({3, 5}), m.normal({4, 5}), m.with_nan({4})}, {}, "NaN").reduces(5).values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      return {deit(m, "qkv b1", 197, 1152, 384), deit(m, "proj b1", 197, 384, 384),  deit(m, "fc1 b1", 197, 1536, 384),
              deit(m, "fc2 b1", 197, 384, 1536), deit(m, "qkv b8", 1576, 1152, 384), deit(m, "fc1 b8", 1576, 1536, 384),
              deit(m, "fc2 b8", 1576, 384, 1536)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 5}), w = m.normal({4, 6}), good = m.normal({4, 5}), bias = m.normal({5});
      const Tensor low = m.normal({4, 5}).to(Dtype::f32);
      return {
          {[=] { ops::linear(x, w); }, "linear: x [2, 5] f64 cpu and weight [4, 6] f64 cpu disagree on in_features"},
          {[=] { ops::linear(x, good, bias); },
           "linear: bias [5] f64 cpu and weight [4, 5] f64 cpu disagree on out_features"},
          {[=] { ops::linear(x, low); }, "linear: x [2, 5] f64 cpu and weight [4, 5] f32 cpu have different dtypes"},
          {[=] { ops::linear(x, good.to(Device::emulated())); },
           "linear: x [2, 5] f64 cpu and weight [4, 5] f64 emulated have different devices"}};
    },
    .composite = true});

}  // namespace
}  // namespace vitrine::testing
