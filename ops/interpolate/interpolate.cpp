#include "ops/interpolate/interpolate.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "ops/interpolate/interpolate_kernels.h"

namespace vitrine::ops {

std::string to_string(Interpolation mode) { return mode == Interpolation::bilinear ? "bilinear" : "bicubic"; }
Interpolation parse_interpolation(const std::string& text) {
  for (Interpolation mode : {Interpolation::bilinear, Interpolation::bicubic})
    if (text == to_string(mode)) return mode;
  throw ValueError(format("interpolation must be bilinear or bicubic, got {}", text));
}

namespace {

/// The inputs start, start + 1, ... of one output, and their weights.
struct Window {
  int64_t start = 0;
  std::vector<double> weights;
  /// Adds `weight` to input `i`; inputs arrive in ascending order, some more than once.
  void add(int64_t i, double weight) {
    if (weights.empty()) start = i;
    if (i - start == int64_t(weights.size())) weights.push_back(0);
    weights[size_t(i - start)] += weight;
  }
};

/// The kernels of interpolate.h; the cubics in factors, which lose no digits near their zeros at 1 and 2.
double kernel(Interpolation mode, double distance, double a) {
  const double d = std::abs(distance);
  if (mode == Interpolation::bilinear) return std::max(0.0, 1 - d);
  if (d <= 1) return (d - 1) * (((a + 2) * d - 1) * d - 1);
  return d < 2 ? a * (d - 1) * (d - 2) * (d - 2) : 0;
}

struct Axis {
  int64_t in, out;
  double step;  ///< inputs per output

  Window window(int64_t o, Interpolation mode, bool antialias) const {
    Window w;
    const double centre = step * (double(o) + 0.5);
    const double reach = mode == Interpolation::bilinear ? 1 : 2;
    const auto clamped = [&](int64_t i) { return std::clamp<int64_t>(i, 0, in - 1); };
    if (!antialias) {
      const double at = mode == Interpolation::bilinear ? std::clamp(centre - 0.5, 0.0, double(in - 1)) : centre - 0.5;
      const int64_t nearest = int64_t(std::floor(at)), side = int64_t(reach);
      for (int64_t i = nearest - side + 1; i <= nearest + side; ++i)
        w.add(clamped(i), kernel(mode, double(i) - at, -0.75));
      return w;
    }
    const double widen = std::max(1.0, step), support = reach * widen;
    const int64_t first = std::max<int64_t>(0, int64_t(centre - support + 0.5));
    const int64_t last = std::min<int64_t>(in, int64_t(centre + support + 0.5));
    double total = 0;
    for (int64_t i = first; i < last; ++i) total += kernel(mode, (double(i) + 0.5 - centre) / widen, -0.5);
    for (int64_t i = first; i < last; ++i) w.add(i, kernel(mode, (double(i) + 0.5 - centre) / widen, -0.5) / total);
    return w;
  }
};

/// Windows move forward with their output, so the outputs that use one input are neighbours too.
std::vector<Window> transposed(const std::vector<Window>& windows, int64_t in) {
  std::vector<Window> result(static_cast<size_t>(in));
  for (size_t o = 0; o < windows.size(); ++o)
    for (size_t k = 0; k < windows[o].weights.size(); ++k)
      result[size_t(windows[o].start) + k].add(int64_t(o), windows[o].weights[k]);
  return result;
}

AxisTable table_of(const std::vector<Window>& windows, const TensorOptions& sums) {
  std::vector<int32_t> starts, offsets{0};
  std::vector<double> weights;
  for (const Window& w : windows) {
    starts.push_back(int32_t(w.start));
    weights.insert(weights.end(), w.weights.begin(), w.weights.end());
    offsets.push_back(int32_t(weights.size()));
  }
  return {from_data<int32_t>(starts, {int64_t(starts.size())}).to(sums.device),
          from_data<int32_t>(offsets, {int64_t(offsets.size())}).to(sums.device),
          from_vector(weights, {int64_t(weights.size())}, sums)};
}

struct Interpolate {
  static constexpr const char* name = "interpolate";
  Axis vertical, horizontal;
  Interpolation mode;
  bool antialias;
  Attributes attributes() const {
    return {{"height", vertical.out}, {"width", horizontal.out}, {"mode", to_string(mode)}, {"antialias", antialias}};
  }

