#include "data/transforms/blur.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "data/image/image_checks.h"

// Compiled without contraction of a * b + c (CMakeLists.txt): the weights are Pillow's, from f32 arithmetic.

namespace vitrine::data {
namespace {

constexpr int kPasses = 3, kFraction = 24;

/// What a mean over 2 r + 1 pixels counts: `inner` for the `whole` next pixels on both sides and the middle, `outer`
/// for the two behind them, in units of 2^-24.
struct Weights {
  int64_t whole = 0;
  uint32_t inner = 0, outer = 0;
};

Weights weights_of(double radius) {
  const float sigma = float(radius), variance = sigma * sigma / float(kPasses);
  const auto length = float(std::sqrt(12.0 * double(variance) + 1.0));
  const auto whole = float(std::floor((double(length) - 1.0) / 2.0));
  float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  part /= 6 * (variance - (whole + 1) * (whole + 1));
  const float r = whole + part;
  Weights w;
  w.whole = int64_t(r);
  w.inner = uint32_t(float(1 << kFraction) / (r * 2 + 1));
  w.outer = ((1U << kFraction) - uint32_t(2 * w.whole + 1) * w.inner) / 2;
  return w;
}

/// One mean along the line `in`, to values that lie `step` apart.
void mean_of_line(const std::vector<uint8_t>& in, uint8_t* out, int64_t step, const Weights& w) {
  const auto n = int64_t(in.size());
  const auto at = [&](int64_t i) -> uint32_t { return in[size_t(std::clamp<int64_t>(i, 0, n - 1))]; };
  uint32_t sum = 0;
  for (int64_t i = -w.whole; i <= w.whole; ++i) sum += at(i);
  for (int64_t x = 0; x < n; ++x) {
    const uint32_t mean = sum * w.inner + (at(x - w.whole - 1) + at(x + w.whole + 1)) * w.outer;
    out[x * step] = uint8_t((mean + (1U << (kFraction - 1))) >> kFraction);
    sum += at(x + w.whole + 1) - at(x - w.whole);
  }
}

/// All means along n values that lie `step` apart.
void blur_line(uint8_t* values, int64_t n, int64_t step, const Weights& w) {
  std::vector<uint8_t> line(static_cast<size_t>(n));
  for (int pass = 0; pass < kPasses; ++pass) {
    for (int64_t i = 0; i < n; ++i) line[size_t(i)] = values[i * step];
    mean_of_line(line, values, step, w);
  }
}

}  // namespace

void gaussian_blur(Image& image, double radius) {
  check_image("gaussian_blur", image);
  check<ValueError>(radius >= 0 && radius <= 1000, "gaussian_blur: the radius is {}; it must be 0 to 1000", radius);
  if (radius == 0) return;
  const Weights w = weights_of(radius);
  const int64_t c = image.channels, row = image.width * c;
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t k = 0; k < c; ++k) blur_line(image.row(y) + k, image.width, c, w);
  for (int64_t x = 0; x < row; ++x) blur_line(image.pixels.data() + x, image.height, row, w);
}

}  // namespace vitrine::data
