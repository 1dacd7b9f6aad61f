#include "data/transforms/affine.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numbers>

#include "data/image/image_checks.h"

// Compiled without contraction of a * b + c (CMakeLists.txt): a truncated result would now and then be another one.

namespace vitrine::data {
namespace {

// The channels of a pixel in one vector; images are spread to four numbers a pixel for that.
constexpr int64_t kLanes = 4;
using Lanes = double __attribute__((vector_size(kLanes * sizeof(double))));
using Ints = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

/// Interpolates between neighbours at t in [0, 1), counted from the one number `before`.
template <Filter filter>
struct Kernel;

template <>
struct Kernel<Filter::bilinear> {
  static constexpr int taps = 2, before = 0;
  static void at(const Lanes* v, double t, Lanes& out) { out = v[0] + (v[1] - v[0]) * t; }
};

template <>
struct Kernel<Filter::bicubic> {
  static constexpr int taps = 4, before = 1;
  static void at(const Lanes* v, double t, Lanes& out) {
    const Lanes p2 = v[2] - v[0], p3 = 2 * (v[0] - v[1]) + v[2] - v[3], p4 = -v[0] + v[1] - v[2] + v[3];
    out = v[1] + t * (p2 + t * (p3 + t * p4));
  }
};

struct Spread {
  int64_t height = 0, width = 0;
  std::vector<int32_t> pixels;  // [height, width, kLanes]

  explicit Spread(const Image& image)
      : height(image.height), width(image.width), pixels(size_t(height * width * kLanes)) {
    for (int64_t i = 0; i < height * width; ++i)
      for (int64_t c = 0; c < image.channels; ++c)
        pixels[size_t(i * kLanes + c)] = image.pixels[size_t(i * image.channels + c)];
  }
};

/// Pixel (x, y), both already moved by half a pixel.
template <Filter filter>
void interpolate(const Spread& image, double x, double y, Lanes& out) {
  using K = Kernel<filter>;
  const double left = std::floor(x), top = std::floor(y), dx = x - left, dy = y - top;
  int64_t columns[K::taps];
  for (int k = 0; k < K::taps; ++k)
    columns[k] = kLanes * std::clamp<int64_t>(int64_t(left) + k - K::before, 0, image.width - 1);
  // A fraction of 0 gives the value itself, exactly, so that shears and shifts need one direction only.
  const auto along_row = [&](int k, Lanes& value) {
    const int64_t line = std::clamp<int64_t>(int64_t(top) + k - K::before, 0, image.height - 1);
    const int32_t* row = image.pixels.data() + line * image.width * kLanes;
    const auto pixel = [&](int i) {
      Ints ints;
      std::memcpy(&ints, row + columns[i], sizeof ints);
      return ints;
    };
    if (dx == 0) {
      value = __builtin_convertvector(pixel(K::before), Lanes);
      return;
    }
    Lanes v[K::taps];
    for (int i = 0; i < K::taps; ++i) v[i] = __builtin_convertvector(pixel(i), Lanes);
    K::at(v, dx, value);
  };
  if (dy == 0) return along_row(K::before, out);
  Lanes v[K::taps];
  for (int k = 0; k < K::taps; ++k) along_row(k, v[k]);
  K::at(v, dy, out);
}

template <Filter filter>
void run(const Image& image, const Affine& m, Image& out) {
  const Spread from(image);
  for (int64_t y = 0; y < out.height; ++y) {
    uint8_t* row = out.row(y);
    for (int64_t x = 0; x < out.width; ++x) {
      const double px = double(x) + 0.5, py = double(y) + 0.5;
      const double from_x = m.a * px + m.b * py + m.c, from_y = m.d * px + m.e * py + m.f;
      if (from_x < 0 || from_x >= double(image.width) || from_y < 0 || from_y >= double(image.height)) continue;
      Lanes value;
      interpolate<filter>(from, from_x - 0.5, from_y - 0.5, value);
      for (int64_t c = 0; c < image.channels; ++c)
        row[x * image.channels + c] = uint8_t(std::clamp(value[c], 0.0, 255.0));
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
  filter == Filter::bicubic ? run<Filter::bicubic>(image, affine, out) : run<Filter::bilinear>(image, affine, out);
  return out;
}

}  // namespace vitrine::data
