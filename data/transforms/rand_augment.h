#pragma once
#include <array>
#include <string>
#include <vector>

#include "data/image/image.h"
#include "data/transforms/draws.h"

namespace vitrine::data {

/// How training resizes: always one way, or one of the two at random for each use.
enum class Interpolation { bilinear, bicubic, random };
/// "bilinear", "bicubic", "random".
std::string to_string(Interpolation interpolation);
/// @throws ValueError naming them
Interpolation parse_interpolation(const std::string& text);
/// The filter of one use; `random` takes one draw.
Filter draw_filter(Interpolation interpolation, Draws& draws);

/// RandAugment (Cubuk et al. 2020) as timm has it: each image goes through `ops` operations, drawn with replacement
/// from 15, each applied with probability 1/2 at a magnitude from N(magnitude, magnitude_std), clamped to [0, 10].
struct RandAugment {
  int magnitude = 10;
  double magnitude_std = 0;
  int ops = 2;
  bool weighted = false;    ///< w0: unequal probabilities (affine operations first), drawn without replacement
  bool increasing = false;  ///< inc1: more magnitude is more change in every operation

  /// Reads "rand-m9-mstd0.5-inc1": sections m<int>, n<int>, mstd<number>, w0, inc<0 or 1>, in any order. (timm takes
  /// "inc0" for inc1.) @throws ValueError naming what is wrong; NotImplemented for other policies of timm
  static RandAugment parse(const std::string& text);
};

/// The 15 operations, in timm's order.
enum class AugmentOp {
  auto_contrast,
  equalize,
  invert,
  rotate,
  posterize,
  solarize,
  solarize_add,
  color,
  contrast,
  brightness,
  sharpness,
  shear_x,
  shear_y,
  translate_x,
  translate_y
};
inline constexpr int kAugmentOps = 15;

/// What magnitude m in [0, 10] means to an operation: degrees, bits, threshold, summand, factor, shear, or part of the
/// side. `negate` picks one of the two directions of those that have them.
double augment_argument(AugmentOp op, double m, bool increasing, bool negate);

/// Applies one operation. @param fill  the colour of what comes from outside the image
void apply_augment_op(Image& image, AugmentOp op, double argument, Filter filter, const std::array<uint8_t, 3>& fill);

/// Applies the policy to an image. @param fill  the colour of what comes from outside the image
void rand_augment(Image& image, const RandAugment& policy, Interpolation interpolation,
                  const std::array<uint8_t, 3>& fill, Draws& draws);

}  // namespace vitrine::data
