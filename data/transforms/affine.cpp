#include "data/transforms/affine.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numbers>

#include "data/image/image_checks.h"

// Compiled without contraction of a * b + c (CMakeLists.txt): a truncated result would now and then be another one.

namespace vitrine::data {
namespace {

/// Interpolates between n values at t in [0, 1), t counted from the one before the middle.
template <Filter filter>
struct Kernel;

template <>
struct Kernel<Filter::bilinear> {
  static constexpr int taps = 2, before = 0;
  static double at(const double* v, double t) { return v[0] + (v[1] - v[0]) * t; }
};

template <>
struct Kernel<Filter::bicubic> {
  static constexpr int taps = 4, before = 1;
  static double at(const double* v, double t) {
    const double p1 = v[1], p2 = v[2] - v[0], p3 = 2 * (v[0] - v[1]) + v[2] - v[3], p4 = -v[0] + v[1] - v[2] + v[3];
    return p1 + t * (p2 + t * (p3 + t * p4));
  }
};

/// Pixel (x, y), both already moved by half a pixel.
template <Filter filter, int C>
void interpolate(const Image& image, double x, double y, uint8_t* out) {
  using K = Kernel<filter>;
  const double left = std::floor(x), top = std::floor(y), dx = x - left, dy = y - top;
  int64_t columns[K::taps];
  const uint8_t* rows[K::taps];
  for (int k = 0; k < K::taps; ++k) {
    columns[k] = C * std::clamp<int64_t>(int64_t(left) + k - K::before, 0, image.width - 1);
    rows[k] = image.row(std::clamp<int64_t>(int64_t(top) + k - K::before, 0, image.height - 1));
  }
  for (int c = 0; c < C; ++c) {
    const auto along_row = [&](const uint8_t* row) {
      if (dx == 0) return double(row[columns[K::before] + c]);  // what the polynomial gives, exactly
      double v[K::taps];
      for (int k = 0; k < K::taps; ++k) v[k] = row[columns[k] + c];
      return K::at(v, dx);
    };
    double value;
    if (dy == 0) {
      value = along_row(rows[K::before]);
    } else {
      double v[K::taps];
      for (int k = 0; k < K::taps; ++k) v[k] = along_row(rows[k]);
      value = K::at(v, dy);
    }
    out[c] = uint8_t(std::clamp(value, 0.0, 255.0));
  }
}

template <Filter filter, int C>
void run(const Image& image, const Affine& m, Image& out) {
  for (int64_t y = 0; y < out.height; ++y) {
    uint8_t* row = out.row(y);
    for (int64_t x = 0; x < out.width; ++x) {
      const double px = double(x) + 0.5, py = double(y) + 0.5;
      const double from_x = m.a * px + m.b * py + m.c, from_y = m.d * px + m.e * py + m.f;
      if (from_x >= 0 && from_x < double(image.width) && from_y >= 0 && from_y < double(image.height))
        interpolate<filter, C>(image, from_x - 0.5, from_y - 0.5, row + C * x);
    }
  }
}

}  // namespace

Affine rotation(double degrees, int64_t height, int64_t width) {
  // In [0, 360), and rounded in decimal: either way otherwise gives another 15th digit now and then.
  double turn = std::fmod(degrees, 360.0);
  if (turn < 0) turn += 360;
  const double phi = -(turn * (std::numbers::pi / 180));
  const auto rounded = [](double v) {
    char text[32];
    std::snprintf(text, sizeof text, "%.15f", v);
    return std::strtod(text, nullptr);
  };
  Affine m = {.a = rounded(std::cos(phi)),
              .b = rounded(std::sin(phi)),
              .d = rounded(-std::sin(phi)),
              .e = rounded(std::cos(phi))};
  const double x = double(width) / 2, y = double(height) / 2;
  m.c = m.a * -x + m.b * -y + x;
  m.f = m.d * -x + m.e * -y + y;
  return m;
}

Image transform(const Image& image, const Affine& affine, Filter filter, const std::array<uint8_t, 3>& fill) {
  check_image("transform", image);
  Image out = image;
  const size_t channels = size_t(image.channels);
  for (size_t i = 0; i < out.pixels.size(); ++i) out.pixels[i] = fill[i % channels];
  if (filter == Filter::bicubic)
    channels == 3 ? run<Filter::bicubic, 3>(image, affine, out) : run<Filter::bicubic, 1>(image, affine, out);
  else
    channels == 3 ? run<Filter::bilinear, 3>(image, affine, out) : run<Filter::bilinear, 1>(image, affine, out);
  return out;
}

}  // namespace vitrine::data
