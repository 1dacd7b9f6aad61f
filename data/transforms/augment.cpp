#include "data/transforms/augment.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/transforms/blur.h"
#include "data/transforms/color.h"

namespace vitrine::data {
namespace {

constexpr int kTries = 10;

void mirror(Image& image) {
  const int64_t c = image.channels;
  for (int64_t y = 0; y < image.height; ++y) {
    uint8_t* row = image.row(y);
    for (int64_t left = 0, right = image.width - 1; left < right; ++left, --right)
      std::swap_ranges(row + left * c, row + (left + 1) * c, row + right * c);
  }
}

void jitter(Image& image, double strength, Draws& draws) {
  void (*changes[])(Image&, double) = {adjust_brightness, adjust_contrast, adjust_color};
  for (int64_t n = 3; n > 0; --n) {
    std::swap(changes[draws.integer(n)], changes[n - 1]);
    changes[n - 1](image, draws.uniform(std::max(0.0, 1 - strength), 1 + strength));
  }
}

/// The image brought to the size that just covers the input's, 4 pixels mirrored around it, and the input cut out.
Image simple_crop(const Image& image, const Preprocessing& p, Draws& draws) {
  constexpr int64_t kMargin = 4;
  const ImageSize size = covering_size(image, p.height, p.width);
  const int64_t top = draws.integer(size.height + 2 * kMargin - p.height + 1) - kMargin;
  const int64_t left = draws.integer(size.width + 2 * kMargin - p.width + 1) - kMargin;
  return mirrored_crop(image, size, {top, left, p.height, p.width});
}

void three_augment(Image& image, Draws& draws) {
  constexpr int kThreshold = 128;
  constexpr double kLeast = 0.1, kMost = 2;
  switch (draws.integer(3)) {
    case 0:
      image = to_grey(image);
      break;
    case 1:
      solarize(image, kThreshold);
      break;
    default:
      gaussian_blur(image, draws.uniform(kLeast, kMost));
  }
}

/// Pixel i of an axis of n pixels that goes on mirrored at both ends.
int64_t mirrored(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1), at = (i % period + period) % period;
  return std::min(at, period - at);
}

/// The pixels start, start + 1, ... of such an axis, and the piece of it that they lie in.
struct Mirrored {
  std::vector<int64_t> at;  // from `first` on
  int64_t first = 0, count = 0;

  Mirrored(int64_t start, int64_t wanted, int64_t n) {
    for (int64_t i = 0; i < wanted; ++i) at.push_back(mirrored(start + i, n));
    const auto [low, high] = std::minmax_element(at.begin(), at.end());
    first = *low, count = *high - *low + 1;
    for (int64_t& i : at) i -= first;
  }
};

/// A box of `area` pixels, the logarithm of its height / width between `low` and `high`, sides rounded half to even.
Box draw_box(double area, double low, double high, Draws& draws) {
  const double r = std::exp(draws.uniform(low, high));
  return {.height = std::llrint(std::sqrt(area * r)), .width = std::llrint(std::sqrt(area / r))};
}

}  // namespace

std::string to_string(Erasing::Mode mode) {
  return mode == Erasing::Mode::pixel ? "pixel" : (mode == Erasing::Mode::colour ? "rand" : "const");
}

Erasing::Mode parse_erasing_mode(const std::string& text) {
  for (const Erasing::Mode mode : {Erasing::Mode::pixel, Erasing::Mode::colour, Erasing::Mode::zero})
    if (text == to_string(mode)) return mode;
  throw ValueError(format("erasing mode '{}'; there are pixel, rand, const", text));
}

void Augmentation::check_ranges() const {
  check<ValueError>(pad_crop >= 0 && pad_crop <= 4096, "augmentation: pad_crop is {}; it must be 0 to 4096", pad_crop);
  const auto interval = [](const char* what, const std::array<double, 2>& limits, double most) {
    check<ValueError>(0 < limits[0] && limits[0] <= limits[1] && limits[1] <= most,
                      "augmentation: the {} of crops is {} to {}; it must rise from above 0 to at most {}", what,
                      limits[0], limits[1], most);
  };
  interval("scale", scale, 1);
  interval("ratio", ratio, 100);
  check<ValueError>(int(resized_crop) + int(simple_crop) + int(pad_crop > 0) <= 1,
                    "augmentation: one of resized_crop, simple_crop and pad_crop, not several");
  check<ValueError>(!three_augment || !policy, "augmentation: 3-Augment takes the place of a policy; give one of them");
  check<ValueError>(color_jitter >= 0 && color_jitter <= 10, "augmentation: color_jitter is {}; it must be 0 to 10",
                    color_jitter);
  check<ValueError>(erasing.probability >= 0 && erasing.probability <= 1,
                    "augmentation: the probability of erasing is {}; it must be 0 to 1", erasing.probability);
  check<ValueError>(erasing.count >= 1 && erasing.count <= 100, "augmentation: {} boxes to erase; it must be 1 to 100",
                    erasing.count);
}

