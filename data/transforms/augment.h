#pragma once
#include <optional>

#include "data/image/preprocessing.h"
#include "data/transforms/rand_augment.h"

namespace vitrine::data {

/// Random erasing (Zhong et al. 2020): boxes of noise in the finished input.
struct Erasing {
  enum class Mode {
    pixel,   ///< N(0, 1) for every pixel and channel
    colour,  ///< N(0, 1) for every channel of a box
    zero
  };
  double probability = 0;
  Mode mode = Mode::pixel;
  int count = 1;  ///< at most so many boxes; the area is divided by the number drawn
};
/// "pixel", "rand", "const": timm's names.
std::string to_string(Erasing::Mode mode);
/// @throws ValueError naming them
Erasing::Mode parse_erasing_mode(const std::string& text);

/// Random changes of each image in each epoch: a crop, the mirror, a policy or colour jitter, erasing (deit 3.3). All
/// off: evaluation_image.
struct Augmentation {
  bool flip = false;     ///< mirror left and right with probability 1/2
  int64_t pad_crop = 0;  ///< add this many black pixels on every side, then cut out the old size at a random place
  /// Cuts out a random part and brings it to the input's size. Without it, images of the input's size stay whole and
  /// others become evaluation_image.
  bool resized_crop = false;
  /// Brings the shorter side to that of the input, mirrors 4 pixels around, and cuts out the input at a random place.
  bool simple_crop = false;
  std::array<double, 2> scale = {0.08, 1};         ///< of the part: least and most of the area
  std::array<double, 2> ratio = {3. / 4, 4. / 3};  ///< least and most of width to height
  std::optional<RandAugment> policy = {};
  /// 3-Augment of DeiT III (Touvron et al. 2022): one of grey, solarize from 128 and a Gaussian blur of radius
  /// [0.1, 2]; then colour jitter. In place of a policy.
  bool three_augment = false;
  /// j: brightness, contrast and colour by factors of [1 - j, 1 + j], in random order; not where there is a policy
  double color_jitter = 0;
  Interpolation interpolation = Interpolation::bicubic;
  Erasing erasing = {};

  /// @throws ValueError naming what is out of range
  void check_ranges() const;
};

/// The part of an image that the random resized crop takes: area and the logarithm of the ratio are uniform (up to 10
/// tries; then the largest part in the middle of a ratio within the limits).
Box draw_resized_crop(int64_t height, int64_t width, const Augmentation& augmentation, Draws& draws);

/// The box of the image resized to `size` (bicubic), which goes on mirrored at its borders, their pixels not repeated.
/// @throws ValueError as resample
Image mirrored_crop(const Image& image, const ImageSize& size, const Box& box);

/// An image of the input's size, ready for to_planes. @throws ValueError as evaluation_image
Image augment(const Image& image, const Augmentation& augmentation, const Preprocessing& preprocessing, Draws& draws);

/// Erases in an input [3, height, width].
void erase(float* input, int64_t height, int64_t width, const Erasing& erasing, Draws& draws);

}  // namespace vitrine::data
