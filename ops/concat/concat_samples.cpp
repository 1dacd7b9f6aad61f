#include "ops/binary/binary.h"
#include "ops/concat/concat.h"
#include "ops/gather/gather.h"
#include "ops/pad/pad.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

/// The tensors of a call, the list of them repeated "times".
std::vector<Tensor> given(const Inputs& in, const Attributes& a) {
  std::vector<Tensor> xs;
  for (int64_t i = 0; i < a.integer("times", 1); ++i)
    for (const Tensor& x : in)
      if (x.defined()) xs.push_back(x);
  return xs;
}
/// Each of xs among zeros, in its place along `dim`, added up.
Tensor placed(const std::vector<Tensor>& xs, int64_t dim) {
  int64_t length = 0, before = 0;
  for (const Tensor& x : xs) length += x.size(dim);
  Tensor y;
  for (const Tensor& x : xs) {
    std::vector<std::pair<int64_t, int64_t>> widths(size_t(x.dim()), {0, 0});
    widths[size_t(dim < 0 ? dim + x.dim() : dim)] = {before, length - before - x.size(dim)};
    const Tensor part = ops::pad(x.to(Dtype::f64), widths);
    y = y.defined() ? ops::add(y, part) : part;
    before += x.size(dim);
  }
  return y;
}

const Register concat_spec(OpSpec{
    .name = "concat",
    .arguments = {"x0", "x1", "x2"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::concat(given(in, a), a.integer("dim"));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return placed(given(in, a), a.integer("dim"));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3}), m.normal({1, 3}), m.normal({4, 3})}, {{"dim", 0}}, "three along the first dim"},
              {{m.normal({2, 1, 5}), m.normal({2, 197, 5})}, {{"dim", 1}}, "class token before patches"},
              {{m.normal({2, 3}), m.normal({2, 2})}, {{"dim", -1}}, "last dim"},
              {{m.normal({3})}, {{"dim", 0}}, "one input"},
              {{m.normal({2, 0}), m.normal({2, 3}), m.normal({2, 0})}, {{"dim", 1}}, "empty inputs"},
              {{m.integers({2, 2}, -5, 5), m.integers({2, 1}, -5, 5)}, {{"dim", 1}}, "integers"},
              {{m.normal({2, 2})}, {{"dim", 0}, {"times", 4}}, "the same tensor four times"},
              Sample({m.with_nan({2, 3}), m.normal({1, 3})}, {{"dim", 0}}, "NaN").values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({8, 1, 384}).to(Dtype::f32), m.normal({8, 196, 384}).to(Dtype::f32)}, {{"dim", 1}},
                     "DeiT-S b8 class token")
                  .bench(0, 8. * 8 * 197 * 384)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3}), y = m.normal({2, 4}), z = m.normal({3}), ids = m.integers({2, 3}, 0, 2);
      const auto concat = [](std::vector<Tensor> xs, int64_t dim) { return [=] { ops::concat(xs, dim); }; };
      return {{concat({}, 0), "concat: no inputs"},
              {concat({x, Tensor()}, 0), "concat: x1 is undefined"},
              {concat({Tensor()}, 0), "concat: x0 is undefined"},
              {concat({x, y}, 0), "concat: x0 [2, 3] f64 cpu and x1 [2, 4] f64 cpu differ outside dim 0"},
              {concat({x, z}, 0), "concat: x0 [2, 3] f64 cpu and x1 [3] f64 cpu differ outside dim 0"},
              {concat({x, ids}, 0), "concat: x0 [2, 3] f64 cpu and x1 [2, 3] i64 cpu have different dtypes"},
              {concat({x, x.to(Device::emulated())}, 0),
               "concat: x0 [2, 3] f64 cpu and x1 [2, 3] f64 emulated have different devices"},
              {concat({x}, 2), "concat: dim 2 is out of range for x [2, 3] f64 cpu"}};
    },
    .composite = true});

const Register stack_spec(OpSpec{
    .name = "stack",
    .arguments = {"x0", "x1", "x2"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs { return ops::stack(given(in, a), a.integer("dim")); },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      std::vector<Tensor> slices;
      for (const Tensor& x : given(in, a)) slices.push_back(x.unsqueeze(a.integer("dim")));
      return placed(slices, a.integer("dim"));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3}), m.normal({2, 3})}, {{"dim", 0}}, "in front"},
              {{m.normal({2, 3}), m.normal({2, 3}), m.normal({2, 3})}, {{"dim", -1}}, "behind"},
              {{m.normal({}), m.normal({})}, {{"dim", 0}}, "scalars"},
              {{m.normal({0, 3}), m.normal({0, 3})}, {{"dim", 1}}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3}), y = m.normal({2, 1});
      const auto stack = [](std::vector<Tensor> xs, int64_t dim) { return [=] { ops::stack(xs, dim); }; };
      return {{stack({}, 0), "stack: no inputs"},
              {stack({x, y}, 1), "stack: x0 [2, 3] f64 cpu and x1 [2, 1] f64 cpu have different shapes"},
              {stack({x}, 3), "stack: dim 3 is out of range for x0 [2, 3] f64 cpu"}};
    },
    .composite = true});

const Register split_spec(OpSpec{
    .name = "split",
    .arguments = {"x"},
    .results = {},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      const std::vector<Tensor> parts = ops::split(in[0], a.integers("sizes"), a.integer("dim"));
      Outputs out;
      out.assign(parts.begin(), parts.end());
      return out;
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      Outputs out;
      double next = 0;
      for (int64_t n : a.integers("sizes")) {
        std::vector<double> ids;
        while (int64_t(ids.size()) < n) ids.push_back(next++);
        out.push_back(ops::index_select(in[0], a.integer("dim"), from_vector(ids, {n}, {.dtype = Dtype::i64})));
      }
      return out;
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      using Sizes = std::vector<int64_t>;
      return {{{m.normal({2, 6})}, {{"sizes", Sizes{2, 2, 2}}, {"dim", 1}}, "three equal parts"},
              {{m.normal({5, 3})}, {{"sizes", Sizes{1, 4}}, {"dim", -2}}, "class token and patches"},
              {{m.normal({4, 2})}, {{"sizes", Sizes{4, 0}}, {"dim", 0}}, "an empty part"},
              {{m.normal({0, 2})}, {{"sizes", Sizes{0}}, {"dim", 0}}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 6});
      const auto split = [x](std::vector<int64_t> sizes, int64_t dim) { return [=] { ops::split(x, sizes, dim); }; };
      return {{split({1, 2}, 1), "split: sizes [1, 2] do not add up to dim 1 of x [2, 6] f64 cpu"},
              {split({7, -1}, 1), "split: negative size in [7, -1]"},
              {split({2}, 2), "split: dim 2 is out of range for x [2, 6] f64 cpu"},
              {[] { ops::split(Tensor(), std::vector<int64_t>{}, 0); }, "split: x is undefined"}};
    },
    .composite = true});

}  // namespace
}  // namespace vitrine::testing
