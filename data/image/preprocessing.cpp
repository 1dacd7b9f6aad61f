#include "data/image/preprocessing.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/image/image_checks.h"

namespace vitrine::data {

PixelTable::PixelTable(const Preprocessing& preprocessing) {
  for (size_t c = 0; c < 3; ++c) {
    const double mean = preprocessing.mean[c], std = preprocessing.std[c];
    check<ValueError>(std::isfinite(mean) && std::isfinite(std) && std > 0,
                      "preprocessing: channel {} has mean {} and std {}; std must be positive, both finite", c, mean,
                      std);
    for (size_t v = 0; v < 256; ++v) values_[c][v] = float((double(v) / 255 - mean) / std);
  }
}

ImageSize covering_size(const Image& image, int64_t height, int64_t width) {
  const bool tall = image.height * width > image.width * height;
  return {.height = tall ? width * image.height / image.width : height,
          .width = tall ? width : height * image.width / image.height};
}

Image evaluation_image(const Image& image, const Preprocessing& p) {
  check_image("evaluation_image", image);
  check_target("evaluation_image", p.height, p.width);
  check<ValueError>(p.crop >= kSmallestCrop && p.crop <= 1, "evaluation_image: crop is {}; it must be in [{}, 1]",
                    p.crop, kSmallestCrop);
  const auto covered = [&](int64_t side) { return int64_t(double(side) / p.crop); };
  const auto [height, width] = covering_size(image, covered(p.height), covered(p.width));
  const auto middle = [](int64_t size, int64_t part) { return std::llrint(double(size - part) / 2); };
  const Box part{middle(height, p.height), middle(width, p.width), p.height, p.width};
  const Box whole{0, 0, image.height, image.width};
  // Of a very long image only the part that is wanted is ever made.
  if (p.grey && image.channels == 3) return resample(to_grey(image), whole, height, width, part, Filter::bicubic);
  return resample(image, whole, height, width, part, Filter::bicubic);
}

void to_planes(const Image& image, const PixelTable& table, float* out) {
  const int64_t pixels = image.height * image.width, step = image.channels;
  for (int64_t c = 0; c < 3; ++c) {
    const uint8_t* from = image.pixels.data() + (step == 1 ? 0 : c);
    const float* values = table.channel(c);
    for (int64_t i = 0; i < pixels; ++i) out[c * pixels + i] = values[from[i * step]];
  }
}

}  // namespace vitrine::data
