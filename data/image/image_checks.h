#pragma once
#include "core/error.h"
#include "data/image/image.h"

/// Argument checks of this folder.
namespace vitrine::data {

/// A picture of 1 or 3 channels with a byte for each value. @throws ValueError that names `function`
inline void check_image(const char* function, const Image& image) {
  check<ValueError>(image.height > 0 && image.width > 0 && (image.channels == 1 || image.channels == 3) &&
                        int64_t(image.pixels.size()) == image.height * image.width * image.channels,
                    "{}: an image of height {}, width {} and {} channels with {} values; it needs 1 or 3 channels and "
                    "height * width * channels values, at least one",
                    function, image.height, image.width, image.channels, image.pixels.size());
}

/// A size to make: height and width in [1, 65536]. @throws ValueError that names `function`
inline void check_target(const char* function, int64_t height, int64_t width) {
  constexpr int64_t kLargest = 1 << 16;
  check<ValueError>(height >= 1 && width >= 1 && height <= kLargest && width <= kLargest,
                    "{}: height {} and width {} must be in [1, {}]", function, height, width, kLargest);
}

/// Before memory is asked for: whether a file's picture has pixels, and no more than allowed.
inline void check_pixels(const std::string& file, int64_t height, int64_t width, const ImageLimits& limits) {
  check<IoError>(height > 0 && width > 0 && height <= limits.pixels / width,
                 "{}: has {} x {} pixels, more than the limit of {}", file, width, height, limits.pixels);
}

}  // namespace vitrine::data
