#pragma once
#include "data/image/image.h"

/// Changes of colour, those of Pillow bit for bit. Images have 1 or 3 channels and at least one pixel; all work in
/// place. L is the luma of data::to_grey. A factor f blends: base + f (image - base) in f32, clamped, truncated, so
/// that 0 gives the base and 1 the image.
namespace vitrine::data {

/// Blends with L.
void adjust_color(Image& image, double factor);
/// Blends with the mean of L over the image, rounded.
void adjust_contrast(Image& image, double factor);
/// Blends with black.
void adjust_brightness(Image& image, double factor);
/// Blends with the image smoothed by a 3 x 3 kernel of ones around a 5, over 13; the border is left as it is.
void adjust_sharpness(Image& image, double factor);

/// Stretches each channel so that its lowest value becomes 0 and its highest 255.
void autocontrast(Image& image);
/// Maps each channel so that its histogram becomes flat.
void equalize(Image& image);
/// 255 - v
void invert(Image& image);
/// Keeps the `bits` high bits of each value. @param bits  in [0, 8]
void posterize(Image& image, int bits);
/// 255 - v from `threshold` on. @param threshold  in [0, 256]
void solarize(Image& image, int threshold);
/// min(255, v + add) below 128. @param add  in [0, 255]
void solarize_add(Image& image, int add);

}  // namespace vitrine::data
