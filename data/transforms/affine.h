#pragma once
#include <array>

#include "data/image/image.h"

namespace vitrine::data {

/// The place (a (x + 1/2) + b (y + 1/2) + c, d (x + 1/2) + e (y + 1/2) + f) of the image becomes the pixel (x, y).
struct Affine {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
};

/// Counter-clockwise about the middle of an image of that size. Entries are rounded to 15 digits, as Pillow does.
Affine rotation(double degrees, int64_t height, int64_t width);

/// Pillow's affine transform, bit for bit: an image of the same size whose pixels are interpolated in f64 from 2 x 2
/// neighbours (bilinear) or 4 x 4 (cubic convolution, a = -1; resize_image has another a), the border repeated, clamped
/// and truncated. Places outside the image give `fill`.
/// @throws ValueError unless the image has 1 or 3 channels and a pixel
Image transform(const Image& image, const Affine& affine, Filter filter, const std::array<uint8_t, 3>& fill);

}  // namespace vitrine::data
