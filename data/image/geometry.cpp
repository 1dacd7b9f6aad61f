#include <algorithm>
#include <cmath>

#include "data/image/image.h"
#include "data/image/image_checks.h"

namespace vitrine::data {
namespace {

constexpr int kFraction = 22;  // bits behind the point of a weight: 8 of the pixel and 2 spare ones are left of 32

double cubic(double t) {
  constexpr double a = -0.5;
  t = std::abs(t);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/// The inputs [first, first + weights) of one output along an axis, and what each counts.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

std::vector<Taps> make_taps(int64_t in, int64_t out) {
  const double scale = double(in) / double(out), wider = std::max(scale, 1.0), support = 2 * wider;
  std::vector<Taps> all(static_cast<size_t>(out));
  for (int64_t x = 0; x < out; ++x) {
    const double center = (double(x) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, int64_t(center - support + 0.5));
    const int64_t last = std::min(in, int64_t(center + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int64_t i = first; i < last; ++i) {
      weights.push_back(cubic((double(i) - center + 0.5) * (1 / wider)));
      sum += weights.back();
    }
    Taps& taps = all[size_t(x)];
    taps.first = first;
    for (const double w : weights) taps.weights.push_back(int32_t(std::round(w / sum * (1 << kFraction))));
  }
  return all;
}

uint8_t rounded(int32_t sum) { return uint8_t(std::clamp(sum >> kFraction, 0, 255)); }

Image resize_columns(const Image& image, int64_t width) {
  const std::vector<Taps> all = make_taps(image.width, width);
  const int64_t c = image.channels;
  Image out{image.height, width, c, std::vector<uint8_t>(size_t(image.height * width * c))};
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* in = image.row(y);
    uint8_t* to = out.row(y);
    for (int64_t x = 0; x < width; ++x) {
      const Taps& taps = all[size_t(x)];
      for (int64_t k = 0; k < c; ++k) {
        const uint8_t* from = in + taps.first * c + k;
        int32_t sum = 1 << (kFraction - 1);
        for (size_t i = 0; i < taps.weights.size(); ++i) sum += taps.weights[i] * from[int64_t(i) * c];
        to[x * c + k] = rounded(sum);
      }
    }
  }
  return out;
}

Image resize_rows(const Image& image, int64_t height) {
  const std::vector<Taps> all = make_taps(image.height, height);
  const int64_t n = image.width * image.channels;
  Image out{height, image.width, image.channels, std::vector<uint8_t>(size_t(height * n))};
  std::vector<int32_t> sums(static_cast<size_t>(n));
  for (int64_t y = 0; y < height; ++y) {
    const Taps& taps = all[size_t(y)];
    std::fill(sums.begin(), sums.end(), 1 << (kFraction - 1));
    for (size_t i = 0; i < taps.weights.size(); ++i) {
      const uint8_t* in = image.row(taps.first + int64_t(i));
      const int32_t w = taps.weights[i];
      for (int64_t x = 0; x < n; ++x) sums[size_t(x)] += w * in[x];
    }
    std::transform(sums.begin(), sums.end(), out.row(y), rounded);
  }
  return out;
}

/// Where a crop of `wanted` starts on an axis of `size`; negative if it starts before the image.
int64_t crop_start(int64_t size, int64_t wanted) {
  return size >= wanted ? std::llrint(double(size - wanted) / 2) : -((wanted - size) / 2);
}

}  // namespace

Image to_grey(const Image& image) {
  check_image("to_grey", image);
  constexpr int32_t kRed = 19595, kGreen = 38470, kBlue = 7471, kHalf = 1 << 15;
  Image grey{image.height, image.width, 3, {}};
  grey.pixels.reserve(size_t(image.height * image.width * 3));
  for (const uint8_t* p = image.pixels.data(); p != image.pixels.data() + image.pixels.size(); p += image.channels) {
    const uint8_t luma = image.channels == 1 ? *p : uint8_t((p[0] * kRed + p[1] * kGreen + p[2] * kBlue + kHalf) >> 16);
    grey.pixels.insert(grey.pixels.end(), 3, luma);
  }
  return grey;
}

Image resize_image(const Image& image, int64_t height, int64_t width) {
  check_image("resize_image", image);
  check_target("resize_image", height, width);
  Image out = width == image.width ? image : resize_columns(image, width);
  return height == image.height ? out : resize_rows(out, height);
}

Image center_crop(const Image& image, int64_t height, int64_t width) {
  check_image("center_crop", image);
  check_target("center_crop", height, width);
  const int64_t top = crop_start(image.height, height), left = crop_start(image.width, width), c = image.channels;
  Image out{height, width, c, std::vector<uint8_t>(size_t(height * width * c))};
  const int64_t begin = std::max<int64_t>(left, 0), end = std::min(image.width, left + width);
  for (int64_t y = std::max<int64_t>(0, -top); y < height && top + y < image.height; ++y) {
    const uint8_t* in = image.row(top + y);
    std::copy(in + begin * c, in + end * c, out.row(y) + (begin - left) * c);
  }
  return out;
}

}  // namespace vitrine::data
