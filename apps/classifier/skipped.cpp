#include "apps/classifier/skipped.h"

#include <iostream>

#include "core/error.h"

namespace vitrine::apps {

void SkippedImages::tell(Progress* progress) {
  constexpr size_t kNamed = 10;
  const std::string note = noted_ ? "" : dataset_->note();
  noted_ = true;
  if (progress && !note.empty()) progress->clear();
  if (!note.empty()) std::cerr << format("note: {}\n", note);
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