Box draw_resized_crop(int64_t height, int64_t width, const Augmentation& a, Draws& draws) {
  const auto [narrowest, widest] = a.ratio;
  for (int i = 0; i < kTries; ++i) {
    const double area = draws.uniform(a.scale[0], a.scale[1]) * double(height * width);
    Box box = draw_box(area, -std::log(widest), -std::log(narrowest), draws);
    if (box.height < 1 || box.width < 1 || box.height > height || box.width > width) continue;
    box.top = draws.integer(height - box.height + 1), box.left = draws.integer(width - box.width + 1);
    return box;
  }
  Box box{.height = height, .width = width};
  const double ratio = double(width) / double(height);
  if (ratio < narrowest) box.height = std::clamp<int64_t>(std::llrint(double(width) / narrowest), 1, height);
  if (ratio > widest) box.width = std::clamp<int64_t>(std::llrint(double(height) * widest), 1, width);
  box.top = (height - box.height) / 2, box.left = (width - box.width) / 2;
  return box;
}

Image mirrored_crop(const Image& image, const ImageSize& size, const Box& box) {
  const Mirrored rows(box.top, box.height, size.height), columns(box.left, box.width, size.width);
  // Of a very long image only the part that is wanted is ever made.
  const Image part = resample(image, {0, 0, image.height, image.width}, size.height, size.width,
                              {rows.first, columns.first, rows.count, columns.count}, Filter::bicubic);
  Image out{box.height, box.width, image.channels, {}};
  out.pixels.reserve(size_t(box.height * box.width * image.channels));
  for (const int64_t y : rows.at)
    for (const int64_t x : columns.at) {
      const uint8_t* p = part.row(y) + x * image.channels;
      out.pixels.insert(out.pixels.end(), p, p + image.channels);
    }
  return out;
}

Image augment(const Image& image, const Augmentation& a, const Preprocessing& p, Draws& draws) {
  const bool flip = draws.bits() >> 31 && a.flip;
  Image out;
  if (a.resized_crop) {
    const Box part = draw_resized_crop(image.height, image.width, a, draws);
    const Filter filter = draw_filter(a.interpolation, draws);
    out = resample(p.grey && image.channels == 3 ? to_grey(image) : image, part, p.height, p.width,
                   {0, 0, p.height, p.width}, filter);
  } else if (a.simple_crop) {
    out = simple_crop(p.grey && image.channels == 3 ? to_grey(image) : image, p, draws);
  } else {
    out = image.height == p.height && image.width == p.width && !p.grey ? image : evaluation_image(image, p);
  }
  if (a.pad_crop > 0) {
    const int64_t places = 2 * a.pad_crop + 1;
    const int64_t top = draws.integer(places) - a.pad_crop, left = draws.integer(places) - a.pad_crop;
    out = crop(out, {top, left, p.height, p.width});
  }
  if (flip) mirror(out);
  if (a.three_augment) three_augment(out, draws);
  if (a.policy) {
    std::array<uint8_t, 3> mean;
    for (size_t c = 0; c < 3; ++c) mean[c] = uint8_t(std::lrint(std::clamp(255 * p.mean[c], 0.0, 255.0)));
    rand_augment(out, *a.policy, a.interpolation, mean, draws);
  } else if (a.color_jitter > 0) {
    jitter(out, a.color_jitter, draws);
  }
  return out;
}

void erase(float* input, int64_t height, int64_t width, const Erasing& erasing, Draws& draws) {
  constexpr double kSmallest = 0.02, kLargest = 1.0 / 3.0, kRatio = 1 / 0.3;
  if (!draws.chance(erasing.probability)) return;
  const int64_t boxes = 1 + draws.integer(erasing.count);
  for (int64_t n = 0; n < boxes; ++n) {
    for (int i = 0; i < kTries; ++i) {
      const double area = draws.uniform(kSmallest, kLargest) * double(height * width) / double(boxes);
      Box box = draw_box(area, -std::log(kRatio), std::log(kRatio), draws);
      if (box.height >= height || box.width >= width) continue;
      box.top = draws.integer(height - box.height + 1), box.left = draws.integer(width - box.width + 1);
      for (int64_t c = 0; c < 3; ++c) {
        const float colour = erasing.mode == Erasing::Mode::colour ? float(draws.normal()) : 0;
        for (int64_t y = box.top; y < box.top + box.height; ++y) {
          float* row = input + (c * height + y) * width + box.left;
          if (erasing.mode == Erasing::Mode::pixel)
            draws.normal(row, box.width);
          else
            std::fill_n(row, box.width, colour);
        }
      }
      break;
    }
  }
}

}  // namespace vitrine::data
