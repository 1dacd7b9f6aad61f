#include "apps/classifier/skipped.h"

#include <iostream>

#include "core/error.h"

namespace vitrine::apps {

void SkippedImages::tell(Progress* progress) {
  constexpr size_t kNamed = 10;
  for (const std::string& line : dataset_->bad_images(told_)) {
    if (progress && told_ <= kNamed) progress->clear();
    if (told_ < kNamed) std::cerr << format("skipped: {}\n", line);
    if (told_ == kNamed) std::cerr << "skipped: more images, which are not named but counted\n";
    ++told_;
  }
}

void SkippedImages::summary() const {
  const size_t count = dataset_->bad_images().size();
  if (count > 0)
    std::cerr << format("{}: {} of its images could not be read and were skipped\n", dataset_->description(), count);
}

}  // namespace vitrine::apps
