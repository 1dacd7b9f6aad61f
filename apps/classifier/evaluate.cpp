#include "apps/classifier/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/autograd.h"
#include "ops/cross_entropy/cross_entropy.h"

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

Accuracy evaluate(models::Classifier& model, const data::Dataset& dataset, const data::Preprocessing& input,
                  Device device, Dtype dtype, int64_t batch_size, int workers,
                  const std::function<bool(int64_t)>& seen) {
  check_fits(model, dataset);
  const NoGrad no_grad;
  const bool training = model.training();
  model.eval();
  const data::Loader loader(dataset, {.batch_size = batch_size, .workers = workers, .preprocessing = input});
  data::Epoch batches = loader.epoch(0);
  Accuracy result;
  double loss = 0;
  int64_t first = 0, fifth = 0;
  const auto start = std::chrono::steady_clock::now();
  while (const auto batch = batches.next()) {
    if (batch->targets.numel() == 0) continue;  // none of its images could be read
    const Tensor logits = model.logits(batch->images.to(device).to(dtype)).to(Dtype::f32);
    const Tensor losses = ops::cross_entropy(logits, batch->targets.to(device), {.reduction = ops::LossReduction::sum});
    loss += losses.item();
    const Tensor on_host = logits.to(Device::cpu()).contiguous();
    const int64_t classes = on_host.size(1);
    for (int64_t i = 0; i < on_host.size(0); ++i) {
      const int64_t rank = rank_of(on_host.data<float>() + i * classes, classes, batch->targets.data<int64_t>()[i]);
      first += rank < 1, fifth += rank < 5;
    }
    result.images += on_host.size(0);
    if (seen && !seen(result.images)) break;
  }
  model.train(training);
  check<IoError>(result.images > 0, "{}: none of the images can be read", dataset.description());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const double n = double(result.images);
  result.top1 = 100 * double(first) / n, result.top5 = 100 * double(fifth) / n, result.loss = loss / n;
  result.images_per_s = n / seconds.count();
  return result;
}

}  // namespace vitrine::apps
