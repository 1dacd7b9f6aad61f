#pragma once
#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "data/datasets/dataset.h"

namespace vitrine::data {

/// Files that are decoded when they are wanted, and what was wrong with those that could not be. For several threads.
class PictureFiles {
 public:
  /// The picture in `file`, which is number i. @throws BadImage, for the same i always with the same words
  Image read(int64_t i, const std::string& file) const {
    {
      const std::lock_guard lock(mutex_);
      if (const auto known = bad_.find(i); known != bad_.end()) throw BadImage(reasons_[known->second]);
    }
    try {
      return decode_image(file);
    } catch (const IoError& e) {
      const std::lock_guard lock(mutex_);
      if (bad_.emplace(i, reasons_.size()).second) reasons_.emplace_back(e.what());
      throw BadImage(e.what());
    }
  }
  /// As Dataset::bad_images.
  std::vector<std::string> bad_images(size_t told) const {
    const std::lock_guard lock(mutex_);
    return {reasons_.begin() + std::ptrdiff_t(std::min(told, reasons_.size())), reasons_.end()};
  }

 private:
  mutable std::mutex mutex_;
  mutable std::map<int64_t, size_t> bad_;  // image, place in reasons_
  mutable std::vector<std::string> reasons_;
};

}  // namespace vitrine::data
