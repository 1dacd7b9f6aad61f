#include "data/datasets/formats.h"

namespace vitrine::data {
namespace {

class Resized final : public Dataset {
 public:
  explicit Resized(std::unique_ptr<Dataset> base)
      : base_(std::move(base)), preprocessing_(as_folder(base_->preprocessing().grey)) {}

  int64_t size() const override { return base_->size(); }
  const std::vector<std::string>& labels() const override { return base_->labels(); }
  const Preprocessing& preprocessing() const override { return preprocessing_; }
  int64_t label(int64_t i) const override { return base_->label(i); }
  Image image(int64_t i) const override { return base_->image(i); }
  std::string description() const override { return base_->description() + ", resized to the input"; }

 private:
  static Preprocessing as_folder(bool grey) {
    Preprocessing p = imagenet_preprocessing();
    p.grey = grey;
    return p;
  }
  const std::unique_ptr<Dataset> base_;
  const Preprocessing preprocessing_;
};

}  // namespace

Preprocessing imagenet_preprocessing() {
  return {.mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}, .crop = kEvaluationCrop};
}

std::unique_ptr<Dataset> resized(std::unique_ptr<Dataset> base) { return std::make_unique<Resized>(std::move(base)); }

}  // namespace vitrine::data
