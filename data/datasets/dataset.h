#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/image/preprocessing.h"

namespace vitrine::data {

enum class Split { train, test };
/// "train" or "test".
std::string to_string(Split split);

/// One image cannot be read, through no fault of the others: a loader goes on without it.
struct BadImage : IoError {
  using IoError::IoError;
};

/// Labelled images. Every method may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of images.
  virtual int64_t size() const = 0;
  /// The name of each class.
  virtual const std::vector<std::string>& labels() const = 0;
  int64_t num_classes() const { return int64_t(labels().size()); }
  /// Its height and width are those of every image; 0 if images differ in size.
  virtual const Preprocessing& preprocessing() const = 0;
  bool one_size() const { return preprocessing().height > 0; }
  /// The class of image i, in [0, num_classes()); where images may have several, the first, and 0 if it has none.
  virtual int64_t label(int64_t i) const = 0;
  /// Whether images may have several classes, or none.
  virtual bool multi_label() const { return false; }
  /// All classes of image i, rising.
  virtual std::vector<int64_t> classes(int64_t i) const { return {label(i)}; }
  /// Image i: of 1 channel if all are grey, of 3 otherwise. @throws BadImage
  virtual Image image(int64_t i) const = 0;
  /// What was wrong with the images that could not be read so far, one line each that names the file, in the order in
  /// which they were met and without the first `told`.
  virtual std::vector<std::string> bad_images(size_t told = 0) const;
  /// One line about what is not as it might be meant, such as classes of which there are no images; empty if nothing.
  virtual std::string note() const { return ""; }
  /// One line for people: what it is, how many images, from where.
  virtual std::string description() const = 0;
};

/// The forms of `data_string` that open_dataset takes.
const std::vector<std::string>& dataset_forms();

/// Opens one split of a dataset and checks all of it.
/// @param data_string  which one, and where:
///   - fashion-mnist[:DIR]: 28 x 28 grey, idx files, gzipped or plain; without DIR, those of Debian's package
///   - mnist:DIR, kmnist:DIR: the same format
///   - cifar10:DIR, cifar100:DIR: 32 x 32 colour, the "binary version"; cifar100-coarse:DIR: by the 20 coarse labels
///   - imagefolder:DIR: DIR/{train,val}/CLASS/*, images of any size
///   - multilabel:DIR: images of any size with any number of classes each, as DIR/{train,val}.csv list them
///   - shapes: 32 x 32 colour, ten drawn shapes, no files
///   - resized:DATA: one of the others whose images have one size, as if each had a size of its own
/// @param seed which `shapes` to draw; files do not depend on it
/// @throws ValueError for a string of another form, or of a dataset to come; IoError naming the file that is missing or
///   wrong
std::unique_ptr<Dataset> open_dataset(const std::string& data_string, Split split, uint64_t seed = 0);

}  // namespace vitrine::data
