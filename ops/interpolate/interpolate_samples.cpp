#include <algorithm>
#include <cmath>

#include "ops/concat/concat.h"
#include "ops/interpolate/interpolate.h"
#include "ops/linear/linear.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

Outputs by_size(const Inputs& in, const Attributes& a) {
  return ops::interpolate(in[0], a.integer("height"), a.integer("width"), ops::parse_interpolation(a.text("mode")),
                          a.flag("antialias", false));
}
Outputs by_scale(const Inputs& in, const Attributes& a) {
  return ops::interpolate_scale(in[0], a.number("scale_h"), a.number("scale_w"),
                                ops::parse_interpolation(a.text("mode")), a.flag("antialias", false));
}
using Long = long double;  // the polynomials as written lose digits, which a yardstick must not

Long kernel(bool cubic, Long d, Long a) {
  d = std::abs(d);
  if (!cubic) return d < 1 ? 1 - d : 0;
  if (d <= 1) return (a + 2) * d * d * d - (a + 3) * d * d + 1;
  return d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a : 0;
}
/// One axis as a dense matrix [out, in]: every input's weight in every output.
Tensor axis_matrix(int64_t in, int64_t out, double step, bool cubic, bool antialias) {
  std::vector<double> matrix;
  for (int64_t o = 0; o < out; ++o) {
    std::vector<Long> row(static_cast<size_t>(in));
    const Long centre = Long(step) * (Long(o) + 0.5L), widen = antialias ? std::max(1.0, step) : 1;
    for (int64_t i = antialias ? 0 : -4; i < (antialias ? in : in + 4); ++i)
      row[size_t(std::clamp<int64_t>(i, 0, in - 1))] +=
          kernel(cubic, (Long(i) + 0.5L - centre) / widen, antialias ? -0.5L : -0.75L);
    Long sum = 0;
    for (Long w : row) sum += w;
    for (Long w : row) matrix.push_back(double(w / sum));
  }
  return from_vector(matrix, {out, in}, {.dtype = Dtype::f64});
}
Outputs plain(const Inputs& in, const Attributes& a, int64_t height, int64_t width, double step_h, double step_w) {
  const bool cubic = a.text("mode") == "bicubic", antialias = a.flag("antialias", false);
  const Tensor &x = in[0], rows = axis_matrix(x.size(2), height, step_h, cubic, antialias);
  const Tensor columns = axis_matrix(x.size(3), width, step_w, cubic, antialias);
  return ops::linear(ops::linear(x.transpose(2, 3), rows).transpose(2, 3), columns);
}

Attributes to(int64_t height, int64_t width, const char* mode, bool antialias = false) {
  return {{"height", height}, {"width", width}, {"mode", mode}, {"antialias", antialias}};
}

const Register by_size_spec(OpSpec{
    .name = "interpolate",
    .arguments = {"x"},
    .call = by_size,
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      const int64_t h = a.integer("height"), w = a.integer("width");
      return plain(in, a, h, w, double(in[0].size(2)) / double(h), double(in[0].size(3)) / double(w));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({2, 3, 4, 5})}, to(7, 9, "bilinear"), "bilinear, larger").reduces(4),
              Sample({m.normal({2, 3, 7, 5})}, to(3, 2, "bilinear"), "bilinear, smaller").reduces(4),
              Sample({m.normal({2, 1, 4, 5})}, to(7, 9, "bicubic"), "bicubic, larger").reduces(16),
              Sample({m.normal({1, 2, 9, 7})}, to(4, 3, "bicubic"), "bicubic, smaller").reduces(16),
              Sample({m.normal({1, 2, 14, 14})}, to(24, 24, "bicubic"), "position embedding 14 to 24").reduces(16),
              Sample({m.normal({1, 2, 9, 11})}, to(4, 3, "bilinear", true), "bilinear, antialias").reduces(48),
              Sample({m.normal({1, 2, 9, 11})}, to(4, 3, "bicubic", true), "bicubic, antialias").reduces(160),
              Sample({m.normal({1, 2, 4, 3})}, to(9, 5, "bicubic", true), "bicubic, antialias, larger").reduces(16),
              Sample({m.normal({2, 2, 3, 4})}, to(3, 4, "bicubic"), "same size").reduces(16),
              Sample({m.normal({2, 2, 1, 1})}, to(3, 2, "bicubic"), "one pixel").reduces(16),
              Sample({m.normal({1, 1, 3, 80})}, to(2, 160, "bilinear"), "rows longer than 64").reduces(4),
              Sample({m.normal({1, 1, 2, 4})}, to(3, 197, "bicubic"), "many columns").reduces(16),
              Sample({m.normal({0, 3, 4, 4})}, to(2, 2, "bilinear"), "no images"),
              Sample({ops::concat({full({1, 1, 4, 5}, NAN, {.dtype = Dtype::f64}), m.normal({1, 1, 4, 5})}, 1)},
                     to(7, 3, "bicubic"), "NaN in one channel")
                  .reduces(16)
                  .values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double bytes = 4. * 384 * (14 * 14 + 24 * 24), flops = 8. * 384 * 24 * (14 + 24);
      return {Sample({m.normal({1, 384, 14, 14})}, to(24, 24, "bicubic"), "14 to 24, C 384").bench(flops, bytes)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({1, 2, 3, 4}), flat = m.normal({3, 4}), none = m.normal({1, 2, 0, 4});
      const Tensor ids = m.integers({1, 2, 3, 4}, 0, 2);
      return {{[ids] { ops::interpolate(ids, 2, 2); }, "interpolate: x must be floating, got [1, 2, 3, 4] i64 cpu"},
              {[flat] { ops::interpolate(flat, 2, 2); }, "interpolate: x must be [B, C, H, W], got [3, 4] f64 cpu"},
              {[none] { ops::interpolate(none, 2, 2); }, "interpolate: x [1, 2, 0, 4] f64 cpu has no pixels"},
              {[x] { ops::interpolate(x, 0, 2); }, "interpolate: cannot resize x [1, 2, 3, 4] f64 cpu to 0 x 2"},
              {[] { ops::parse_interpolation("area"); }, "interpolation must be bilinear or bicubic, got area"}};
    }});

const Register by_scale_spec(OpSpec{
    .name = "interpolate_scale",
    .arguments = {"x"},
    .call = by_scale,
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      const double h = a.number("scale_h"), w = a.number("scale_w");
      return plain(in, a, int64_t(double(in[0].size(2)) * h), int64_t(double(in[0].size(3)) * w), 1 / h, 1 / w);
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      const auto scaled = [](double h, double w, const char* mode) {
        return Attributes{{"scale_h", h}, {"scale_w", w}, {"mode", mode}};
      };
      return {Sample({m.normal({1, 2, 5, 4})}, scaled(1.7, 2.3, "bicubic"), "bicubic").reduces(16),
              Sample({m.normal({2, 1, 9, 7})}, scaled(0.45, 0.6, "bilinear"), "bilinear, smaller").reduces(4),
              Sample({m.normal({1, 0, 5, 4})}, scaled(2, 2, "bilinear"), "no channels")};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({1, 2, 3, 4});
      return {{[x] { ops::interpolate_scale(x, 0, 2); }, "interpolate_scale: scales must be positive, got 0 and 2"},
              {[x] { ops::interpolate_scale(x, 0.1, 2); },
               "interpolate_scale: cannot resize x [1, 2, 3, 4] f64 cpu to 0 x 8"}};
    }});

}  // namespace
}  // namespace vitrine::testing
