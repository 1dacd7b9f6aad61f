#include "ops/pad/pad.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

using Widths = std::vector<int64_t>;

const Register pad_spec(OpSpec{
    .name = "pad",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      std::vector<std::pair<int64_t, int64_t>> pairs;
      const Widths widths = a.integers("widths");
      for (size_t i = 0; i + 1 < widths.size(); i += 2) pairs.emplace_back(widths[i], widths[i + 1]);
      return ops::pad(in[0], pairs, a.number("value", 0));
    },
    .values = [](const Inputs& in, const Attributes& a) -> Outputs {
      const Widths widths = a.integers("widths");
      const std::vector<double> x = in[0].to_vector();
      Shape shape = in[0].shape();
      for (int64_t d = 0; d < shape.size(); ++d) shape[d] += widths[size_t(2 * d)] + widths[size_t(2 * d + 1)];
      std::vector<double> y(size_t(shape.numel()), a.number("value", 0));
      for (size_t i = 0; i < x.size(); ++i) {
        int64_t at = 0, step = 1, rest = int64_t(i);
        for (int64_t d = shape.size() - 1; d >= 0; step *= shape[d], rest /= in[0].size(d--))
          at += (rest % in[0].size(d) + widths[size_t(2 * d)]) * step;
        y[size_t(at)] = x[i];
      }
      return from_vector(y, shape, {.dtype = Dtype::f64});
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3})}, {{"widths", Widths{1, 0, 0, 2}}}, "different on each side"},
              {{m.normal({2, 3, 4, 5})}, {{"widths", Widths{0, 0, 0, 0, 0, 3, 0, 2}}}, "image to a multiple of 7"},
              {{m.normal({4})}, {{"widths", Widths{2, 2}}, {"value", -1.5}}, "another value"},
              {{m.normal({3, 197})}, {{"widths", Widths{0, 0, 0, 0}}}, "nothing"},
              {{m.normal({})}, {{"widths", Widths{}}}, "scalar"},
              {{m.normal({0, 3})}, {{"widths", Widths{1, 1, 0, 1}}}, "of an empty dim"},
              Sample({m.with_nan({2, 3})}, {{"widths", Widths{1, 1, 1, 1}}}, "NaN").values_only(),
              {{m.integers({2, 2}, -5, 5)}, {{"widths", Widths{1, 1, 1, 1}}, {"value", 7}}, "integers"}};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double out = 8. * 384 * 56 * 56, in = 8. * 384 * 50 * 50;
      return {Sample({m.normal({8, 384, 50, 50}).to(Dtype::f32)}, {{"widths", Widths{0, 0, 0, 0, 0, 6, 0, 6}}},
                     "feature map to whole windows")
                  .bench(0, 4 * (in + out))};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] {
                 ops::pad(x, {{1, 1}});
               },
               "pad: 1 pairs of widths for x [2, 3] f64 cpu"},
              {[x] {
                 ops::pad(x, {{0, 0}, {1, -1}});
               },
               "pad: negative width (1, -1) for dim 1 of x [2, 3] f64 cpu"},
              {[] { ops::pad(Tensor(), {}); }, "pad: x is undefined"}};
    },
    .composite = true});

}  // namespace
}  // namespace vitrine::testing
