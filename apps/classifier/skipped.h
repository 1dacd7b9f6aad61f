#pragma once
#include "apps/classifier/progress.h"
#include "data/datasets/dataset.h"

namespace vitrine::apps {

/// Tells on stderr which images of a dataset could not be read: the first ten by name, and in the end how many; before
/// them, once, the dataset's note.
class SkippedImages {
 public:
  explicit SkippedImages(const data::Dataset& dataset) : dataset_(&dataset) {}
  /// Names those that came since the last call; clears `progress` first, if it is there.
  void tell(Progress* progress = nullptr);
  /// "image folder, val: 3 of 50000 images could not be read and were skipped"; nothing if all could be.
  void summary() const;

 private:
  const data::Dataset* dataset_;
  size_t told_ = 0;
  bool noted_ = false;
};

}  // namespace vitrine::apps
