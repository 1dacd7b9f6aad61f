#pragma once
#include <array>

#include "data/image/image.h"

namespace vitrine::data {

/// How the pixels of an image become the input of a model: x[c] = (pixel[c] / 255 - mean[c]) / std[c]. Training stores
/// it in the checkpoint, and prediction applies it again.
struct Preprocessing {
  int64_t height = 0, width = 0;  ///< of the input; 0 in a dataset whose images have sizes of their own
  bool grey = false;              ///< the three channels are copies of one
  std::array<double, 3> mean = {0, 0, 0}, std = {1, 1, 1};
  double crop = 1;  ///< how much of the shorter side an evaluation sees
};

/// Inputs of at most so many pixels a side are evaluated whole and trained without random resized crops (deit 3.3).
inline constexpr int64_t kSmallInput = 32;
/// The crop of the reference programs' evaluation (deit 3.8), and the smallest there is.
inline constexpr double kEvaluationCrop = 0.875, kSmallestCrop = 0.1;

/// x[c] for every channel and pixel value, computed in f64 and rounded once.
class PixelTable {
 public:
  /// @throws ValueError unless every std is positive and everything is finite
  explicit PixelTable(const Preprocessing& preprocessing);
  /// The 256 values of channel `c`.
  const float* channel(int64_t c) const { return values_[size_t(c)].data(); }

 private:
  std::array<std::array<float, 256>, 3> values_;
};

struct ImageSize {
  int64_t height = 0, width = 0;
};
/// The smallest size of the image's shape that covers height x width; the longer side is truncated.
ImageSize covering_size(const Image& image, int64_t height, int64_t width);

/// The picture that an evaluation shows to a model (deit 3.8): grey if the model's images are; brought (bicubic) to the
/// smallest size that covers trunc(height / crop) x trunc(width / crop), the other side truncated; its centre cut out.
/// @throws ValueError if the image is none, the size of the input is outside [1, 65536], or crop outside
///         [kSmallestCrop, 1]
Image evaluation_image(const Image& image, const Preprocessing& preprocessing);

/// Writes the input of a picture: [3, height, width]. One grey channel counts for all three.
void to_planes(const Image& image, const PixelTable& table, float* out);

}  // namespace vitrine::data
