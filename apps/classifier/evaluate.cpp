#include "apps/classifier/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/classifier/average_precision.h"
#include "core/autograd.h"
#include "ops/binary_cross_entropy/binary_cross_entropy.h"
#include "ops/unary/unary.h"

namespace vitrine::apps {
namespace {

/// How many logits of the row come before that of class `target`: larger, or equal with a lower id. NaN comes last.
int64_t rank_of(const float* logits, int64_t classes, int64_t target) {
  int64_t rank = 0;
  const float own = logits[target];
  if (std::isnan(own)) return classes;
  for (int64_t c = 0; c < classes; ++c) rank += logits[c] > own || (logits[c] == own && c < target);
  return rank;
}

}  // namespace

void check_fits(const models::Classifier& model, const data::Dataset& dataset) {
  const data::Preprocessing& p = dataset.preprocessing();
  check<ValueError>(dataset.size() > 0, "{}: has no images", dataset.description());
  check<ValueError>(dataset.num_classes() <= model.num_classes(),
                    "{}: has {} classes, but the model's head has {}; give --num-classes {}", dataset.description(),
                    dataset.num_classes(), model.num_classes(), dataset.num_classes());
  check<ValueError>(!dataset.one_size() || (p.height == model.image_size() && p.width == model.image_size()),
                    "{}: images are {} x {}, but the model takes {} x {}; give --image-size {} or another model",
                    dataset.description(), p.height, p.width, model.image_size(), model.image_size(), p.height);
}

namespace {

/// Takes up batch after batch.
class Tally {
 public:
  explicit Tally(const data::Dataset& dataset) : several_(dataset.multi_label()), classes_(dataset.num_classes()) {}

  void add(const Tensor& logits, const data::Batch& batch) {
    const Tensor on_host = logits.to(Device::cpu()).contiguous();
    const int64_t width = on_host.size(1);
    for (int64_t i = 0; i < on_host.size(0); ++i) {
      const float* row = on_host.data<float>() + i * width;
      int64_t rank = width;
      if (several_) {
        const float* shares = batch.soft_targets.data<float>() + i * classes_;
        for (int64_t c = 0; c < classes_; ++c) {
          scores_.push_back(std::isnan(row[c]) ? -INFINITY : row[c]), present_.push_back(shares[c] > 0);
          if (shares[c] > 0) rank = std::min(rank, rank_of(row, width, c));
        }
      } else {
        rank = rank_of(row, width, batch.targets.data<int64_t>()[i]);
      }
      first_ += rank < 1, fifth_ += rank < 5;
    }
    images_ += on_host.size(0);
    loss_ += loss_of(logits, batch).item();
  }
  int64_t images() const { return images_; }
  Accuracy result() const {
    const double n = double(images_);
    Accuracy found{.top1 = 100 * double(first_) / n, .top5 = 100 * double(fifth_) / n, .loss = loss_ / n};
    found.images = images_;
    if (several_) found.mean_average_precision = mean_average_precision(scores_, present_, classes_);
    return found;
  }

 private:
  /// Summed over images; of several classes, the mean over these.
  Tensor loss_of(const Tensor& logits, const data::Batch& batch) const {
    if (!several_)
      return ops::cross_entropy(logits, batch.targets.to(logits.device()), {.reduction = ops::LossReduction::sum});
    const Tensor own = logits.narrow(1, 0, classes_);
    return ops::div(ops::binary_cross_entropy(own, batch.soft_targets.to(logits.device()), ops::LossReduction::sum),
                    double(classes_));
  }

  bool several_;
  int64_t classes_, images_ = 0, first_ = 0, fifth_ = 0;
  double loss_ = 0;
  std::vector<float> scores_;
  std::vector<bool> present_;
};

}  // namespace

Accuracy evaluate(models::Classifier& model, const data::Dataset& dataset, const data::Preprocessing& input,
                  Device device, Dtype dtype, int64_t batch_size, int workers,
                  const std::function<bool(int64_t)>& seen) {
  check_fits(model, dataset);
  const NoGrad no_grad;
  const bool training = model.training();
  model.eval();
  const data::Loader loader(dataset, {.batch_size = batch_size, .workers = workers, .preprocessing = input});
  data::Epoch batches = loader.epoch(0);
  Tally tally(dataset);
  const auto start = std::chrono::steady_clock::now();
  while (const auto batch = batches.next()) {
    if (batch->targets.numel() == 0) continue;  // none of its images could be read
    tally.add(model.logits(batch->images.to(device).to(dtype)).to(Dtype::f32), *batch);
    if (seen && !seen(tally.images())) break;
  }
  model.train(training);
  check<IoError>(tally.images() > 0, "{}: none of the images can be read", dataset.description());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  Accuracy result = tally.result();
  result.images_per_s = double(result.images) / seconds.count();
  return result;
}

}  // namespace vitrine::apps