  AxisTable table(const Axis& axis, bool backward, const TensorOptions& sums) const {
    std::vector<Window> windows;
    for (int64_t o = 0; o < axis.out; ++o) windows.push_back(axis.window(o, mode, antialias));
    return table_of(backward ? transposed(windows, axis.in) : windows, sums);
  }
  static TensorOptions sums(const Tensor& x) {
    return {.dtype = x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32, .device = x.device()};
  }

  Tensor forward(Saver&, const Tensor& x) const {
    const int64_t images = x.size(0) * x.size(1);
    Tensor half = empty({images, vertical.out, horizontal.in}, sums(x));
    Tensor y = empty({x.size(0), x.size(1), vertical.out, horizontal.out}, x.options());
    Tensor rows = y.view({images * vertical.out, horizontal.out, 1});
    resample_axis(x.contiguous().view({images, vertical.in, horizontal.in}), table(vertical, false, sums(x)), half);
    resample_axis(half.view({images * vertical.out, horizontal.in, 1}), table(horizontal, false, sums(x)), rows);
    return y;
  }
  // The transposed sums, in reverse order.
  Gradients vjp(const Saved&, const Tensor& dy) const {
    const int64_t images = dy.size(0) * dy.size(1);
    Tensor half = empty({images * vertical.out, horizontal.in, 1}, sums(dy));
    Tensor dx = empty({dy.size(0), dy.size(1), vertical.in, horizontal.in}, dy.options());
    Tensor planes = dx.view({images, vertical.in, horizontal.in});
    resample_axis(dy.contiguous().view({images * vertical.out, horizontal.out, 1}), table(horizontal, true, sums(dy)),
                  half);
    resample_axis(half.view({images, vertical.out, horizontal.in}), table(vertical, true, sums(dy)), planes);
    return {dx};
  }
};

void check_image(const char* op, const Tensor& x) {
  check_floating(op, "x", x);
  check(x.dim() == 4, "{}: x must be [B, C, H, W], got {}", op, x);
  check(x.size(2) >= 1 && x.size(3) >= 1, "{}: x {} has no pixels", op, x);
}

Tensor run(const char* op, const Tensor& x, Axis vertical, Axis horizontal, Interpolation mode, bool antialias) {
  check(vertical.out >= 1 && horizontal.out >= 1, "{}: cannot resize x {} to {} x {}", op, x, vertical.out,
        horizontal.out);
  return apply(Interpolate{.vertical = vertical, .horizontal = horizontal, .mode = mode, .antialias = antialias}, x);
}

}  // namespace

Tensor interpolate(const Tensor& x, int64_t height, int64_t width, Interpolation mode, bool antialias) {
  check_image("interpolate", x);
  const int64_t h = x.size(2), w = x.size(3);
  return run("interpolate", x, {h, height, double(h) / double(height)}, {w, width, double(w) / double(width)}, mode,
             antialias);
}

Tensor interpolate_scale(const Tensor& x, double scale_h, double scale_w, Interpolation mode, bool antialias) {
  check_image("interpolate_scale", x);
  check<ValueError>(scale_h > 0 && scale_w > 0, "interpolate_scale: scales must be positive, got {} and {}", scale_h,
                    scale_w);
  const int64_t h = x.size(2), w = x.size(3);
  return run("interpolate_scale", x, {h, int64_t(std::floor(double(h) * scale_h)), 1 / scale_h},
             {w, int64_t(std::floor(double(w) * scale_w)), 1 / scale_w}, mode, antialias);
}

}  // namespace vitrine::ops
