#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vitrine::data {

enum class Split { train, test };
/// "train" or "test".
std::string to_string(Split split);

/// How the pixels of an image become the input of a model: x[c] = (pixel[c] / 255 - mean[c]) / std[c]. Training stores
/// it in the checkpoint, and prediction applies it again.
struct Preprocessing {
  int64_t height = 0, width = 0;
  bool grey = false;  ///< the three channels are copies of one
  std::array<double, 3> mean = {0, 0, 0}, std = {1, 1, 1};
};

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

/// Labelled images of one size. Every method may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of images.
  virtual int64_t size() const = 0;
  /// The name of each class.
  virtual const std::vector<std::string>& labels() const = 0;
  int64_t num_classes() const { return int64_t(labels().size()); }
  virtual const Preprocessing& preprocessing() const = 0;
  /// The class of image i, in [0, num_classes()).
  virtual int64_t label(int64_t i) const = 0;
  /// Writes image i.
  /// @param out [3, height, width], one byte a value, red first; the three planes of a grey image are equal
  virtual void pixels(int64_t i, uint8_t* out) const = 0;
  /// One line for people: what it is, how many images, from where.
  virtual std::string description() const = 0;
};

/// The forms of `data_string` that open_dataset takes.
const std::vector<std::string>& dataset_forms();

/// Opens one split of a dataset and checks all of it.
/// @param data_string
///   fashion-mnist[:DIR]  28 x 28 grey, idx files, gzipped or plain; without DIR, those of Debian's
///   dataset-fashion-mnist mnist:DIR            the same format cifar10:DIR          32 x 32 colour, the "binary
///   version" shapes               32 x 32 colour, ten drawn shapes, no files
/// @param seed which `shapes` to draw; files do not depend on it
/// @throws ValueError for a string of another form, NotImplemented for datasets to come, IoError naming the file that
///   is missing or wrong
std::unique_ptr<Dataset> open_dataset(const std::string& data_string, Split split, uint64_t seed = 0);

}  // namespace vitrine::data
