#include "apps/classifier/image_input.h"

#include <algorithm>

namespace vitrine::apps {

Tensor image_input(const data::Image& image, const data::Preprocessing& p) {
  data::Image sized = image;
  if (image.height != p.height || image.width != p.width) {
    // As deit 3.8: the longer side is truncated, never below what is cut out.
    const bool tall = image.height * p.width > image.width * p.height;
    const int64_t height = tall ? std::max(p.height, p.width * image.height / image.width) : p.height;
    const int64_t width = tall ? p.width : std::max(p.width, p.height * image.width / image.height);
    sized = data::center_crop(data::resize_image(image, height, width), p.height, p.width);
  }
  if (p.grey) sized = data::to_grey(sized);
  const data::PixelTable table(p);
  Tensor x = empty({1, 3, p.height, p.width});
  float* out = x.mutable_data<float>();
  const int64_t pixels = p.height * p.width;
  for (int64_t c = 0; c < 3; ++c)
    for (int64_t i = 0; i < pixels; ++i) out[c * pixels + i] = table.channel(c)[sized.pixels[size_t(i * 3 + c)]];
  return x;
}

}  // namespace vitrine::apps
