#include <algorithm>
#include <cmath>

#include "data/image/image.h"
#include "data/image/image_checks.h"

// Compiled without contraction of a * b + c (CMakeLists.txt): a weight would now and then be rounded to another one.

namespace vitrine::data {
namespace {

Image blank(int64_t height, int64_t width, int64_t channels) {
  return {height, width, channels, std::vector<uint8_t>(size_t(height * width * channels))};
}

constexpr int kFraction = 22;  // bits behind the point of a weight: 8 of the pixel and 2 spare ones are left of 32

double triangle(double t) { return std::max(0.0, 1 - std::abs(t)); }

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

/// Taps of the outputs [begin, begin + count) where `in` values become `out`.
std::vector<Taps> make_taps(int64_t in, int64_t out, int64_t begin, int64_t count, Filter filter) {
  const double scale = double(in) / double(out), wider = std::max(scale, 1.0);
  const double support = wider * (filter == Filter::bicubic ? 2 : 1);
  std::vector<Taps> all(static_cast<size_t>(count));
  std::vector<double> weights;
  for (int64_t x = 0; x < count; ++x) {
    const double center = (double(begin + x) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, int64_t(center - support + 0.5));
    const int64_t last = std::min(in, int64_t(center + support + 0.5));
    weights.clear();
    double sum = 0;
    for (int64_t i = first; i < last; ++i) {
      const double t = (double(i) - center + 0.5) * (1 / wider);
      weights.push_back(filter == Filter::bicubic ? cubic(t) : triangle(t));
      sum += weights.back();
    }
    Taps& taps = all[size_t(x)];
    taps.first = first;
    for (const double w : weights) taps.weights.push_back(int32_t(std::round(w / sum * (1 << kFraction))));
  }
  return all;
}

uint8_t rounded(int32_t sum) { return uint8_t(std::clamp(sum >> kFraction, 0, 255)); }

/// Every row of the part through the taps. Pixels stand in four places, so that one vector operation serves a tap.
Image resize_columns(const Image& image, const Box& from, const std::vector<Taps>& all) {
  constexpr int64_t kPlaces = 4;
  const int64_t c = image.channels;
  Image out = blank(from.height, int64_t(all.size()), c);
  std::vector<int32_t> row(static_cast<size_t>(kPlaces * from.width));
  for (int64_t y = 0; y < from.height; ++y) {
    const uint8_t* in = image.row(from.top + y) + from.left * c;
    for (int64_t x = 0; x < from.width; ++x)
      for (int64_t k = 0; k < c; ++k) row[size_t(kPlaces * x + k)] = in[x * c + k];
    uint8_t* to = out.row(y);
    for (const Taps& taps : all) {
      const int32_t* place = row.data() + kPlaces * taps.first;
      int32_t sums[kPlaces];
      for (int32_t& sum : sums) sum = 1 << (kFraction - 1);
      for (const int32_t w : taps.weights) {
        for (int64_t k = 0; k < kPlaces; ++k) sums[k] += w * place[k];
        place += kPlaces;
      }
      for (int64_t k = 0; k < c; ++k) *to++ = rounded(sums[k]);
    }
  }
  return out;
}

/// Every column; `top` is the row that the taps count from.
Image resize_rows(const Image& image, int64_t top, const std::vector<Taps>& all) {
  Image out = blank(int64_t(all.size()), image.width, image.channels);
  const int64_t n = image.width * image.channels;
  std::vector<int32_t> sums(static_cast<size_t>(n));
  for (int64_t y = 0; y < out.height; ++y) {
    const Taps& taps = all[size_t(y)];
    std::fill(sums.begin(), sums.end(), 1 << (kFraction - 1));
    for (size_t i = 0; i < taps.weights.size(); ++i) {
      const uint8_t* in = image.row(top + taps.first + int64_t(i));
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

Image resample(const Image& image, const Box& from, int64_t height, int64_t width, const Box& to, Filter filter) {
  check_image("resample", image);
  check_target("resample", to.height, to.width);
  const auto inside = [](const Box& box, int64_t h, int64_t w) {
    return box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0 && box.height <= h - box.top &&
           box.width <= w - box.left;
  };
  check<ValueError>(inside(from, image.height, image.width) && inside(to, height, width),
                    "resample: the part {} x {} at {}, {} of an image of {} x {}, or {} x {} at {}, {} of {} x {}, is "
                    "empty or reaches outside",
                    from.height, from.width, from.top, from.left, image.height, image.width, to.height, to.width,
                    to.top, to.left, height, width);
  // Columns first, but only of the rows that the second pass reads.
  Box rows = {.top = from.top + to.top, .left = from.left, .height = to.height, .width = from.width};
  std::vector<Taps> vertical;
  if (height != from.height) {
    vertical = make_taps(from.height, height, to.top, to.height, filter);
    rows.top = from.top + vertical.front().first;
    rows.height = vertical.back().first + int64_t(vertical.back().weights.size()) - vertical.front().first;
  }
  Image out;
  if (width != from.width) {
    out = resize_columns(image, rows, make_taps(from.width, width, to.left, to.width, filter));
  } else {
    out = crop(image, {rows.top, from.left + to.left, rows.height, to.width});
  }
  return vertical.empty() ? out : resize_rows(out, from.top - rows.top, vertical);
}

Image resize_image(const Image& image, int64_t height, int64_t width, Filter filter) {
  check_image("resize_image", image);
  check_target("resize_image", height, width);
  return resample(image, {0, 0, image.height, image.width}, height, width, {0, 0, height, width}, filter);
}

Image crop(const Image& image, const Box& box) {
  check_image("crop", image);
  check_target("crop", box.height, box.width);
  const int64_t c = image.channels;
  Image out = blank(box.height, box.width, c);
  const int64_t begin = std::max<int64_t>(box.left, 0), end = std::min(image.width, box.left + box.width);
  if (begin >= end) return out;
  for (int64_t y = std::max<int64_t>(0, -box.top); y < box.height && box.top + y < image.height; ++y) {
    const uint8_t* in = image.row(box.top + y);
    std::copy(in + begin * c, in + end * c, out.row(y) + (begin - box.left) * c);
  }
  return out;
}

Image center_crop(const Image& image, int64_t height, int64_t width) {
  check_image("center_crop", image);
  check_target("center_crop", height, width);
  return crop(image, {crop_start(image.height, height), crop_start(image.width, width), height, width});
}

}  // namespace vitrine::data
