#pragma once
#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/image/image.h"
#include "data/transforms/draws.h"

namespace vitrine::data {

/// Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) as timm has them.
struct Mixing {
  /// Who shares l and the rectangle: the whole group, nobody, the two images that are mixed with each other.
  enum class Mode { batch, elem, pair };
  double mixup = 0, cutmix = 0;  ///< alpha of Beta(alpha, alpha), from which l comes; 0: off
  /// CutMix with sides uniform between these parts of the image's, instead of sides that follow from l.
  std::optional<std::array<double, 2>> cutmix_minmax = {};
  double probability = 1;           ///< of mixing at all
  double switch_probability = 0.5;  ///< of CutMix where both are on
  Mode mode = Mode::batch;
  /// Images that draw together, even. A run of several processes draws once in each: 64 is the batch of one process of
  /// the published DeiT, 128 that of iRPE.
  int64_t group = 64;
  double label_smoothing = 0;
  int64_t classes = 0;  ///< length of a target

  bool enabled() const { return mixup > 0 || cutmix > 0 || cutmix_minmax; }
  /// @throws ValueError naming what is out of range
  void check_ranges() const;
};
/// "batch", "elem", "pair".
std::string to_string(Mixing::Mode mode);
/// @throws ValueError naming them
Mixing::Mode parse_mixing_mode(const std::string& text);

/// The size of a batch: [count, 3, height, width].
struct BatchSize {
  int64_t count = 0, height = 0, width = 0;
};

/// Mixes each image i of one group with image count - 1 - i, in place:
///
///     mixup    x_i = l x_i + (1 - l) x_j,  l of Beta(alpha, alpha)
///     cutmix   a rectangle of 1 - l of the area comes from x_j; l becomes 1 - area of what lies inside
///
/// @param images   [count, 3, height, width]
/// @return         [count] the l of each
std::vector<double> mix_images(const Mixing& mixing, const BatchSize& size, float* images, Draws& draws);

/// The same, and the targets that belong to it:
///
///     y_i = l s(t_i) + (1 - l) s(t_j),   s(t) = smoothing / classes everywhere, and 1 - smoothing more at t
///
/// @param labels   [count], each in [0, classes)
/// @param targets  [count, classes], written
void mix(const Mixing& mixing, const BatchSize& size, float* images, const int64_t* labels, float* targets,
         Draws& draws);

/// How one image is mixed: it keeps the part l of every pixel or, cut, all but a box, and l is the part outside.
struct MixRecipe {
  double l = 1;
  bool cut = false;
  Box box = {};
};
/// As above with given recipes, one for each image, in place of drawn ones.
void mix(const Mixing& mixing, const BatchSize& size, std::span<const MixRecipe> recipes, float* images,
         const int64_t* labels, float* targets);

/// The box that CutMix takes for l around row y and column x: sides of trunc(sqrt(1 - l)) of the image's, a pixel less
/// where that is odd, clipped to the image.
Box cut_box(double l, int64_t height, int64_t width, int64_t y, int64_t x);

/// y_i = l y_i + (1 - l) y_j for targets that are there already, of images with several classes each: without
/// smoothing.
/// @param shares   the result of mix_images
/// @param targets  [count, classes]
void mix_targets(const Mixing& mixing, const std::vector<double>& shares, float* targets);

/// Makes the targets of binary cross-entropy of shares in classes, in place: 1 for every class that has a share,
/// however small (DeiT III), then, as timm smooths,  y = (1 - s) y + s / C. (DeiT III does without smoothing. With it,
/// its program would count every class of a mixed image as present, as it smooths first.)
/// @param targets  [count, classes], not smoothed
void binary_targets(float* targets, int64_t count, int64_t classes, double smoothing);

/// Beta(alpha, alpha).
double draw_beta(double alpha, Draws& draws);

}  // namespace vitrine::data
