#pragma once
#include <functional>
#include <optional>

#include "data/loader.h"
#include "models/classifier.h"

namespace vitrine::apps {

/// What an evaluation found; rates in percent. Of images with several classes: top1 (top5) is how often the first (one
/// of the first five) is one of theirs.
struct Accuracy {
  double top1 = 0, top5 = 0, loss = 0;
  std::optional<double> mean_average_precision = {};  ///< of images with several classes
  int64_t images = 0;
  double images_per_s = 0;

  /// By which the best of several is chosen: mean average precision where there is one, else top1.
  double score() const { return mean_average_precision.value_or(top1); }
};

/// Runs the model over every image of the dataset that can be read, as `input` says it is to be seen, in evaluation
/// mode (and restores its mode). The loss is the mean cross-entropy, binary where images have several classes; ties in
/// the logits count for the lower class id.
/// `seen(images)`, if given, is called after each batch and ends the evaluation early by returning false.
/// @throws IoError if no image can be read; ValueError if the dataset is empty, has more classes than the model, or
/// other sizes
Accuracy evaluate(models::Classifier& model, const data::Dataset& dataset, const data::Preprocessing& input,
                  Device device, Dtype dtype, int64_t batch_size, int workers,
                  const std::function<bool(int64_t)>& seen = {});

/// Throws ValueError unless the dataset's classes, and the size of its images where they have one, fit the model.
void check_fits(const models::Classifier& model, const data::Dataset& dataset);

}  // namespace vitrine::apps
